//! Starting, stopping and looking at the services.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::home::{Home, services_dir};
use super::pidfile::OwnProcess;
use super::{Service, connect};
use crate::process::{last_lines, run};
use crate::say::say;

/// How long a service may take to stop after a signal before it gets a harsher one.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How often a service that starts or stops is looked at.
const POLL: Duration = Duration::from_millis(200);
/// How much of a log is shown with a failure.
const TAIL_LINES: usize = 30;

/// What becomes of the data when a service is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wipe {
    Keep,
    Remove,
}

/// A service that we started and that has not answered yet.
struct Starting {
    service: Service,
    child: Child,
    since: Instant,
}

/// Starts what does not run yet, and returns when each of `wanted` has answered a request.
///
/// # Errors
///
/// Names each service that did not come up, after the end of its log; the others stay up.
pub(crate) fn up(wanted: &[Service]) -> Result<()> {
    let _one_at_a_time = lock()?;
    let since = Instant::now();
    let mut failed = Vec::new();
    let mut starting = Vec::new();
    for &service in wanted {
        match start(service) {
            Ok(Some(child)) => starting.push(Starting { service, child, since: Instant::now() }),
            Ok(None) => {}
            Err(error) => {
                say(format!("{service}: could not be started: {error:#}"));
                failed.push(service);
            }
        }
    }
    failed.extend(await_ready(starting));
    if failed.is_empty() {
        say(format!("all of them answer, after {:.1} s", since.elapsed().as_secs_f64()));
        return Ok(());
    }
    let names: Vec<&str> = failed.iter().map(|service| service.name()).collect();
    bail!(
        "not up: {}. If a program is missing, run `cargo xtask install`; if its data is damaged, \
         `cargo xtask services down --wipe {}`",
        names.join(", "),
        names.join(" ")
    );
}

/// Starts the service unless it runs; `None` if there is nothing to wait for.
fn start(service: Service) -> Result<Option<Child>> {
    let home = Home::of(service);
    if let Some(process) = OwnProcess::load(&home.pid_file())
        && answers_before_it_ends(service, process)?
    {
        say(format!("{service}: already up (pid {})", process.pid));
        return Ok(None);
    }
    if service.probe().is_ok() {
        service.fetch(&home)?;
        say(format!("{service}: already up, started by someone else; left alone"));
        return Ok(None);
    }
    for port in service.ports() {
        if connect(*port).is_ok() {
            bail!("port {port} is taken by another program (`ss -ltnp` names it)");
        }
    }
    fs::create_dir_all(home.dir())?;
    let mut command = service.prepare(&home)?;
    let log = home.new_log()?;
    // A process group of its own: Ctrl-C at this terminal is not for the servers.
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not run {}", command.get_program().display()))?;
    let process = OwnProcess::observe(child.id())
        .with_context(|| format!("ended at once; its log:\n{}", home.log_tail(TAIL_LINES)))?;
    process.save(&home.pid_file())?;
    Ok(Some(child))
}

/// Waits until a process of ours answers, which may be starting still; `false` if it ends instead, as
/// one does that was just killed.
fn answers_before_it_ends(service: Service, process: OwnProcess) -> Result<bool> {
    let deadline = Instant::now() + service.start_deadline();
    while process.is_alive() {
        match service.probe() {
            Ok(()) => return Ok(true),
            Err(error) if Instant::now() >= deadline => {
                let pid = process.pid;
                return Err(
                    error.context(format!("pid {pid} does not answer; stop it with `down`"))
                );
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
    Ok(false)
}

/// Waits until each has answered, ended or run out of time, and returns those that did not answer.
fn await_ready(mut starting: Vec<Starting>) -> Vec<Service> {
    let mut failed = Vec::new();
    while !starting.is_empty() {
        starting.retain_mut(|one| match look_at(one) {
            Progress::Waiting => true,
            Progress::Ready => {
                say(format!("{}: up (pid {})", one.service, one.child.id()));
                false
            }
            Progress::Failed(why) => {
                let log = Home::of(one.service).log_tail(TAIL_LINES);
                say(format!("{}: {why}; the end of its log:\n{log}", one.service));
                failed.push(one.service);
                false
            }
        });
        if !starting.is_empty() {
            std::thread::sleep(POLL);
        }
    }
    failed
}

enum Progress {
    Waiting,
    Ready,
    Failed(String),
}

fn look_at(one: &mut Starting) -> Progress {
    match one.child.try_wait() {
        Ok(Some(status)) => return Progress::Failed(format!("ended while starting ({status})")),
        Err(error) => return Progress::Failed(format!("could not be watched: {error}")),
        Ok(None) => {}
    }
    match one.service.probe() {
        Ok(()) => Progress::Ready,
        Err(_) if one.since.elapsed() < one.service.start_deadline() => Progress::Waiting,
        Err(error) => {
            // Left running, it would make the next `up` fail for another reason.
            let stopped = stop_all(&[one.service]);
            let seconds = one.service.start_deadline().as_secs();
            let stopped = if stopped.is_ok() { "stopped" } else { "could not be stopped" };
            Progress::Failed(format!("not ready after {seconds} s ({error:#}), {stopped}"))
        }
    }
}

/// Stops what runs, and removes its data if asked to.
pub(crate) fn down(wanted: &[Service], wipe: Wipe) -> Result<()> {
    let _one_at_a_time = lock()?;
    stop_all(wanted)?;
    if wipe == Wipe::Remove {
        for service in wanted {
            service.wipe(&Home::of(*service))?;
            say(format!("{service}: data removed"));
        }
    }
    Ok(())
}

/// Asks all to stop, then waits for each: together they take as long as the slowest.
fn stop_all(wanted: &[Service]) -> Result<()> {
    let mut stopping = Vec::new();
    for &service in wanted {
        if let Some(process) = OwnProcess::load(&Home::of(service).pid_file()) {
            process.signal(service.stop_signals()[0])?;
            stopping.push((service, process));
        } else {
            remove_pid_file(service)?;
            let elsewhere = service.probe().is_ok();
            let whose = if elsewhere { "; one that others started is left alone" } else { "" };
            say(format!("{service}: not running{whose}"));
        }
    }
    let since = Instant::now();
    for (service, process) in stopping {
        let signal = await_stop(service, process)?;
        remove_pid_file(service)?;
        let seconds = since.elapsed().as_secs_f64();
        say(format!("{service}: stopped by SIG{signal} ({seconds:.1} s)"));
    }
    Ok(())
}

/// Waits for a process that was sent the first of its stop signals, and sends the next when it takes
/// too long; returns the one that helped.
fn await_stop(service: Service, process: OwnProcess) -> Result<&'static str> {
    for (index, signal) in service.stop_signals().iter().enumerate() {
        if index > 0 {
            process.signal(signal)?;
        }
        if await_end(process, Instant::now() + STOP_DEADLINE) {
            return Ok(signal);
        }
    }
    bail!("{service}: pid {} survives SIGKILL", process.pid);
}

fn await_end(process: OwnProcess, deadline: Instant) -> bool {
    while process.is_alive() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// Prints a line for each service and returns whether all of them answer.
pub(crate) fn status(wanted: &[Service]) -> bool {
    let mut all_answer = true;
    for &service in wanted {
        let home = Home::of(service);
        let answers = service.probe();
        let (pid, state) = match (OwnProcess::load(&home.pid_file()), &answers) {
            (Some(process), Ok(())) => (process.pid.to_string(), "ready".to_owned()),
            (Some(process), Err(error)) => {
                // The last line says it; those before, which program was asked.
                let error = last_lines(&format!("{error:#}"), 1);
                (process.pid.to_string(), format!("not ready: {error}"))
            }
            (None, Ok(())) => ("-".to_owned(), "ready, started by someone else".to_owned()),
            (None, Err(_)) if home.pid_file().exists() => {
                ("-".to_owned(), "died; `cargo xtask services up` starts it again".to_owned())
            }
            (None, Err(_)) => ("-".to_owned(), "not running".to_owned()),
        };
        all_answer &= answers.is_ok();
        let ports: Vec<String> = service.ports().iter().map(u16::to_string).collect();
        say(format!("{service:<9} pid {pid:<8} port {:<12} {state}", ports.join(",")));
    }
    all_answer
}

/// Which of `asked` answer a request now.
pub(crate) fn answering(asked: &[Service]) -> Vec<Service> {
    asked.iter().copied().filter(|service| service.probe().is_ok()).collect()
}

/// Shows the end of the logs, and with `follow` what is added until Ctrl-C.
pub(crate) fn logs(wanted: &[Service], lines: u32, follow: bool) -> Result<()> {
    let files: Vec<_> = wanted.iter().map(|service| Home::of(*service).log()).collect();
    let files: Vec<_> = files.into_iter().filter(|file| file.exists()).collect();
    if files.is_empty() {
        bail!("no log yet: nothing of this was ever started here");
    }
    let mut tail = Command::new("tail");
    tail.args(["-v", "-n", &lines.to_string()]);
    if follow {
        tail.arg("-F");
    }
    run(tail.args(files))
}

/// Removes a folder with all it holds; it may be absent.
pub(super) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn remove_pid_file(service: Service) -> Result<()> {
    let pid_file = Home::of(service).pid_file();
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", pid_file.display()))
        }
        _ => Ok(()),
    }
}

/// Waits until no other xtask starts or stops services of this checkout; held until dropped.
fn lock() -> Result<File> {
    fs::create_dir_all(services_dir())?;
    let path = services_dir().join("lock");
    let file = File::create(&path).with_context(|| format!("could not open {}", path.display()))?;
    file.lock().context("could not lock the services")?;
    Ok(file)
}
