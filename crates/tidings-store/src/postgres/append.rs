//! Appending batches: the path that has to be fast.
//!
//! Why each person is told once, in order, by any number of nodes:
//!
//! - An identity is claimed by a unique key. Whoever claims it makes the event, and with it all
//!   notifications of its first batch; nobody else can have any. So a new event needs no look at what
//!   is there.
//! - Whoever finds an identity taken locks its row, and looks for notifications of it afterwards: those
//!   that it finds are duplicates, and no more come while it holds the lock.
//! - `seq` comes from the update of the inbox, whose lock is held until the commit: the next one to
//!   get the lock sees the counter of all who committed before.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, StoredNotification},
    clock::Timestamp,
    dead_letter::{NewDeadLetter, Origin},
    event::Event,
    fan_out::NewFanOut,
    ids::{InboxNumber, NotificationId, Seq},
};
use tokio::try_join;
use uuid::Uuid;

use super::{
    checkpoints::{self, Advanced},
    copy::CopyRows,
    dead_letters,
    error::Failure,
    events,
    fan_outs::{self, Stepped},
    rows::{Columns, from_sql},
    session::{Command, Session},
};

/// Takes the next numbers of inboxes, and says which. Sorted by the caller, and locked in that order.
/// Whose inbox it is we remember, perhaps from before the database was put back to an earlier day:
/// nobody must be told what is for another, so it is compared.
const GROW: &str = "UPDATE inbox i SET last_seq = i.last_seq + g.added, \
     unread = i.unread + g.added \
     FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS g (inbox, added, user_id) \
     WHERE i.inbox = g.inbox AND i.user_id = g.user_id RETURNING i.inbox, i.last_seq - g.added, i.devices > 0";

const COPY: &str = "COPY notification (inbox, seq, event, created_ms) FROM STDIN WITH BINARY";

const INSERT_DUE: &str = "INSERT INTO due_push (inbox, seq, device_id, due_ms, attempt) \
     SELECT inbox, seq, '', due_ms, 1 \
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS d (inbox, seq, due_ms)";

const FIND_TOLD: &str = "SELECT n.event, n.inbox \
     FROM unnest($1::bigint[], $2::bigint[]) AS t (event, inbox) \
     JOIN notification n ON n.event = t.event AND n.inbox = t.inbox";

/// A batch, and the inbox of each of its recipients, in their order.
pub(super) struct Append {
    batch: Arc<NotificationBatch>,
    now: Timestamp,
    inboxes: Vec<i64>,
    /// The key of each event of the batch, in its order.
    keys: Vec<Uuid>,
    /// The keys, sorted, each once.
    sorted_keys: Vec<Uuid>,
}

impl Append {
    pub(super) fn new(batch: Arc<NotificationBatch>, inboxes: Vec<i64>, now: Timestamp) -> Self {
        let events = batch.events().iter();
        let keys: Vec<_> = events.map(|it| events::key(&it.event.source, &it.event.id)).collect();
        let mut sorted_keys = keys.clone();
        sorted_keys.sort_unstable();
        sorted_keys.dedup();
        Self { batch, now, inboxes, keys, sorted_keys }
    }
}

impl Command for Append {
    type Output = Vec<AppendedEvent>;
    const OP: &'static str = "append";

    async fn run(&self, session: &Session) -> Result<Vec<AppendedEvent>, Failure> {
        self.prepare(session).await?;
        let batch = &self.batch;
        let ((), positions, mut stepped, claimed) = try_join!(
            biased;
            session.begin(),
            checkpoints::lock(session, batch.advances()),
            fan_outs::lock(session, batch.fan_out_steps()),
            events::claim_keys(session, &self.sorted_keys),
        )?;
        let mut advanced = checkpoints::compare(batch.advances(), positions);
        let mut fenced = std::mem::take(&mut advanced.fenced);
        fenced.extend(stepped.make(batch.fan_out_steps()));
        if !fenced.is_empty() {
            let mut named = HashSet::new();
            fenced.retain(|it| named.insert(it.clone()));
            return Err(Failure::Fenced(fenced));
        }

        let events = self.events(session, &claimed).await?;
        let mut rows = self.rows(&events);
        self.leave_out_told(session, &events, &mut rows).await?;
        let begun = self.begun(&events);
        let letters = self.letters(&advanced, &stepped);
        let new: Vec<_> = events.iter().filter_map(StoredEvent::to_insert).collect();
        let grown = Grown::of(&rows);
        // Inboxes last: they are what others wait for.
        let ((), (), (), (), (), seqs) = try_join!(
            biased;
            checkpoints::store(session, &advanced),
            fan_outs::store(session, &stepped),
            events::insert(session, &new, self.now),
            fan_outs::begin(session, &begun, self.now),
            dead_letters::insert(session, &letters),
            grown.grow(session),
        )?;
        grown.number(&seqs, &mut rows)?;
        let copied = self.copied(&events, &rows);
        try_join!(
            biased;
            insert(session, copied),
            insert_due(session, &rows),
            session.commit(),
        )?;
        Ok(self.answer(&events, &rows))
    }
}

/// An event of the batch, once however often it is in it.
struct StoredEvent {
    number: i64,
    event: Arc<Event>,
    is_new: bool,
    fans_out: bool,
    /// Where it is in the batch, each time.
    at: Vec<usize>,
}

impl StoredEvent {
    fn to_insert(&self) -> Option<(i64, &Event)> {
        self.is_new.then_some((self.number, &*self.event))
    }
}

/// A notification that the batch asks for.
struct Row<'a> {
    user: &'a str,
    inbox: i64,
    /// Which of the stored events.
    stored: usize,
    due_ms: Option<i64>,
    duplicate: bool,
    /// Set once the inbox has given it.
    seq: i64,
    has_devices: bool,
}

impl Append {
    /// Prepares what is sent together with other statements.
    async fn prepare(&self, session: &Session) -> Result<(), Failure> {
        session.ready(&[events::CLAIM_KEYS, events::COPY, GROW, COPY, INSERT_DUE]).await?;
        if !self.batch.advances().is_empty() {
            session.ready(&[checkpoints::LOCK, checkpoints::MOVE]).await?;
        }
        if !self.batch.fan_out_steps().is_empty() {
            session.ready(&[fan_outs::LOCK, fan_outs::MOVE]).await?;
        }
        if self.batch.events().iter().any(|it| it.fan_out.is_some()) {
            session.ready(&[fan_outs::BEGIN]).await?;
        }
        if !self.batch.dead_letters().is_empty() {
            session.ready(&[dead_letters::INSERT, dead_letters::COUNT]).await?;
        }
        Ok(())
    }

    /// The events of the batch as they are stored, in the order in which they first occur.
    async fn events(
        &self,
        session: &Session,
        claimed: &HashMap<Uuid, i64>,
    ) -> Result<Vec<StoredEvent>, Failure> {
        let mut known = HashMap::new();
        let mut fans_out = Default::default();
        if claimed.len() < self.sorted_keys.len() {
            let taken = self.sorted_keys.iter().filter(|key| !claimed.contains_key(key));
            let taken: Vec<_> = taken.copied().collect();
            known = events::lock(session, &taken).await?;
            if known.len() < taken.len() {
                // Forgotten between the two statements: it can be claimed now.
                return Err(Failure::Overtaken("an event"));
            }
            let numbers: Vec<_> = known.values().map(|it| it.number).collect();
            fans_out = fan_outs::existing(session, &numbers).await?;
        }
        let mut places = HashMap::with_capacity(self.sorted_keys.len());
        let mut stored: Vec<StoredEvent> = Vec::with_capacity(self.sorted_keys.len());
        for (at, (planned, key)) in self.batch.events().iter().zip(&self.keys).enumerate() {
            let place = *places.entry(*key).or_insert(stored.len());
            if let Some(again) = stored.get_mut(place) {
                again.at.push(at);
                continue;
            }
            let mut event = StoredEvent {
                number: 0,
                event: Arc::clone(&planned.event),
                is_new: true,
                fans_out: false,
                at: vec![at],
            };
            if let Some(known) = known.remove(key) {
                if known.event.source != event.event.source || known.event.id != event.event.id {
                    return Err(Failure::Refused("two identities have the same digest"));
                }
                event.number = known.number;
                event.event = known.event;
                event.is_new = false;
                event.fans_out = fans_out.contains(&event.number);
            } else {
                event.number = *claimed.get(key).ok_or(Failure::Overtaken("an event"))?;
            }
            stored.push(event);
        }
        Ok(stored)
    }

    /// The rows that the batch asks for, in its order; those that it has twice are duplicates.
    fn rows(&self, events: &[StoredEvent]) -> Vec<Row<'_>> {
        let mut stored_at = vec![0; self.keys.len()];
        for (stored, event) in events.iter().enumerate() {
            for at in &event.at {
                stored_at[*at] = stored;
            }
        }
        let mut told = HashSet::with_capacity(self.inboxes.len());
        let mut inboxes = self.inboxes.iter();
        let mut rows = Vec::with_capacity(self.inboxes.len());
        for (planned, stored) in self.batch.events().iter().zip(stored_at) {
            for (recipient, inbox) in planned.recipients.iter().zip(inboxes.by_ref()) {
                rows.push(Row {
                    user: recipient.user.as_str(),
                    inbox: *inbox,
                    stored,
                    due_ms: recipient.push_at.map(Timestamp::as_millis),
                    duplicate: !told.insert((stored, *inbox)),
                    seq: 0,
                    has_devices: false,
                });
            }
        }
        rows
    }

    /// Finds who was told of an event that is not new, which is locked by now.
    async fn leave_out_told(
        &self,
        session: &Session,
        events: &[StoredEvent],
        rows: &mut [Row<'_>],
    ) -> Result<(), Failure> {
        let mut asked = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| !row.duplicate && !events[row.stored].is_new) {
            asked.0.push(events[row.stored].number);
            asked.1.push(row.inbox);
        }
        if asked.0.is_empty() {
            return Ok(());
        }
        let mut told: HashSet<(i64, i64)> = HashSet::new();
        for row in &session.query(FIND_TOLD, &[&asked.0, &asked.1]).await? {
            let mut columns = Columns::of(row);
            told.insert((columns.get()?, columns.get()?));
        }
        for row in rows {
            row.duplicate |= told.contains(&(events[row.stored].number, row.inbox));
        }
        Ok(())
    }

    /// The fan-outs that begin, by their event: the first one of each.
    fn begun(&self, events: &[StoredEvent]) -> BTreeMap<i64, &NewFanOut> {
        let mut begun = BTreeMap::new();
        for event in events.iter().filter(|event| !event.fans_out) {
            let mut planned = event.at.iter().map(|at| &self.batch.events()[*at]);
            if let Some(new) = planned.find_map(|it| it.fan_out.as_ref()) {
                begun.insert(event.number, new);
            }
        }
        begun
    }

    /// The dead letters, less those that came with what had moved before: they are kept.
    fn letters(&self, advanced: &Advanced<'_>, stepped: &Stepped) -> Vec<&NewDeadLetter> {
        let letters = self.batch.dead_letters().iter();
        letters.filter(|it| !is_repeated(it, advanced, stepped)).collect()
    }

    /// The new rows for `COPY`; `None` if there are none.
    fn copied(&self, events: &[StoredEvent], rows: &[Row<'_>]) -> Option<Bytes> {
        let mut copied = CopyRows::with_capacity(rows.len() * 50);
        let mut any = false;
        for row in rows.iter().filter(|row| !row.duplicate) {
            any = true;
            copied.row(4);
            copied.int8(row.inbox);
            copied.int8(row.seq);
            copied.int8(events[row.stored].number);
            copied.int8(self.now.as_millis());
        }
        any.then(|| copied.finish())
    }

    fn answer(&self, events: &[StoredEvent], rows: &[Row<'_>]) -> Vec<AppendedEvent> {
        let mut stored_at = vec![0; self.keys.len()];
        let mut fans_out = Vec::with_capacity(events.len());
        for (stored, event) in events.iter().enumerate() {
            fans_out.push(event.fans_out);
            for at in &event.at {
                stored_at[*at] = stored;
            }
        }
        let mut rows = rows.iter();
        let mut answers = Vec::with_capacity(self.keys.len());
        for (planned, at) in self.batch.events().iter().zip(stored_at) {
            let mut stored = Vec::with_capacity(planned.recipients.len());
            for (recipient, row) in planned.recipients.iter().zip(rows.by_ref()) {
                if !row.duplicate {
                    let inbox = InboxNumber(from_sql(row.inbox));
                    let id = NotificationId { inbox, seq: Seq(from_sql(row.seq)) };
                    stored.push(StoredNotification { user: recipient.user.clone(), id });
                }
            }
            // Also for what comes after it in the batch.
            fans_out[at] |= planned.fan_out.is_some();
            answers.push(AppendedEvent {
                event: Arc::clone(&events[at].event),
                created_at: self.now,
                duplicates: planned.recipients.len() - stored.len(),
                stored,
                fans_out: fans_out[at],
            });
        }
        answers
    }
}

/// Whether the letter came with what had moved before, and so is kept already. A fan-out's does not say
/// of which step it is: beside one that is made now it counts as new, so that none is lost.
fn is_repeated(letter: &NewDeadLetter, advanced: &Advanced<'_>, stepped: &Stepped) -> bool {
    match &letter.origin {
        Origin::Http => false,
        Origin::FanOut => stepped.is_repeated(),
        Origin::Kafka(record) => {
            let mut repeated = advanced.repeated.iter();
            repeated.any(|it| *it.topic == *record.topic && it.partition == record.partition)
        }
    }
}

/// The inboxes that grow, sorted, and by how much.
struct Grown<'a> {
    inboxes: Vec<i64>,
    added: Vec<i64>,
    users: Vec<&'a str>,
    /// The new rows by inbox; those of one in their order.
    rows: Vec<usize>,
}

/// Where an inbox was before it grew.
struct Before {
    inbox: i64,
    last_seq: i64,
    has_devices: bool,
}

impl<'a> Grown<'a> {
    fn of(all: &[Row<'a>]) -> Self {
        let mut rows: Vec<_> = (0..all.len()).filter(|row| !all[*row].duplicate).collect();
        // Stable: `seq` follows the order of the batch.
        rows.sort_by_key(|row| all[*row].inbox);
        let mut grown = Self { inboxes: Vec::new(), added: Vec::new(), users: Vec::new(), rows };
        for row in &grown.rows {
            let inbox = all[*row].inbox;
            match grown.added.last_mut() {
                Some(added) if grown.inboxes.last() == Some(&inbox) => *added += 1,
                _ => {
                    grown.inboxes.push(inbox);
                    grown.users.push(all[*row].user);
                    grown.added.push(1);
                }
            }
        }
        grown
    }

    async fn grow(&self, session: &Session) -> Result<Vec<Before>, Failure> {
        if self.inboxes.is_empty() {
            return Ok(Vec::new());
        }
        let rows = session.query(GROW, &[&self.inboxes, &self.added, &self.users]).await?;
        let mut grown = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            let (inbox, last_seq, has_devices) = (columns.get()?, columns.get()?, columns.get()?);
            grown.push(Before { inbox, last_seq, has_devices });
        }
        grown.sort_unstable_by_key(|it| it.inbox);
        Ok(grown)
    }

    /// Gives the rows their numbers.
    fn number(&self, before: &[Before], all: &mut [Row<'_>]) -> Result<(), Failure> {
        if before.len() != self.inboxes.len() {
            return Err(Failure::Overtaken("the inbox of a user"));
        }
        let mut rows = self.rows.iter();
        for (before, added) in before.iter().zip(&self.added) {
            let seqs = before.last_seq + 1..=before.last_seq + added;
            // The numbers first: they say when to stop.
            for (seq, row) in seqs.zip(rows.by_ref()) {
                let row = &mut all[*row];
                debug_assert_eq!(row.inbox, before.inbox, "both are sorted");
                row.seq = seq;
                row.has_devices = before.has_devices;
            }
        }
        Ok(())
    }
}

async fn insert(session: &Session, copied: Option<Bytes>) -> Result<(), Failure> {
    match copied {
        Some(rows) => session.copy(COPY, rows).await,
        None => Ok(()),
    }
}

async fn insert_due(session: &Session, rows: &[Row<'_>]) -> Result<(), Failure> {
    let mut due = (Vec::new(), Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| !row.duplicate && row.has_devices) {
        if let Some(due_ms) = row.due_ms {
            due.0.push(row.inbox);
            due.1.push(row.seq);
            due.2.push(due_ms);
        }
    }
    if !due.0.is_empty() {
        session.execute(INSERT_DUE, &[&due.0, &due.1, &due.2]).await?;
    }
    Ok(())
}
