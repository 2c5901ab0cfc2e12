//! Ingest: from Kafka and HTTP to durable notifications, beside bare limits and peers.
//!
//! Each part is a file and stands for itself. All of them run against the servers of
//! `cargo xtask services up`, in topics and databases of their own, which are removed at the end and
//! after Ctrl-C. `bench/README.md` says what each does and does not do.

mod backlog;
mod bench;
mod commits;
mod copy;
#[path = "../../../../xtask/src/services/endpoints.rs"]
#[expect(dead_code, reason = "nobody needs all of it")]
mod endpoints;
mod fanout;
mod faults;
mod http;
mod http_client;
mod kafka;
mod limit_fold;
mod limit_postgres;
mod limit_sqlite;
mod measure;
mod memory;
mod node;
mod pauses;
mod peer_connect;
mod peer_notifyd;
mod postgres;
mod private_postgres;
mod records;
mod sessions;
mod steady;
mod story;

use std::time::Duration;

use clap::ValueEnum;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

pub use self::bench::Length;
pub(crate) use self::{
    bench::{Bench, last_lines, repo_root},
    endpoints::{HOST, NEO4J_BOLT_PORT, NEO4J_PASSWORD, NEO4J_USER, REDIS_PORT},
    http_client::HttpConnection,
    measure::number,
    node::Node,
    peer_connect::template,
};
use crate::report::Report;

/// How long threads that block may take to notice that the run is over.
const THREADS_END: Duration = Duration::from_secs(5);

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A backlog from Kafka into PostgreSQL and SQLite, beside bare limits and Kafka Connect.
    Backlog,
    /// A steady stream from Kafka, and how long an event takes to a live session.
    Steady,
    /// Events over HTTP, one by one and in batches, beside notifyd.
    Http,
    /// One event for a million followers, and direct notifications meanwhile.
    Fanout,
    /// Memory of an idle node, and while its database is stopped.
    Memory,
    /// Restarts, rebalances and poison.
    Faults,
}

/// Runs the given parts; all for none.
///
/// # Errors
///
/// A server is not up, `tidings` is not built beside this binary, or a run loses something.
pub fn run(length: Length, parts: &[Part]) -> anyhow::Result<Report> {
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        let bench = Bench::new("ingest", length)?;
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
    let mut report = Report::new("ingest");
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    for part in parts {
        bench.say(format_args!("{part:?}"));
        match part {
            Part::Backlog => backlog::run(bench, &mut report).await?,
            Part::Steady => steady::run(bench, &mut report).await?,
            Part::Http => http::run(bench, &mut report).await?,
            Part::Fanout => fanout::run(bench, &mut report).await?,
            Part::Memory => memory::run(bench, &mut report).await?,
            Part::Faults => faults::run(bench, &mut report).await?,
        }
    }
    Ok(report)
}

/// Ends with Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
