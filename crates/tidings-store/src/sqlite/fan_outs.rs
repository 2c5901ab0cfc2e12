//! `FanOutStore`, and the fan-outs that begin and move on with a batch.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use tidings_core::{
    clock::Timestamp,
    fan_out::{FanOut, FanOutBacklog, FanOutId, FanOutStep, FanOutsLeft, NewFanOut},
    ids::GraphId,
    ports::{Cursor, FanOutStore, StoreError},
};

use super::{
    checkpoints::Advanced,
    error::Failure,
    events,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

/// Begins a fan-out, unless the event has one, be it done.
pub(super) fn begin(
    conn: &Connection,
    event: i64,
    new: &NewFanOut,
    now: Timestamp,
) -> Result<(), Failure> {
    conn.prepare_cached(
        "INSERT INTO fan_out (event, graph, followee_id, cursor, began_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (event) DO NOTHING",
    )?
    .execute((
        event,
        new.graph.0.to_be_bytes(),
        new.followee.as_str(),
        new.cursor.as_str(),
        now.as_millis(),
    ))?;
    Ok(())
}

/// Whether the event has a fan-out, be it done.
pub(super) fn exists(conn: &Connection, event: i64) -> Result<bool, Failure> {
    let mut statement = conn.prepare_cached("SELECT 1 FROM fan_out WHERE event = ?1")?;
    Ok(statement.exists([event])?)
}

/// Moves a fan-out on, if as many steps were made as the worker believes.
pub(super) fn step(conn: &Connection, step: &FanOutStep) -> Result<Advanced, Failure> {
    let id = to_sql(step.id.0);
    let moved = conn
        .prepare_cached(
            "UPDATE fan_out SET steps = steps + 1, cursor = coalesce(?3, cursor), done = ?4, \
             leased_ms = ?5 WHERE fan_out = ?1 AND steps = ?2 AND done = 0",
        )?
        .execute((
            id,
            to_sql(step.steps),
            step.next.as_ref().map(Cursor::as_str),
            step.next.is_none(),
            step.leased_until.as_millis(),
        ))?;
    if moved > 0 {
        return Ok(Advanced::Now);
    }
    // It may have been made by an earlier try that was committed without our knowing.
    let made: Option<bool> = conn
        .prepare_cached(
            "SELECT done = ?3 AND (done OR cursor = ?4) FROM fan_out \
             WHERE fan_out = ?1 AND steps = ?2 + 1",
        )?
        .query_row(
            (id, to_sql(step.steps), step.next.is_none(), step.next.as_ref().map(Cursor::as_str)),
            |row| row.get(0),
        )
        .optional()?;
    Ok(if made.unwrap_or(false) { Advanced::Before } else { Advanced::Fenced })
}

struct ClaimFanOuts {
    graph: GraphId,
    now: Timestamp,
    lease: Duration,
    limit: usize,
}

impl Command for ClaimFanOuts {
    type Output = Vec<i64>;
    const OP: &'static str = "claim_fan_outs";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Vec<i64>, Failure> {
        let mut leased = Vec::new();
        let graph = self.graph.0.to_be_bytes();
        {
            let mut free = tx.conn.prepare_cached(
                "SELECT fan_out FROM fan_out WHERE done = 0 AND leased_ms <= ?1 \
                 AND coalesce(graph, ?3) = ?3 \
                 ORDER BY max(leased_ms, began_ms), leased_ms, fan_out LIMIT ?2",
            )?;
            let mut rows = free.query((self.now.as_millis(), limit_to_sql(self.limit), graph))?;
            while let Some(row) = rows.next()? {
                leased.push(row.get(0)?);
            }
        }
        let until = self.now.after(self.lease).as_millis();
        let mut lease = tx
            .conn
            .prepare_cached("UPDATE fan_out SET leased_ms = ?2, graph = ?3 WHERE fan_out = ?1")?;
        for fan_out in &leased {
            lease.execute((fan_out, until, graph))?;
        }
        Ok(leased)
    }
}

static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT f.fan_out, f.followee_id, f.cursor, f.steps, f.began_ms, {} \
         FROM fan_out f CROSS JOIN event e ON e.event = f.event WHERE f.fan_out = ?1 AND f.done = 0",
        events::COLUMNS
    )
});

fn read(row: &Row<'_>) -> Result<FanOut, Failure> {
    let mut columns = Columns::of(row);
    Ok(FanOut {
        id: FanOutId(columns.count()?),
        followee: columns.user()?,
        cursor: columns.text("cursor", |text| Cursor::new(text.to_owned()))?,
        steps: columns.count()?,
        began_at: columns.time()?,
        event: Arc::new(events::read(&mut columns)?),
    })
}

fn load(conn: &Connection, leased: &[i64]) -> Result<Vec<FanOut>, Failure> {
    let mut statement = conn.prepare_cached(&LOAD)?;
    let mut fan_outs = Vec::with_capacity(leased.len());
    for fan_out in leased {
        let mut rows = statement.query([fan_out])?;
        let Some(row) = rows.next()? else {
            // Whoever held it before has just ended it.
            continue;
        };
        match read(row) {
            Ok(it) => fan_outs.push(it),
            // One must not hold up the others; it is leased, so it is out of their way.
            Err(failure) if failure.is_of_a_row() => {
                tracing::error!(fan_out, error = %failure, "a fan-out cannot be read");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(fan_outs)
}

#[async_trait]
impl FanOutStore for SqliteStore {
    async fn claim_fan_outs(
        &self,
        graph: GraphId,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<FanOut>, StoreError> {
        let leased = self.writer.run(ClaimFanOuts { graph, now, lease, limit }).await?;
        if leased.is_empty() {
            return Ok(Vec::new());
        }
        let query = move |conn: &Connection| load(conn, &leased);
        self.readers.read("claim_fan_outs", query).await
    }

    async fn fan_out_backlog(&self, graph: GraphId) -> Result<FanOutBacklog, StoreError> {
        let query = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(
                "SELECT coalesce(graph, ?1) = ?1 AS here, count(*), min(began_ms) FROM fan_out \
                 WHERE done = 0 GROUP BY here",
            )?;
            let mut rows = statement.query([graph.0.to_be_bytes()])?;
            let mut backlog = FanOutBacklog::default();
            while let Some(row) = rows.next()? {
                let (here, unfinished, oldest): (bool, i64, i64) = row.try_into()?;
                let left = FanOutsLeft {
                    unfinished: from_sql(unfinished),
                    oldest: Some(Timestamp::from_millis(oldest)),
                };
                *if here { &mut backlog.here } else { &mut backlog.elsewhere } = left;
            }
            Ok(backlog)
        };
        self.readers.read("fan_out_backlog", query).await
    }
}
