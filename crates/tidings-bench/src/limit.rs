//! The bare limit of the embedded store: the same rows, and nothing else.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use rusqlite::Connection;

/// What a bare writer did.
#[derive(Debug, Clone, Copy)]
pub struct LimitRun {
    /// Events per second.
    pub events_per_s: f64,
    /// Rows per second.
    pub rows_per_s: f64,
}

/// Writes `events` events with `recipients` rows each to a SQLite file, `batch` events per durable
/// transaction, with prepared statements on one thread.
///
/// The tables have the columns and indexes that a notification needs whoever stores it: the content
/// once per event under its identity, and per recipient a place in the inbox, once per event. No
/// inbox counters, no due pushes, no look-ups: what Tidings adds is what the ratio shows.
///
/// # Errors
///
/// The file cannot be written.
pub fn sqlite(
    dir: &Path,
    events: u64,
    recipients: u64,
    users: u64,
    batch: u64,
) -> anyhow::Result<LimitRun> {
    let mut db = Connection::open(dir.join("limit.db")).context("the file cannot be made")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(
        "CREATE TABLE event (
             event INTEGER PRIMARY KEY, source TEXT NOT NULL, event_id TEXT NOT NULL,
             content TEXT NOT NULL, UNIQUE (source, event_id)) STRICT;
         CREATE TABLE notification (
             inbox INTEGER NOT NULL, seq INTEGER NOT NULL, event INTEGER NOT NULL,
             created_ms INTEGER NOT NULL, PRIMARY KEY (inbox, seq)) STRICT, WITHOUT ROWID;
         CREATE UNIQUE INDEX notification_once ON notification (event, inbox);",
    )?;
    let content = "x".repeat(200);
    let mut seqs = vec![0i64; usize::try_from(users)?];
    let [last_event, recipients, users] =
        [i64::try_from(events)?, i64::try_from(recipients)?, i64::try_from(users)?];
    let batch = i64::try_from(batch)?;
    let start = Instant::now();
    let mut event = 0;
    while event < last_event {
        let transaction = db.transaction()?;
        {
            let mut insert_event =
                transaction.prepare_cached("INSERT INTO event VALUES (?1, 'posts', ?2, ?3)")?;
            let mut insert_row =
                transaction.prepare_cached("INSERT INTO notification VALUES (?1, ?2, ?3, 0)")?;
            for _ in 0..batch.min(last_event - event) {
                event += 1;
                insert_event.execute((event, format!("bench-{event}"), &content))?;
                for row in 0..recipients {
                    // Steps through the inboxes in an order that is neither sorted nor local.
                    let inbox = (event * 7919 + row * 104_729) % users;
                    let seq = &mut seqs[usize::try_from(inbox)?];
                    *seq += 1;
                    insert_row.execute((inbox, *seq, event))?;
                }
            }
        }
        transaction.commit()?;
    }
    let elapsed = start.elapsed();
    let rows = events * u64::try_from(recipients)?;
    Ok(LimitRun { events_per_s: rate(events, elapsed), rows_per_s: rate(rows, elapsed) })
}

/// Things per second.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
pub fn rate(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}
