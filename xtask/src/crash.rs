//! `cargo xtask crash`: the seeded kill tests of the server, many times over.

use std::process::{Output, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::process::{cargo, last_lines, run, show};
use crate::say::say;
use crate::services::{Service, up};

/// The test binary.
const BINARY: [&str; 5] = ["test", "--package", "tidings-server", "--test", "ingest"];
/// What runs with a seed: the tests with this in their names, on both stores.
const SEEDED: &str = "crash::";
/// Takes the seeds, as `crates/tidings-server/tests/ingest/crash.rs` reads it.
const SEEDS: &str = "TIDINGS_CRASH_SEEDS";
const DIFFERENTIAL: &str = "differential::";
/// Takes the number of records, as `differential.rs` beside it reads it.
const DIFFERENTIAL_EVENTS: &str = "TIDINGS_DIFFERENTIAL_EVENTS";

/// Kills nodes with `count` seeds from `first`, one after the other, and says which of them failed.
pub(crate) fn crash(count: u64, first: Option<u64>) -> Result<()> {
    prepare()?;
    // A run without a number begins where none before has been, most likely.
    let first = first.map_or_else(now_secs, Ok)?;
    let (since, mut failed) = (Instant::now(), Vec::new());
    for (done, seed) in (1..=count).zip(first..) {
        let output = run_test(SEEDED, SEEDS, seed)?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            say(format!(
                "seed {seed} FAILED:\n{}",
                last_lines(&String::from_utf8_lossy(&said), 120)
            ));
            failed.push(seed);
        }
        let secs = since.elapsed().as_secs();
        say(format!("{done}/{count} seeds, {} failed, {secs} s; last {seed}", failed.len()));
    }
    if failed.is_empty() {
        return Ok(());
    }
    for seed in &failed {
        say(format!("to repeat: cargo xtask crash --seeds 1 --from {seed}"));
    }
    bail!("{} of {count} seeds failed: {failed:?}", failed.len())
}

/// Sends so many events through both stores and compares what they keep.
pub(crate) fn compare_stores(events: u64) -> Result<()> {
    prepare()?;
    let mut test = cargo(BINARY);
    test.args(["--", "--nocapture", DIFFERENTIAL]).env(DIFFERENTIAL_EVENTS, events.to_string());
    run(&mut test)
}

fn prepare() -> Result<()> {
    up(&[Service::Kafka, Service::Postgres])?;
    run(cargo(BINARY).arg("--no-run"))
}

fn run_test(name: &str, variable: &str, value: u64) -> Result<Output> {
    let mut test = cargo(BINARY);
    test.args(["--quiet", "--", "--nocapture", name]).env(variable, value.to_string());
    test.stdin(Stdio::null()).output().with_context(|| format!("could not start {}", show(&test)))
}

#[expect(clippy::disallowed_methods, reason = "any number will do that was not used before")]
fn now_secs() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
