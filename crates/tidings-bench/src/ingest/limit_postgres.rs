//! The bare limit of PostgreSQL: Kafka to the same rows, and nothing else.
//!
//! Two lanes, each with a consumer of half the partitions and a connection of its own; all events of a
//! user are in one partition, so that no lane ever waits for a lock of the other. A transaction of a
//! lane has 5,000 events: `COPY BINARY` into `event_key`, `event`, `notification` and, for users who
//! were never told of anything, `user_inbox` and `inbox`; one `UPDATE … FROM unnest` for the counters
//! of those who were; one row of `checkpoint` per partition.
//!
//! It reads the columns from the JSON with borrowed text. It checks nothing: no limits of the fields,
//! no identity that may be there already, no inbox that another may have written to, no epoch of the
//! partition, no devices, blocks or pushes. All numbers come from memory, none from a sequence.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    copy::CopyRows,
    kafka::Backlog,
    postgres::Sql,
    records::{BATCHES_AHEAD, Batch, Row, read_backlog},
};

/// Transactions at once.
const LANES: usize = 2;

/// Looks of the planner that would read whole tables: the counters are found by their key.
const PLANNER: &str =
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off";
const UPDATE: &str = "UPDATE inbox SET last_seq = new.last, unread = unread + new.added
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (inbox, last, added)
    WHERE inbox.inbox = new.inbox";
const CHECKPOINT: &str = "INSERT INTO checkpoint (group_name, topic, part, epoch, next_offset)
    VALUES ('limit', 'limit', $1, 1, $2)
    ON CONFLICT (group_name, topic, part) DO UPDATE SET next_offset = excluded.next_offset";

/// Stores the whole backlog in the database at `url`, which has the tables and no rows. `stored` is
/// the count of events that are committed.
pub(super) async fn run(
    url: &str,
    backlog: &Backlog,
    stored: &Arc<AtomicU64>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let partitions: Vec<_> =
            (0..backlog.in_partition.len()).filter(|it| it % LANES == lane).collect();
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let (backlog, stop) = (backlog.clone(), stop.clone());
        lanes.spawn_blocking(move || read_backlog(&backlog, &partitions, &sender, &stop));
        let (url, stored) = (url.to_owned(), Arc::clone(stored));
        lanes.spawn(async move { Lane::open(&url, lane).await?.run(batches, &stored).await });
    }
    while let Some(ended) = lanes.join_next().await {
        ended??;
    }
    Ok(())
}

struct Inbox {
    inbox: i64,
    last_seq: i64,
}

struct Lane {
    sql: Sql,
    update: tokio_postgres::Statement,
    checkpoint: tokio_postgres::Statement,
    inboxes: HashMap<Box<str>, Inbox>,
    /// Numbers of this lane only: every second one.
    next_inbox: i64,
    next_event: i64,
}

/// An inbox that the batch adds to.
struct Grown {
    last_seq: i64,
    added: i64,
}

impl Lane {
    async fn open(url: &str, lane: usize) -> anyhow::Result<Self> {
        let sql = Sql::connect(url).await?;
        sql.client.batch_execute(PLANNER).await?;
        let update = sql.client.prepare(UPDATE).await?;
        let checkpoint = sql.client.prepare(CHECKPOINT).await?;
        let first = i64::try_from(lane)? + 1;
        let inboxes = HashMap::new();
        Ok(Self { sql, update, checkpoint, inboxes, next_inbox: first, next_event: first })
    }

    async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        stored: &AtomicU64,
    ) -> anyhow::Result<()> {
        while let Some(batch) = batches.recv().await {
            self.store(&batch).await?;
            stored.fetch_add(u64::try_from(batch.len())?, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn store(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let rows = batch.rows()?;
        let written = self.write(&rows);
        let client = &self.sql.client;
        client.batch_execute("BEGIN").await?;
        for (copy, rows) in written.copies {
            rows.send(client, copy).await?;
        }
        let (inboxes, (lasts, added)): (Vec<i64>, (Vec<i64>, Vec<i64>)) = written
            .grown
            .into_iter()
            .map(|(inbox, grown)| (inbox, (grown.last_seq, grown.added)))
            .unzip();
        client.execute(&self.update, &[&inboxes, &lasts, &added]).await?;
        for (partition, next) in (0i32..).zip(&batch.next_offsets).filter(|(_, next)| **next > 0) {
            client.execute(&self.checkpoint, &[&partition, next]).await?;
        }
        client.batch_execute("COMMIT").await?;
        Ok(())
    }

    /// Gives the rows their numbers and writes them down for `COPY`.
    fn write(&mut self, rows: &[Row<'_>]) -> Written {
        let count = rows.len();
        let mut keys = CopyRows::new(2, count, 34);
        let mut events = CopyRows::new(16, count, 400);
        let mut notifications = CopyRows::new(4, count, 50);
        let mut names = CopyRows::new(2, count, 34);
        let mut inboxes = CopyRows::new(4, count, 60);
        let now = rows.first().map_or(0, |row| row.time_ms);
        let mut grown: HashMap<i64, Grown> = HashMap::with_capacity(count);
        let mut new = Vec::new();
        let step = i64::try_from(LANES).unwrap_or(1);
        for row in rows {
            let event = self.next_event;
            self.next_event += step;
            keys.row().bytes(&key(row)).int8(event);
            write_event(&mut events, event, now, row);
            if !self.inboxes.contains_key(row.user) {
                let inbox = self.next_inbox;
                self.next_inbox += step;
                self.inboxes.insert(row.user.into(), Inbox { inbox, last_seq: 0 });
                names.row().bytes(row.user.as_bytes()).int8(inbox);
                new.push(row.user);
            }
            if let Some(inbox) = self.inboxes.get_mut(row.user) {
                inbox.last_seq += 1;
                let (inbox, seq) = (inbox.inbox, inbox.last_seq);
                let grown = grown.entry(inbox).or_insert(Grown { last_seq: 0, added: 0 });
                grown.last_seq = seq;
                grown.added += 1;
                notifications.row().int8(inbox).int8(seq).int8(event).int8(now);
            }
        }
        for user in new {
            let Some(Inbox { inbox, last_seq }) = self.inboxes.get(user) else { continue };
            inboxes.row().int8(*inbox).bytes(user.as_bytes()).int8(*last_seq).int8(*last_seq);
            grown.remove(inbox);
        }
        let mut grown: Vec<_> = grown.into_iter().collect();
        // Neighbours share a page.
        grown.sort_unstable_by_key(|(inbox, _)| *inbox);
        let copies = vec![
            ("COPY event_key (key, event) FROM STDIN WITH BINARY", keys),
            (COPY_EVENTS, events),
            (
                "COPY notification (inbox, seq, event, created_ms) FROM STDIN WITH BINARY",
                notifications,
            ),
            ("COPY user_inbox (user_id, inbox) FROM STDIN WITH BINARY", names),
            ("COPY inbox (inbox, user_id, last_seq, unread) FROM STDIN WITH BINARY", inboxes),
        ];
        Written { copies, grown }
    }
}

struct Written {
    copies: Vec<(&'static str, CopyRows)>,
    grown: Vec<(i64, Grown)>,
}

const COPY_EVENTS: &str = "COPY event (event, time_ms, stored_ms, ttl_ms, source, event_id, type, \
    actor_id, object_type, object_id, object_url, title, body, data, priority, group_id) \
    FROM STDIN WITH BINARY";

fn write_event(events: &mut CopyRows, event: i64, now: i64, row: &Row<'_>) {
    events.row().int8(event).int8(row.time_ms).int8(now).null();
    for text in [row.source, row.id, row.event_type, row.actor] {
        events.bytes(text.as_bytes());
    }
    events.bytes(row.object.object_type.as_bytes()).bytes(row.object.id.as_bytes()).null();
    events.bytes(row.title.as_bytes()).bytes(row.body.as_bytes()).null();
    events.bytes(row.priority.as_bytes()).bytes(row.group.as_bytes());
}

/// A digest of the identity, as wide and as random as the one of the store.
fn key(row: &Row<'_>) -> [u8; 16] {
    let mut digest = Sha256::new();
    digest.update(row.source);
    digest.update([0]);
    digest.update(row.id);
    let mut key = [0; 16];
    key.copy_from_slice(&digest.finalize()[..16]);
    key
}
