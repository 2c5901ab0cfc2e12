//! Whom to follow: what it costs and how good it is.

mod cost;
mod quality;
mod train;

use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Runtime;

pub(crate) use self::cost::recommend;
pub use self::train::main as train;
use crate::{
    ingest::{Bench, Length, interrupted},
    report::Report,
};

/// How long threads that block may take to notice that the run is over.
const THREADS_END: Duration = Duration::from_secs(5);

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Milliseconds and memory of one request after the other, on a graph of fifty million follows.
    Cost,
    /// How well hidden follows are found on the graphs that ship, beside methods of others.
    Quality,
}

/// Runs the given parts; all for none.
///
/// # Errors
///
/// `tidings` is not built beside this binary, or a run fails.
pub fn run(length: Length, parts: &[Part]) -> anyhow::Result<Report> {
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        let bench = Bench::new("recommend", length)?;
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
    let mut report = Report::new("recommend");
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    if parts.contains(&Part::Cost) {
        cost::run(bench, &mut report).await?;
    }
    if parts.contains(&Part::Quality) {
        quality::run(bench, &mut report).await?;
    }
    Ok(report)
}
