//! `cargo xtask test`: the one command that checks everything.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients;
use crate::install::install;
use crate::process::{cargo, run, show};
use crate::say::say;
use crate::sdk;
use crate::services::{Guard, Service, Wipe, answering, down, up};

/// Who starts and stops the real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Services {
    /// This run, unless they are up already.
    Ours,
    /// Somebody else.
    Theirs,
}

/// Runs every step up to the first that fails; with filters, only the tests they name.
pub(crate) fn test(services: Services, filters: &[String]) -> Result<()> {
    let mut report = Report::default();
    let outcome = all_steps(&mut report, services, filters);
    report.print();
    outcome
}

fn all_steps(report: &mut Report, services: Services, filters: &[String]) -> Result<()> {
    if services == Services::Ours {
        report.step("install", install)?;
    }
    if filters.is_empty() {
        report.step("format", || {
            run(&mut cargo(["fmt", "--all", "--check"]))
                .context("the code is not formatted: run `cargo fmt --all`")
        })?;
        report.step("clippy", || {
            let scope = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            run(&mut cargo(scope))
        })?;
        report.step("docs", || {
            let mut doc = cargo(["doc", "--workspace", "--no-deps"]);
            run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        })?;
    }
    server_tests(report, services, filters)?;
    if filters.is_empty() {
        // After the servers have gone: a browser wants their memory.
        report.step("sdk", sdk::test)?;
        report.step("clients", clients::test)?;
    }
    Ok(())
}

/// The tests of the workspace, with the real servers.
fn server_tests(report: &mut Report, services: Services, filters: &[String]) -> Result<()> {
    if services == Services::Theirs {
        return tests(report, filters);
    }
    let _one_at_a_time = lock_machine()?;
    let running = answering(&Service::ALL);
    let ours: Vec<Service> =
        Service::ALL.into_iter().filter(|service| !running.contains(service)).collect();
    let guard = Guard::start(&ours)?;
    let tested =
        report.step("services up", || up(&Service::ALL)).and_then(|()| tests(report, filters));
    let stopped = report.step("services down", || {
        for service in &running {
            say(format!("{service}: was up before, left up"));
        }
        down(&ours, Wipe::Keep)
    });
    guard.dismiss()?;
    // What failed first is what the reader needs to know.
    tested.and(stopped)
}

/// Waits until no other run on this machine uses the servers: their ports are the same for every
/// clone, and the run that stops them must not take them from another. The lock ends with the process.
pub(crate) fn lock_machine() -> Result<File> {
    let path = std::env::temp_dir().join("tidings-test-services.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("could not open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("another test run on this machine uses the servers: waiting for it to end");
            file.lock().with_context(|| format!("could not lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("could not lock {}", path.display()));
        }
    }
    Ok(file)
}

fn tests(report: &mut Report, filters: &[String]) -> Result<()> {
    let mut counts = Counts::default();
    let outcome = report.step("tests", || {
        let mut args = vec!["test", "--workspace", "--no-fail-fast", "--"];
        args.extend(filters.iter().map(String::as_str));
        run_tests(&args, &mut counts)
    });
    report.counts = Some(counts);
    outcome
}

/// Runs the tests, passes on what they print, and counts what they say.
fn run_tests(args: &[&str], counts: &mut Counts) -> Result<()> {
    let mut command = cargo(args.iter().copied());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {}", show(&command)))?;
    let output = BufReader::new(child.stdout.take().context("no output to read")?);
    for line in output.split(b'\n') {
        let line = line?;
        counts.read(&String::from_utf8_lossy(&line));
        let mut terminal = std::io::stdout().lock();
        drop(terminal.write_all(&line).and_then(|()| terminal.write_all(b"\n")));
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{} failed ({status})", show(&command));
    }
    // A filter that names nothing must not look like a pass.
    if counts.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// What the test binaries counted, together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 0 ignored; …`; others count nothing.
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else {
                continue;
            };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                _ => {}
            }
        }
    }
}

/// The steps so far.
#[derive(Default)]
struct Report {
    steps: Vec<(&'static str, Duration, bool)>,
    counts: Option<Counts>,
}

impl Report {
    fn step(&mut self, name: &'static str, body: impl FnOnce() -> Result<()>) -> Result<()> {
        say(format!("\n== {name}"));
        let since = Instant::now();
        let outcome = body();
        let took = since.elapsed();
        say(format!("== {name}: {} in {:.1} s", verdict(outcome.is_ok()), took.as_secs_f64()));
        self.steps.push((name, took, outcome.is_ok()));
        outcome.with_context(|| format!("step `{name}` failed"))
    }

    fn print(&self) {
        say("\n== summary");
        for (name, took, passed) in &self.steps {
            say(format!("{name:<14} {:<6} {:>7.1} s", verdict(*passed), took.as_secs_f64()));
        }
        if let Some(counts) = &self.counts {
            say(format!("\ntests: {} passed, {} failed", counts.passed, counts.failed));
        }
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn the_counts_of_all_test_binaries_are_added() {
        let mut counts = Counts::default();
        counts.read("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        counts.read("test a_rule ... ok");
        counts.read("test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.01s");
        assert_eq!(counts, Counts { passed: 15, failed: 2 });
    }
}
