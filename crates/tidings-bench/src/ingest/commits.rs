//! The bare limit of latency: how long PostgreSQL takes to make one row durable meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::postgres::Sql;
use crate::report::Report;

/// The pause between two rows: few enough that nobody notices them.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest time that is told apart: ten minutes, in microseconds.
const MAX_US: u64 = 600_000_000;

/// Inserts a row now and then.
pub(super) struct Commits {
    task: JoinSet<anyhow::Result<Histogram<u64>>>,
    stop: CancellationToken,
}

impl Commits {
    /// Begins in a table of its own in the database at `url`.
    pub(super) async fn watch(url: &str) -> anyhow::Result<Self> {
        let sql = Sql::connect(url).await?;
        sql.client.batch_execute("CREATE TABLE bare_commit (at timestamptz)").await?;
        let (mut task, stop) = (JoinSet::new(), CancellationToken::new());
        task.spawn(insert(sql, stop.clone()));
        Ok(Self { task, stop })
    }

    /// Ends, and writes the percentiles down in milliseconds.
    pub(super) async fn stop(mut self, report: &mut Report) -> anyhow::Result<()> {
        self.stop.cancel();
        let took = self.task.join_next().await.context("the bare commits")???;
        for (name, quantile) in [("p50", 0.50), ("p95", 0.95), ("p99", 0.99)] {
            let millis = Duration::from_micros(took.value_at_quantile(quantile)).as_secs_f64();
            report.put(&format!("limit_commit_{name}_ms"), millis * 1e3);
        }
        Ok(())
    }
}

async fn insert(sql: Sql, stop: CancellationToken) -> anyhow::Result<Histogram<u64>> {
    let insert = sql.client.prepare("INSERT INTO bare_commit VALUES (now())").await?;
    let mut took = Histogram::new_with_bounds(1, MAX_US, 3)?;
    while !stop.is_cancelled() {
        let begun = Instant::now();
        sql.client.execute(&insert, &[]).await?;
        took.saturating_record(u64::try_from(begun.elapsed().as_micros())?.max(1));
        sleep(PAUSE).await;
    }
    Ok(took)
}
