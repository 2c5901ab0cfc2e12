//! The social graph: what it costs in memory and time, embedded and behind the API, beside servers of
//! others with the same graph.
//!
//! Each part is a file and stands for itself. The graph is made from numbers (`shape`), the same for
//! everyone. `bench/README.md` says what each part does and does not do.

mod cache;
mod embedded;
mod engine;
mod falkordb;
mod file;
mod http;
mod neo4j;
mod peers;
mod people;
mod queries;
mod real;
mod recommendations;
mod shape;

use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Runtime;

pub use self::engine::main as engine;
pub(crate) use self::{
    embedded::{build, job, put_latency},
    engine::Job,
    people::People,
    queries::Latency,
    shape::{Shape, random, user},
};
use crate::{
    ingest::{Bench, Length, interrupted},
    report::Report,
};

/// How long threads that block may take to notice that the run is over.
const THREADS_END: Duration = Duration::from_secs(5);

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The embedded engine by itself: import, memory, start, answers, durable writes.
    Embedded,
    /// The same graph behind the API of a node.
    Http,
    /// Real graphs, beside Neo4j and FalkorDB.
    Real,
    /// A smaller graph, beside Neo4j and FalkorDB.
    Peers,
    /// The smaller graph on Neo4j, behind the cache of a node.
    Cache,
    /// Whom to follow, by a node on that graph.
    Recommendations,
}

/// Runs the given parts; all for none.
///
/// # Errors
///
/// `tidings` is not built beside this binary, or a run loses something.
pub fn run(length: Length, parts: &[Part]) -> anyhow::Result<Report> {
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        let bench = Bench::new("graph", length)?;
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
    let mut report = Report::new("graph");
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    // Parts read the same graph, which takes minutes to make.
    if parts.iter().any(|part| matches!(part, Part::Embedded | Part::Http)) {
        let data = build(bench, &mut report).await?;
        if parts.contains(&Part::Embedded) {
            embedded::run(bench, &data, &mut report).await?;
        }
        if parts.contains(&Part::Http) {
            http::run(bench, &data, &mut report).await?;
        }
    }
    if parts.contains(&Part::Real) {
        real::run(bench, &mut report).await?;
    }
    if parts.iter().any(|part| matches!(part, Part::Peers | Part::Cache | Part::Recommendations)) {
        let prefix = neo4j::prefix();
        let (store, per_s) = peers::fill(bench, &prefix, &peers::shape(bench)).await?;
        report.put("neo4j_import_follows_per_s", per_s);
        if parts.contains(&Part::Peers) {
            peers::run(bench, &store, &mut report).await?;
        }
        store.close().await;
        if parts.contains(&Part::Cache) {
            cache::run(bench, &prefix, peers::shape(bench), &mut report).await?;
        }
        if parts.contains(&Part::Recommendations) {
            recommendations::run(bench, &prefix, peers::shape(bench), &mut report).await?;
        }
    }
    Ok(report)
}
