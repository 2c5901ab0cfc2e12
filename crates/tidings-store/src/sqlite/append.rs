//! Appending batches: the path that has to be fast.

use std::{collections::HashSet, sync::Arc};

use rusqlite::{CachedStatement, Connection};
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, PlannedEvent, StoredNotification},
    checkpoint::PartitionId,
    clock::Timestamp,
    dead_letter::{NewDeadLetter, Origin},
    ids::{InboxNumber, NotificationId, Seq},
    ports::Claim,
};

use super::{
    checkpoints::{self, Advanced},
    dead_letters,
    error::Failure,
    events::{self, Put},
    fan_outs,
    rows::from_sql,
    writer::{Command, WriteTx},
};

pub(super) struct Append {
    pub(super) batch: Arc<NotificationBatch>,
    pub(super) now: Timestamp,
}

impl Command for Append {
    type Output = Vec<AppendedEvent>;
    const OP: &'static str = "append";

    fn rows(&self) -> usize {
        let moved = self.batch.advances().len() + self.batch.fan_out_steps().len();
        self.batch.rows() + self.batch.events().len() + moved
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Vec<AppendedEvent>, Failure> {
        let repeated = move_on(tx.conn, &self.batch)?;
        let letters = self.batch.dead_letters().iter();
        dead_letters::append(tx, letters.filter(|it| !repeated.has(it)))?;
        let mut rows = Rows::new(tx.conn, self.now)?;
        let mut appended = Vec::with_capacity(self.batch.events().len());
        for planned in self.batch.events() {
            appended.push(rows.append_event(tx, planned)?);
        }
        Ok(appended)
    }
}

/// Moves the positions and the fan-outs of the batch, or says which of them others have taken over.
fn move_on<'a>(conn: &Connection, batch: &'a NotificationBatch) -> Result<Repeated<'a>, Failure> {
    let steps = batch.fan_out_steps();
    let mut repeated = Repeated { positions: Vec::new(), steps: !steps.is_empty() };
    let mut fenced = Vec::new();
    for advance in batch.advances() {
        match checkpoints::advance(conn, advance)? {
            Advanced::Now => {}
            Advanced::Before => repeated.positions.push(&advance.partition),
            Advanced::Fenced => fenced.push(Claim::Partition(advance.partition.clone())),
        }
    }
    for step in steps {
        match fan_outs::step(conn, step)? {
            Advanced::Now => repeated.steps = false,
            Advanced::Before => {}
            Advanced::Fenced => fenced.push(Claim::FanOut(step.id)),
        }
    }
    if fenced.is_empty() {
        return Ok(repeated);
    }
    let mut named = HashSet::new();
    fenced.retain(|it| named.insert(it.clone()));
    Err(Failure::Fenced(fenced))
}

/// What an earlier try of the batch has committed without our knowing.
struct Repeated<'a> {
    /// Positions that had moved already.
    positions: Vec<&'a PartitionId>,
    /// Whether there are fan-out steps, and each had been made.
    steps: bool,
}

impl Repeated<'_> {
    /// Whether the letter came with what is repeated, and so is kept already. A fan-out's does not say
    /// of which step it is: beside one that is made now it counts as new, so that none is lost.
    fn has(&self, letter: &NewDeadLetter) -> bool {
        match &letter.origin {
            Origin::Http => false,
            Origin::FanOut => self.steps,
            Origin::Kafka(record) => {
                let mut positions = self.positions.iter();
                positions.any(|it| *it.topic == *record.topic && it.partition == record.partition)
            }
        }
    }
}

/// The rows of one batch.
struct Rows<'a> {
    conn: &'a Connection,
    now: Timestamp,
    insert_event: CachedStatement<'a>,
    insert: CachedStatement<'a>,
    insert_due: CachedStatement<'a>,
}

impl<'a> Rows<'a> {
    fn new(conn: &'a Connection, now: Timestamp) -> Result<Self, Failure> {
        Ok(Self {
            conn,
            now,
            insert_event: conn.prepare_cached(events::INSERT)?,
            // Only "once per person" is a reason to do nothing; a `seq` that is taken is an error.
            insert: conn.prepare_cached(
                "INSERT INTO notification (inbox, seq, event, created_ms) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (event, inbox) DO NOTHING",
            )?,
            insert_due: conn.prepare_cached(
                "INSERT INTO due_push (inbox, seq, device_id, due_ms, attempt) \
                 VALUES (?1, ?2, '', ?3, 1)",
            )?,
        })
    }

    fn append_event(
        &mut self,
        tx: &mut WriteTx<'_>,
        planned: &PlannedEvent,
    ) -> Result<AppendedEvent, Failure> {
        let Put { number, event, is_new } =
            events::put(self.conn, &mut self.insert_event, &planned.event, self.now)?;
        let fans_out = match &planned.fan_out {
            Some(new) => {
                fan_outs::begin(self.conn, number, new, self.now)?;
                true
            }
            None => !is_new && fan_outs::exists(self.conn, number)?,
        };
        let mut stored = Vec::with_capacity(planned.recipients.len());
        let mut duplicates = 0;
        for recipient in &planned.recipients {
            let known = tx.inboxes.load_or_create(self.conn, &recipient.user)?;
            let seq = known.last_seq + 1;
            let row = (known.inbox, seq, number, self.now.as_millis());
            if self.insert.execute(row)? == 0 {
                duplicates += 1;
                continue;
            }
            known.last_seq = seq;
            if let Some(push_at) = recipient.push_at.filter(|_| known.has_devices) {
                self.insert_due.execute((known.inbox, seq, push_at.as_millis()))?;
            }
            let inbox = InboxNumber(from_sql(known.inbox));
            let id = NotificationId { inbox, seq: Seq(from_sql(seq)) };
            stored.push(StoredNotification { user: recipient.user.clone(), id });
        }
        Ok(AppendedEvent { event, created_at: self.now, stored, duplicates, fans_out })
    }
}
