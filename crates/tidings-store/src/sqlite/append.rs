//! Appending batches: the path that has to be fast.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use rusqlite::{CachedStatement, Connection};
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, PlannedEvent, StoredNotification},
    clock::Timestamp,
    ids::{InboxNumber, NotificationId, Seq, UserId},
};

use super::{
    error::Failure,
    events,
    inbox::KnownInbox,
    rows::from_sql,
    writer::{Command, WriteTx},
};

pub(super) struct Append {
    pub(super) batch: NotificationBatch,
    pub(super) now: Timestamp,
}

impl Command for Append {
    type Output = Vec<AppendedEvent>;
    const OP: &'static str = "append";

    fn rows(&self) -> usize {
        self.batch.rows() + self.batch.events().len()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Vec<AppendedEvent>, Failure> {
        let mut rows = Rows::new(tx.conn, self.now)?;
        let mut appended = Vec::with_capacity(self.batch.events().len());
        for planned in self.batch.events() {
            appended.push(rows.append_event(tx, planned)?);
        }
        rows.count(tx)?;
        Ok(appended)
    }
}

/// An inbox that the batch adds to.
struct Grown<'a> {
    user: &'a UserId,
    known: KnownInbox,
    added: i64,
}

/// The rows of one batch. Counters are kept here and written once per inbox at the end, not once per
/// row: a batch often has many notifications for the same people.
struct Rows<'a> {
    conn: &'a Connection,
    now: Timestamp,
    insert: CachedStatement<'a>,
    insert_due: CachedStatement<'a>,
    grown: HashMap<i64, Grown<'a>>,
}

impl<'a> Rows<'a> {
    fn new(conn: &'a Connection, now: Timestamp) -> Result<Self, Failure> {
        Ok(Self {
            conn,
            now,
            // Only "once per person" is a reason to do nothing; a `seq` that is taken is an error.
            insert: conn.prepare_cached(
                "INSERT INTO notification (inbox, seq, event, created_ms) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (event, inbox) DO NOTHING",
            )?,
            insert_due: conn.prepare_cached(
                "INSERT INTO due_push (inbox, seq, device_id, due_ms, attempt) \
                 VALUES (?1, ?2, '', ?3, 1)",
            )?,
            grown: HashMap::new(),
        })
    }

    fn append_event(
        &mut self,
        tx: &mut WriteTx<'_>,
        planned: &'a PlannedEvent,
    ) -> Result<AppendedEvent, Failure> {
        let (number, event) = events::put(self.conn, &planned.event)?;
        let mut stored = Vec::with_capacity(planned.recipients.len());
        let mut duplicates = 0;
        for recipient in &planned.recipients {
            let user = &recipient.user;
            let known = tx.inboxes.load_or_create(self.conn, user)?;
            let grown = match self.grown.entry(known.inbox) {
                // Knows better than the cache, which has the state before this batch.
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Grown { user, known, added: 0 }),
            };
            let seq = grown.known.last_seq + 1;
            let row = (known.inbox, seq, number, self.now.as_millis());
            if self.insert.execute(row)? == 0 {
                duplicates += 1;
                continue;
            }
            grown.known.last_seq = seq;
            grown.added += 1;
            if let Some(push_at) = recipient.push_at.filter(|_| known.has_devices) {
                let row = (known.inbox, seq, push_at.as_millis());
                self.insert_due.execute(row)?;
            }
            let id = NotificationId {
                inbox: InboxNumber(from_sql(known.inbox)),
                seq: Seq(from_sql(seq)),
            };
            stored.push(StoredNotification { user: user.clone(), id });
        }
        Ok(AppendedEvent { event: Arc::clone(&event), created_at: self.now, stored, duplicates })
    }

    /// Writes the counters of the inboxes that have grown.
    fn count(self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let mut grown: Vec<_> = self.grown.into_values().filter(|it| it.added > 0).collect();
        // Neighbours share a page.
        grown.sort_unstable_by_key(|it| it.known.inbox);
        let mut update = self.conn.prepare_cached(
            "UPDATE inbox SET last_seq = ?2, unread = unread + ?3 WHERE inbox = ?1",
        )?;
        for Grown { user, known, added } in grown {
            update.execute((known.inbox, known.last_seq, added))?;
            tx.inboxes.remember(user, known);
        }
        Ok(())
    }
}
