//! The bare limit of SQLite: Kafka to the same rows, and nothing else.
//!
//! A consumer of all partitions on one thread, a writer with prepared statements on another, 5,000
//! events per durable transaction, the settings of the store, the log folded beside the commits. Like the store it writes nothing to an
//! inbox that is there already.
//!
//! It reads the columns from the JSON with borrowed text. It checks nothing: no limits of the fields,
//! no identity that may be there already, no epoch of the partition, no devices, blocks or pushes.
//! Inboxes and their counters are looked up in memory only.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, params};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    kafka::Backlog,
    limit_fold::Folding,
    postgres::migrations,
    records::{BATCHES_AHEAD, Batch, Row, read_backlog},
};

const EVENT: &str = "INSERT INTO event (source, event_id, type, time_ms, actor_id, object_type, \
    object_id, title, body, priority, group_id, stored_ms) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const NOTIFICATION: &str =
    "INSERT INTO notification (inbox, seq, event, created_ms) VALUES (?1, ?2, ?3, ?4)";
const INBOX: &str = "INSERT INTO inbox (user_id) VALUES (?1)";
const CHECKPOINT: &str = "INSERT INTO checkpoint (group_name, topic, part, epoch, next_offset) \
    VALUES ('limit', 'limit', ?1, 1, ?2) \
    ON CONFLICT (group_name, topic, part) DO UPDATE SET next_offset = excluded.next_offset";

/// Stores the whole backlog in a new file in `dir`. `stored` is the count of events that are
/// committed.
pub(super) async fn run(
    dir: &Path,
    backlog: &Backlog,
    stored: &Arc<AtomicU64>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut threads = JoinSet::new();
    let (sender, mut batches) = mpsc::channel::<Batch>(BATCHES_AHEAD);
    let (backlog, stop) = (backlog.clone(), stop.clone());
    let partitions: Vec<_> = (0..backlog.in_partition.len()).collect();
    threads.spawn_blocking(move || read_backlog(&backlog, &partitions, &sender, &stop));
    let db = open(dir)?;
    let mut folding = Folding::start(&db, connect(dir)?, &mut threads);
    let stored = Arc::clone(stored);
    threads.spawn_blocking(move || {
        let mut writer = Writer { db, inboxes: HashMap::new() };
        while let Some(batch) = batches.blocking_recv() {
            writer.store(&batch)?;
            stored.fetch_add(u64::try_from(batch.len())?, Ordering::Relaxed);
            folding.after_commit(&writer.db)?;
        }
        Ok(())
    });
    while let Some(ended) = threads.join_next().await {
        ended??;
    }
    Ok(())
}

/// A new file with the tables of the store.
fn open(dir: &Path) -> anyhow::Result<Connection> {
    let db = connect(dir)?;
    for step in migrations("sqlite")? {
        db.execute_batch(&step)?;
    }
    Ok(db)
}

/// A connection with the settings of the store.
fn connect(dir: &Path) -> anyhow::Result<Connection> {
    let db = Connection::open(dir.join("limit.db"))?;
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -8_192)?;
    Ok(db)
}

struct Inbox {
    inbox: i64,
    last_seq: i64,
}

struct Writer {
    db: Connection,
    inboxes: HashMap<Box<str>, Inbox>,
}

impl Writer {
    fn store(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let rows = batch.rows()?;
        let now = rows.first().map_or(0, |row| row.time_ms);
        let transaction = self.db.transaction()?;
        {
            let mut insert_event = transaction.prepare_cached(EVENT)?;
            let mut insert_row = transaction.prepare_cached(NOTIFICATION)?;
            let mut insert_inbox = transaction.prepare_cached(INBOX)?;
            for row in &rows {
                insert_event.execute(event_columns(row, &now))?;
                let event = transaction.last_insert_rowid();
                if !self.inboxes.contains_key(row.user) {
                    insert_inbox.execute([row.user])?;
                    let inbox = transaction.last_insert_rowid();
                    self.inboxes.insert(row.user.into(), Inbox { inbox, last_seq: 0 });
                }
                let Some(inbox) = self.inboxes.get_mut(row.user) else { continue };
                inbox.last_seq += 1;
                insert_row.execute(params![inbox.inbox, inbox.last_seq, event, now])?;
            }
            let mut checkpoint = transaction.prepare_cached(CHECKPOINT)?;
            for (partition, next) in (0..).zip(&batch.next_offsets).filter(|(_, next)| **next > 0) {
                let partition: i32 = partition;
                checkpoint.execute((partition, next))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn event_columns<'a>(row: &'a Row<'_>, now: &'a i64) -> [&'a dyn rusqlite::ToSql; 12] {
    [
        &row.source,
        &row.id,
        &row.event_type,
        &row.time_ms,
        &row.actor,
        &row.object.object_type,
        &row.object.id,
        &row.title,
        &row.body,
        &row.priority,
        &row.group,
        now,
    ]
}
