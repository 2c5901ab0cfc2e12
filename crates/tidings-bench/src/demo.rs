//! The whole embedded path: HTTP to inboxes, live sessions and push simulators, flat out.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::{
    limit,
    process::{self, Usage},
    report::{Report, median},
};

/// What `tidings demo --json` prints; fields that are not measured here are left out.
#[derive(Debug, Deserialize)]
struct Summary {
    events: u64,
    stored: u64,
    delivered: Delivered,
    holes: u64,
    duplicates: u64,
    latency_ms: Latency,
    rss_bytes: f64,
}

#[derive(Debug, Deserialize)]
struct Delivered {
    websocket: u64,
    apns: u64,
    fcm: u64,
    webpush: u64,
}

impl Delivered {
    fn total(&self) -> u64 {
        self.websocket + self.apns + self.fcm + self.webpush
    }
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
}

/// The line on standard error that begins what is measured.
const STREAM_BEGINS: &str = "streaming";
/// The line that ends it.
const STREAM_ENDS: &str = "waiting for the last screens";
/// Events per durable transaction of the bare limit: rows about as many as Tidings has in a batch
/// under this load.
const LIMIT_BATCH: u64 = 64;
/// Users of the graph that the demo uses.
const USERS: u64 = 7_115;

struct Round {
    summary: Summary,
    seconds: f64,
    node: Usage,
    /// The demo itself: generator, sessions and simulators.
    load: Usage,
}

/// Runs the bench.
///
/// # Errors
///
/// `tidings` is not built beside this binary, or a run fails or loses something.
pub fn run(quick: bool) -> anyhow::Result<Report> {
    let (rounds, seconds) = if quick { (1, 5) } else { (3, 20) };
    let mut report = Report::new("demo");
    let mut flat_out = Vec::new();
    let mut steady = Vec::new();
    let mut limits = Vec::new();
    for _ in 0..rounds {
        let round = demo(seconds, 0)?;
        let rows_per_event = (round.summary.stored / round.summary.events.max(1)).max(1);
        let dir = tempfile::tempdir()?;
        let events = round.summary.events;
        limits.push(limit::sqlite(dir.path(), events, rows_per_event, USERS, LIMIT_BATCH)?);
        flat_out.push(round);
        steady.push(demo(seconds, 100)?);
    }
    let of =
        |rounds: &[Round], value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let mut put = |name: &str, value: f64| {
        report.values.insert(name.to_owned(), value);
    };
    let events_per_s = of(&flat_out, |it| it.summary.events_f64() / it.seconds);
    let rows_per_s = of(&flat_out, |it| it.summary.stored_f64() / it.seconds);
    put("events_per_s", events_per_s);
    put("notifications_per_s", rows_per_s);
    put("screens_per_s", of(&flat_out, |it| it.summary.delivered_f64() / it.seconds));
    put("node_cpu_us_per_event", of(&flat_out, |it| it.cpu_us() / it.summary.events_f64()));
    put("node_cpu_us_per_notification", of(&flat_out, |it| it.cpu_us() / it.summary.stored_f64()));
    put("node_cpu_s_per_s", of(&flat_out, |it| it.node.cpu.as_secs_f64() / it.seconds));
    put("load_cpu_s_per_s", of(&flat_out, |it| it.load.cpu.as_secs_f64() / it.seconds));
    put("load_rss_bytes", of(&flat_out, |it| it.load.rss_f64()));
    put("rss_bytes", of(&flat_out, |it| it.summary.rss_bytes));
    put("steady_100_events_per_s_p50_ms", of(&steady, |it| it.summary.latency_ms.p50));
    put("steady_100_events_per_s_p95_ms", of(&steady, |it| it.summary.latency_ms.p95));
    put("steady_100_events_per_s_p99_ms", of(&steady, |it| it.summary.latency_ms.p99));
    put("steady_rss_bytes", of(&steady, |it| it.summary.rss_bytes));
    let limit_events = median(limits.iter().map(|it| it.events_per_s).collect());
    let limit_rows = median(limits.iter().map(|it| it.rows_per_s).collect());
    put("limit_events_per_s", limit_events);
    put("limit_rows_per_s", limit_rows);
    report.ratios.of_limit.insert("events".to_owned(), events_per_s / limit_events);
    report.ratios.of_limit.insert("rows".to_owned(), rows_per_s / limit_rows);
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
impl Summary {
    fn events_f64(&self) -> f64 {
        self.events as f64
    }

    fn stored_f64(&self) -> f64 {
        self.stored as f64
    }

    fn delivered_f64(&self) -> f64 {
        self.delivered.total() as f64
    }
}

impl Round {
    fn cpu_us(&self) -> f64 {
        self.node.cpu.as_secs_f64() * 1e6
    }
}

/// Kills the child when a round ends early.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It has ended already after a good round.
        let _ended = self.0.kill().is_ok() && self.0.wait().is_ok();
    }
}

fn demo(seconds: u64, rate: u32) -> anyhow::Result<Round> {
    let mut binary: PathBuf = std::env::current_exe()?;
    binary.set_file_name("tidings");
    let mut child = Reaped(
        Command::new(&binary)
            .args(["demo", "--json", "--listen", "127.0.0.1:0"])
            .args(["--seconds", &seconds.to_string(), "--rate", &rate.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started: build it first", binary.display()))?,
    );
    let id = child.0.id();
    let lines = read_lines(child.0.stderr.take().context("standard error")?);
    let output = read_lines(child.0.stdout.take().context("standard output")?);
    // Set-up, stream, and the last screens each have a bound of their own within the demo.
    let deadline = Instant::now() + Duration::from_secs(seconds + 300);
    wait_for(&lines, STREAM_BEGINS, deadline)?;
    let (begun, before) = (Instant::now(), usages(id));
    wait_for(&lines, STREAM_ENDS, deadline)?;
    let (elapsed, after) = (begun.elapsed(), usages(id));
    let json = output.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let summary: Summary = serde_json::from_str(&json.context("the demo printed no summary")?)?;
    child.0.wait()?;
    if summary.holes + summary.duplicates > 0 {
        bail!("the demo lost or doubled something: {summary:?}");
    }
    let [node, load] = [after.0.since(before.0), after.1.since(before.1)];
    Ok(Round { summary, seconds: elapsed.as_secs_f64(), node, load })
}

/// The node's usage, and the demo's own.
fn usages(demo: u32) -> (Usage, Usage) {
    let mut usages = (Usage::default(), Usage::default());
    for ((pid, word), usage) in process::tree(demo) {
        if pid == demo {
            usages.1 = usage;
        } else if word == "serve" {
            usages.0 = usage;
        }
    }
    usages
}

fn read_lines(from: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    // A demo prints some dozens of lines; whoever stops listening ends the thread.
    let (sender, receiver) = mpsc::sync_channel(1024);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait_for(lines: &mpsc::Receiver<String>, text: &str, deadline: Instant) -> anyhow::Result<()> {
    let mut last = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(text) => return Ok(()),
            Ok(line) => last = line,
            Err(RecvTimeoutError::Timeout) => bail!("no {text:?} from the demo in time: {last}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the demo ended early: {last}"),
        }
    }
}
