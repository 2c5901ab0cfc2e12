//! Push: what a push costs the clients and a node, beside a bare HTTP/2 client and the clients of others,
//! and what becomes of pushes while the services fail.
//!
//! Each part is a file and stands for itself. The push services are Tidings' simulators, in processes of
//! their own. `bench/README.md` says what each part does and does not do.

mod breaker;
mod contender;
mod faults;
mod helper;
mod load;
mod node;
mod rate;
mod scene;
mod simulator;
mod story;
mod totals;

use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Runtime;

pub use self::{load::main as load, simulator::main as simulator};
use self::{simulator::Service, totals::Totals};
use crate::{
    ingest::{Bench, Length, interrupted},
    report::Report,
};

/// How long threads that block may take to notice that the run is over.
const THREADS_END: Duration = Duration::from_secs(5);

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Pushes per second of the APNs client alone.
    Apns,
    /// Pushes per second of the FCM client alone.
    Fcm,
    /// A backlog of due pushes through a whole node.
    Node,
    /// A node whose push services fail in every way, a little all the time.
    Faults,
    /// A node one of whose push services is down for a minute.
    Breaker,
}

/// Runs the given parts; all for none. `rounds` instead of three, or of one that is quick.
///
/// # Errors
///
/// `tidings` is not built beside this binary, or a run loses something.
pub fn run(length: Length, rounds: Option<u32>, parts: &[Part]) -> anyhow::Result<Report> {
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        let mut bench = Bench::new("push", length)?;
        bench.rounds = rounds.unwrap_or(bench.rounds);
        let outcome = tokio::select! {
            outcome = run_parts(&bench, parts) => outcome,
            () = interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        bench.clean_up().await;
        outcome
    });
    runtime.shutdown_timeout(THREADS_END);
    outcome
}

async fn run_parts(bench: &Bench, parts: &[Part]) -> anyhow::Result<Report> {
    let mut report = Report::new("push");
    report.put("rounds", f64::from(bench.rounds));
    let mut totals = Totals::default();
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    for part in parts {
        bench.say(format_args!("{part:?}"));
        match part {
            Part::Apns => rate::run(bench, Service::Apns, &mut totals, &mut report).await?,
            Part::Fcm => rate::run(bench, Service::Fcm, &mut totals, &mut report).await?,
            Part::Node => node::run(bench, &mut totals, &mut report).await?,
            Part::Faults => faults::run(bench, &mut totals, &mut report).await?,
            Part::Breaker => breaker::run(bench, &mut totals, &mut report).await?,
        }
    }
    totals.put("", &mut report);
    Ok(report)
}
