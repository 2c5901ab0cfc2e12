//! How long a partition stands still.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::postgres::Sql;

/// How often is looked: pauses are told apart by this.
const LOOK: Duration = Duration::from_millis(5);
const POSITIONS: &str = "SELECT part, coalesce(next_offset, 0) FROM checkpoint";

/// Watches the positions of all partitions.
pub(super) struct Pauses {
    task: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    longest: Arc<Mutex<Duration>>,
}

impl Pauses {
    pub(super) async fn watch(url: &str) -> anyhow::Result<Self> {
        let sql = Sql::connect(url).await?;
        let (stop, longest) = (CancellationToken::new(), Arc::new(Mutex::default()));
        let mut task = JoinSet::new();
        task.spawn(look(sql, stop.clone(), Arc::clone(&longest)));
        Ok(Self { task, stop, longest })
    }

    /// The longest pause since this was last asked for.
    pub(super) fn longest(&mut self) -> Duration {
        std::mem::take(&mut *self.longest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.join_next().await.context("the watch over the positions")??
    }
}

async fn look(
    sql: Sql,
    stop: CancellationToken,
    longest: Arc<Mutex<Duration>>,
) -> anyhow::Result<()> {
    let query = sql.client.prepare(POSITIONS).await?;
    let mut moved: HashMap<i32, (i64, Instant)> = HashMap::new();
    while !stop.is_cancelled() {
        let rows = sql.client.query(&query, &[]).await?;
        let now = Instant::now();
        for row in rows {
            let (partition, position) = (row.get(0), row.get(1));
            let (before, since) = moved.entry(partition).or_insert((position, now));
            let pause = now.saturating_duration_since(*since);
            {
                // A pause that has not ended yet counts as long as it is now.
                let mut longest = longest.lock().unwrap_or_else(PoisonError::into_inner);
                *longest = pause.max(*longest);
            }
            if position > *before {
                (*before, *since) = (position, now);
            }
        }
        sleep(LOOK).await;
    }
    Ok(())
}
