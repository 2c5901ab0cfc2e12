//! Realtime: what live sessions cost and how fast they are told, beside a bare floor and a peer.
//!
//! Each part is a file and stands for itself. Clients are in the load generator, a process of its own
//! that speaks each contender's protocol. `bench/README.md` says what each part does and does not do.

mod bench;
mod blips;
mod centrifugo;
mod fanout;
mod floor;
mod generator;
mod idle;
mod laggards;
mod latency;
mod load;
mod recovery;
mod rounds;
mod story;
mod stream;
mod target;

use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Runtime;

pub(crate) use self::{
    bench::millis,
    generator::own_process,
    load::{Percentiles, Schedule, now_us},
    story::{event, user_name},
    stream::{Intake, send, tidings_took},
};
pub use self::{floor::main as floor, load::main as load};
use crate::{
    ingest::{Bench, Length, interrupted},
    report::Report,
};

/// How long threads that block may take to notice that the run is over.
const THREADS_END: Duration = Duration::from_secs(5);

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Memory and CPU of connections on which nothing happens.
    Idle,
    /// One notification for everyone.
    Fanout,
    /// A steady rate of notifications for one user each, and how long they take.
    Latency,
    /// Clients that are offline for a moment, again and again.
    Blips,
    /// A node that is killed with its clients, and comes back.
    Recovery,
    /// Clients that read slowly.
    Laggards,
}

/// Runs the given parts; all for none. `rounds` instead of three, or of one that is quick.
///
/// # Errors
///
/// `tidings` is not built beside this binary, or a run loses or doubles something.
pub fn run(length: Length, rounds: Option<u32>, parts: &[Part]) -> anyhow::Result<Report> {
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        let mut bench = Bench::new("realtime", length)?;
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
    let mut report = Report::new("realtime");
    report.put("rounds", f64::from(bench.rounds));
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    for part in parts {
        bench.say(format_args!("{part:?}"));
        match part {
            Part::Idle => idle::run(bench, &mut report).await?,
            Part::Fanout => fanout::run(bench, &mut report).await?,
            Part::Latency => latency::run(bench, &mut report).await?,
            Part::Blips => blips::run(bench, &mut report).await?,
            Part::Recovery => recovery::run(bench, &mut report).await?,
            Part::Laggards => laggards::run(bench, &mut report).await?,
        }
    }
    Ok(report)
}
