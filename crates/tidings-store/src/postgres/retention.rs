//! `RetentionStore`: forgetting what is too old, a bounded piece at a time.
//!
//! A sweep goes through inboxes, events, deliveries, answers and devices, and remembers where it is. What
//! may go is looked for without a lock; whether an event is still told to nobody is looked at again under
//! the lock on its identity. Several nodes may sweep at once: each removes what the other has not.
//! The room that becomes free is used again once vacuum has been there, for which the tables have
//! settings of their own.

use std::sync::PoisonError;

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    ids::{EventId, SourceId},
    ports::{Cutoffs, Forgotten, RetentionStore, StoreError},
};
use tokio::try_join;
use tokio_postgres::{Row, error::SqlState};
use uuid::Uuid;

use super::{
    devices,
    error::Failure,
    events,
    rows::{Columns, from_sql, limit_to_sql},
    session::{Command, Session},
    store::PostgresStore,
};

/// Inboxes and events that one call may look at, at least: most have nothing to be forgotten.
const LOOKS_MIN: usize = 1_000;

/// Inboxes that are looked at together. In each of them as many rows may be read as a call may remove.
const INBOXES_AT_ONCE: usize = 32;

/// … at first: what is forgotten is often in the first ones.
const INBOXES_AT_FIRST: usize = 2;
/// Inboxes that are passed over at first when they cannot be read: as many as the smallest piece has.
const SKIP_MIN: i64 = 32;

/// The share of what it may do that a call does while nothing has failed.
const WHOLE: usize = 64;

/// A sweep under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    at: Place,
    /// How much the next call does, of [`WHOLE`].
    share: usize,
    /// Inboxes that are passed over when the smallest piece fails: twice as many each time, so that a
    /// sweep ends whatever fails.
    skip: i64,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { at: Place::default(), share: WHOLE, skip: SKIP_MIN }
    }
}

impl Sweep {
    fn allowed(self, limit: usize) -> Left {
        let share_of = |it: usize| it.saturating_mul(self.share).div_ceil(WHOLE);
        Left { rows: share_of(limit), looks: share_of(limit.max(LOOKS_MIN)) }
    }

    /// Grows again, slowly: each piece that is too large costs a timeout.
    fn note_success(&mut self) {
        self.share = (self.share + 1).min(WHOLE);
        self.skip = SKIP_MIN;
    }

    /// The same again would fail for ever: less of it comes next and, where there is no less, the inboxes
    /// behind it, or another part of the sweep.
    fn note_failure(&mut self) {
        if self.share > 1 {
            self.share = (self.share / 4).max(1);
            return;
        }
        tracing::error!(at = ?self.at, "a part of what is too old cannot be forgotten, and is left");
        match &mut self.at {
            Place::Inboxes(done) => {
                *done = done.saturating_add(self.skip);
                self.skip = self.skip.saturating_mul(2);
            }
            at => (*at, self.share) = (at.next_part(), WHOLE),
        }
    }
}

/// Whether it may be the piece that has failed, and not the way to the database or the server as such.
fn is_of_the_piece(error: &StoreError) -> bool {
    let StoreError::Unavailable { source, .. } = error else { return true };
    if let Some(Failure::Late(_)) = source.downcast_ref() {
        return true;
    }
    let code = source.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code());
    // It goes away, or has no room.
    let ails = ["08", "53", "57"];
    code.is_some_and(|code| {
        *code == SqlState::QUERY_CANCELED || !ails.iter().any(|it| code.code().starts_with(it))
    })
}

/// Where a sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The inboxes up to this number are done.
    Inboxes(i64),
    /// The events up to this number are done, as far as they are too old.
    OldEvents(i64),
    /// The events up to this end and number are done, as far as they have expired.
    ExpiredEvents(i64, i64),
    /// The rows of the log up to this number are done.
    Deliveries(i64),
    Answers,
    Devices,
    Impressions,
    Done,
}

impl Default for Place {
    fn default() -> Self {
        Self::Inboxes(0)
    }
}

impl Place {
    fn next_part(self) -> Self {
        match self {
            Self::Inboxes(_) => Self::OldEvents(0),
            Self::OldEvents(_) => Self::ExpiredEvents(i64::MIN, 0),
            Self::ExpiredEvents(..) => Self::Deliveries(0),
            Self::Deliveries(_) => Self::Answers,
            Self::Answers => Self::Devices,
            Self::Devices => Self::Impressions,
            Self::Impressions | Self::Done => Self::Done,
        }
    }
}

/// A part of a sweep: what goes, and what it took to find it.
struct Found<T> {
    pieces: Vec<T>,
    /// Rows that go, at most.
    rows: usize,
    looks: usize,
    next: Place,
}

/// How much one call may still do.
#[derive(Clone, Copy)]
struct Left {
    rows: usize,
    looks: usize,
}

fn millis(cutoff: Option<Timestamp>) -> i64 {
    // Nothing is before that.
    cutoff.map_or(i64::MIN, Timestamp::as_millis)
}

/// Of an inbox, all after one `seq` up to another.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    inbox: i64,
    after: i64,
    upto: i64,
}

struct FindNotifications {
    cutoffs: Cutoffs,
    after: i64,
    left: Left,
}

impl Command for FindNotifications {
    type Output = Found<Prefix>;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<Found<Prefix>, Failure> {
        // Up to the first that stays. The event is looked at only if the notification is young.
        const FIND: &str = "SELECT i.inbox, i.forgotten_seq, coalesce( \
             (SELECT n.seq - 1 FROM notification n WHERE n.inbox = i.inbox \
             AND n.seq > i.forgotten_seq AND n.seq <= i.forgotten_seq + $3 \
             AND n.created_ms >= $4 AND NOT EXISTS (SELECT 1 FROM event e \
             WHERE e.event = n.event AND e.time_ms + e.ttl_ms < $5) ORDER BY n.seq LIMIT 1), \
             least(i.last_seq, i.forgotten_seq + $3)) \
             FROM inbox i WHERE i.inbox > $1 ORDER BY i.inbox LIMIT $2";
        let mut found = Found { pieces: Vec::new(), rows: 0, looks: 0, next: Place::OldEvents(0) };
        let Cutoffs { notifications, expired, .. } = self.cutoffs;
        if notifications.is_none() && expired.is_none() {
            found.next = Place::Deliveries(0);
            return Ok(found);
        }
        let params = (millis(notifications), millis(expired));
        let (mut last, mut at_once) = (self.after, INBOXES_AT_FIRST);
        while found.looks < self.left.looks {
            let rows = limit_to_sql(self.left.rows - found.rows);
            let asked = at_once.min(self.left.looks - found.looks);
            at_once = (at_once * 2).min(INBOXES_AT_ONCE);
            let looks = limit_to_sql(asked);
            let inboxes =
                session.query(FIND, &[&last, &looks, &rows, &params.0, &params.1]).await?;
            for row in &inboxes {
                last = found.look(row, self.left)?;
                if found.rows >= self.left.rows {
                    // There may be more in this one.
                    found.next = Place::Inboxes(last - 1);
                    return Ok(found);
                }
            }
            if inboxes.len() < asked {
                return Ok(found);
            }
        }
        found.next = Place::Inboxes(last);
        Ok(found)
    }
}

impl Found<Prefix> {
    /// Reads what goes of an inbox, as far as there is room, and returns the inbox.
    fn look(&mut self, row: &Row, left: Left) -> Result<i64, Failure> {
        let mut columns = Columns::of(row);
        let (inbox, after): (i64, i64) = (columns.get()?, columns.get()?);
        let room = limit_to_sql(left.rows - self.rows);
        let upto = columns.get::<i64>()?.min(after.saturating_add(room));
        self.looks += 1;
        if upto > after {
            self.pieces.push(Prefix { inbox, after, upto });
            self.rows += usize::try_from(upto - after).unwrap_or(left.rows);
        }
        Ok(inbox)
    }
}

struct ForgetNotifications(Vec<Prefix>);

impl Command for ForgetNotifications {
    type Output = u64;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        const REMOVE: &str = "DELETE FROM notification n \
             USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p (inbox, after, upto) \
             WHERE n.inbox = p.inbox AND n.seq > p.after AND n.seq <= p.upto \
             RETURNING n.inbox, n.read_ms IS NULL AND n.archived_ms IS NULL";
        const REMOVE_DUE: &str = "DELETE FROM due_push d \
             USING unnest($1::bigint[], $2::bigint[]) AS p (inbox, upto) \
             WHERE d.inbox = p.inbox AND d.seq <= p.upto";
        const COUNT: &str = "UPDATE inbox i SET unread = i.unread - p.unread, \
             forgotten_seq = greatest(i.forgotten_seq, p.upto) \
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p (inbox, upto, unread) \
             WHERE i.inbox = p.inbox";
        let inboxes: Vec<_> = self.0.iter().map(|it| it.inbox).collect();
        let after: Vec<_> = self.0.iter().map(|it| it.after).collect();
        let upto: Vec<_> = self.0.iter().map(|it| it.upto).collect();
        session.ready(&[devices::LOCK, REMOVE, REMOVE_DUE, COUNT]).await?;
        let ((), _, removed, _) = try_join!(
            biased;
            session.begin(),
            async { session.query(devices::LOCK, &[&inboxes]).await },
            async { session.query(REMOVE, &[&inboxes, &after, &upto]).await },
            async { session.execute(REMOVE_DUE, &[&inboxes, &upto]).await },
        )?;
        let mut unread = vec![0_i64; inboxes.len()];
        for row in &removed {
            let mut columns = Columns::of(row);
            let (inbox, was_unread): (i64, bool) = (columns.get()?, columns.get()?);
            if let Ok(place) = inboxes.binary_search(&inbox) {
                unread[place] += i64::from(was_unread);
            }
        }
        try_join!(
            biased;
            async { session.execute(COUNT, &[&inboxes, &upto, &unread]).await },
            session.commit(),
        )?;
        Ok(from_sql(limit_to_sql(removed.len())))
    }
}

/// Of an event `e`: nobody's notification refers to it, and no fan-out is under way with it.
macro_rules! is_unreferenced {
    () => {
        "NOT EXISTS (SELECT 1 FROM notification n WHERE n.event = e.event) \
         AND NOT EXISTS (SELECT 1 FROM fan_out f WHERE f.event = e.event AND NOT f.done)"
    };
}

struct FindOldEvents {
    cutoff: Option<Timestamp>,
    after: i64,
    left: Left,
}

impl Command for FindOldEvents {
    type Output = Found<Uuid>;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<Found<Uuid>, Failure> {
        const FIND: &str = concat!(
            "SELECT CASE WHEN e.stored_ms < $2 THEN ",
            is_unreferenced!(),
            " ELSE false END, e.source, e.event_id, e.event, e.stored_ms < $2 \
             FROM event e WHERE e.event > $1 ORDER BY e.event LIMIT $3"
        );
        let mut found = Found {
            pieces: Vec::new(),
            rows: 0,
            looks: 0,
            next: Place::ExpiredEvents(i64::MIN, 0),
        };
        if self.cutoff.is_none() {
            return Ok(found);
        }
        let looks = limit_to_sql(self.left.looks);
        let mut last = None;
        for row in &session.query(FIND, &[&self.after, &millis(self.cutoff), &looks]).await? {
            let mut columns = Columns::of(row);
            found.look(&mut columns)?;
            last = Some((columns.get::<i64>()?, columns.get::<bool>()?));
            if found.rows >= self.left.rows {
                break;
            }
        }
        let full = found.rows >= self.left.rows || found.looks >= self.left.looks;
        // Events have their numbers about in the order in which they were stored: behind a page that
        // ends with a young one, all are young. (Nearly all: some clock may be behind. Those wait.)
        if let Some((event, true)) = last.filter(|_| full) {
            found.next = Place::OldEvents(event);
        }
        Ok(found)
    }
}

impl Found<Uuid> {
    /// Reads whether the event goes, and its identity.
    fn look(&mut self, columns: &mut Columns<'_>) -> Result<(), Failure> {
        let goes: bool = columns.get()?;
        let source = columns.parse("source", SourceId::new)?;
        let id = columns.parse("event id", EventId::new)?;
        self.looks += 1;
        if goes {
            self.pieces.push(events::key(&source, &id));
            self.rows += 1;
        }
        Ok(())
    }
}

struct FindExpiredEvents {
    cutoff: Option<Timestamp>,
    after: (i64, i64),
    left: Left,
}

impl Command for FindExpiredEvents {
    type Output = Found<Uuid>;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<Found<Uuid>, Failure> {
        const FIND: &str = concat!(
            "SELECT ",
            is_unreferenced!(),
            ", e.source, e.event_id, e.time_ms + e.ttl_ms, e.event FROM event e \
             WHERE e.ttl_ms IS NOT NULL AND (e.time_ms + e.ttl_ms, e.event) > ($1, $2) \
             AND e.time_ms + e.ttl_ms < $3 ORDER BY e.time_ms + e.ttl_ms, e.event LIMIT $4"
        );
        let mut found = Found { pieces: Vec::new(), rows: 0, looks: 0, next: Place::Deliveries(0) };
        if self.cutoff.is_none() {
            return Ok(found);
        }
        let (end, event) = self.after;
        let looks = limit_to_sql(self.left.looks);
        for row in &session.query(FIND, &[&end, &event, &millis(self.cutoff), &looks]).await? {
            let mut columns = Columns::of(row);
            found.look(&mut columns)?;
            if found.rows >= self.left.rows || found.looks >= self.left.looks {
                found.next = Place::ExpiredEvents(columns.get()?, columns.get()?);
                break;
            }
        }
        Ok(found)
    }
}

struct ForgetEvents(Vec<Uuid>);

impl Command for ForgetEvents {
    type Output = u64;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        // One that is being told to somebody right now is passed over.
        const LOCK: &str = "SELECT event, key FROM event_key WHERE key = ANY($1::uuid[]) \
             ORDER BY key FOR UPDATE SKIP LOCKED";
        // A later statement than the lock: it sees who was told by those who had it before.
        const REMOVE: &str = concat!(
            "DELETE FROM event e WHERE e.event = ANY($1::bigint[]) AND ",
            is_unreferenced!(),
            " RETURNING e.event"
        );
        const REMOVE_KEYS: &str = "DELETE FROM event_key WHERE key = ANY($1::uuid[])";
        const REMOVE_FAN_OUTS: &str = "DELETE FROM fan_out WHERE event = ANY($1::bigint[])";
        session.ready(&[LOCK, REMOVE, REMOVE_KEYS, REMOVE_FAN_OUTS]).await?;
        let ((), locked) =
            try_join!(biased; session.begin(), async { session.query(LOCK, &[&self.0]).await })?;
        let mut keys = std::collections::HashMap::with_capacity(locked.len());
        for row in &locked {
            let mut columns = Columns::of(row);
            keys.insert(columns.get::<i64>()?, columns.get::<Uuid>()?);
        }
        let numbers: Vec<_> = keys.keys().copied().collect();
        let removed = session.query(REMOVE, &[&numbers]).await?;
        let removed: Vec<i64> =
            removed.iter().map(|row| Columns::of(row).get()).collect::<Result<_, _>>()?;
        let keys: Vec<_> = removed.iter().filter_map(|number| keys.get(number)).collect();
        try_join!(
            biased;
            async { session.execute(REMOVE_KEYS, &[&keys]).await },
            async { session.execute(REMOVE_FAN_OUTS, &[&removed]).await },
            session.commit(),
        )?;
        Ok(from_sql(limit_to_sql(removed.len())))
    }
}

struct FindOldDeliveries {
    cutoff: Option<Timestamp>,
    after: i64,
    left: Left,
}

impl Command for FindOldDeliveries {
    /// By inbox, `seq` and number.
    type Output = Found<(i64, i64, i64)>;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<Self::Output, Failure> {
        const FIND: &str = "SELECT inbox, seq, delivery, at_ms < $2 FROM delivery \
             WHERE delivery > $1 ORDER BY delivery LIMIT $3";
        let mut found = Found { pieces: Vec::new(), rows: 0, looks: 0, next: Place::Answers };
        if self.cutoff.is_none() {
            return Ok(found);
        }
        let looks = limit_to_sql(self.left.looks);
        let mut last = self.after;
        for row in &session.query(FIND, &[&self.after, &millis(self.cutoff), &looks]).await? {
            let mut columns = Columns::of(row);
            let key = (columns.get()?, columns.get()?, columns.get()?);
            found.looks += 1;
            last = key.2;
            if columns.get()? {
                found.pieces.push(key);
                found.rows += 1;
            }
            if found.rows >= self.left.rows {
                break;
            }
        }
        // Rows have their numbers about in the order of their times: behind a page without an old one,
        // none is old. (Nearly none: some attempt may have been written late. Those wait.)
        let full = found.looks >= self.left.looks && found.rows > 0;
        if found.rows >= self.left.rows || full {
            found.next = Place::Deliveries(last);
        }
        Ok(found)
    }
}

struct ForgetDeliveries(Vec<(i64, i64, i64)>);

impl Command for ForgetDeliveries {
    type Output = u64;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        const REMOVE: &str = "DELETE FROM delivery d \
             USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS old (inbox, seq, delivery) \
             WHERE d.inbox = old.inbox AND d.seq = old.seq AND d.delivery = old.delivery";
        let inboxes: Vec<_> = self.0.iter().map(|(inbox, ..)| *inbox).collect();
        let seqs: Vec<_> = self.0.iter().map(|(_, seq, _)| *seq).collect();
        let numbers: Vec<_> = self.0.iter().map(|(.., number)| *number).collect();
        session.execute(REMOVE, &[&inboxes, &seqs, &numbers]).await
    }
}

/// Removes answers that are older than a cut-off, up to a limit.
struct ForgetAnswers {
    cutoff: Option<Timestamp>,
    limit: usize,
}

impl Command for ForgetAnswers {
    type Output = usize;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<usize, Failure> {
        const FORGET: &str = "WITH old AS (SELECT sender, request_key FROM answer \
             WHERE at_ms < $1 ORDER BY at_ms LIMIT $2 FOR UPDATE SKIP LOCKED) DELETE FROM answer a \
             USING old WHERE a.sender = old.sender AND a.request_key = old.request_key";
        if self.cutoff.is_none() {
            return Ok(0);
        }
        let params = (millis(self.cutoff), limit_to_sql(self.limit));
        let removed = session.execute(FORGET, &[&params.0, &params.1]).await?;
        Ok(usize::try_from(removed).unwrap_or(self.limit))
    }
}

/// Removes devices that were last registered before a cut-off, up to a limit.
struct ForgetDevices {
    cutoff: Option<Timestamp>,
    limit: usize,
}

impl Command for ForgetDevices {
    type Output = usize;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<usize, Failure> {
        const FIND: &str = "SELECT inbox, device_id, registered_ms FROM device \
             WHERE registered_ms < $1 ORDER BY registered_ms LIMIT $2";
        let (cutoff, limit) = (millis(self.cutoff), limit_to_sql(self.limit));
        let mut old = devices::Prunes::default();
        for row in &session.query(FIND, &[&cutoff, &limit]).await? {
            let mut columns = Columns::of(row);
            old.inboxes.push(columns.get()?);
            old.devices.push(columns.get()?);
            old.registered.push(columns.get()?);
        }
        if old.inboxes.is_empty() {
            return Ok(0);
        }
        // Inboxes before devices, as when registering; what has been registered anew since is spared.
        session.begin().await?;
        let removed = devices::prune(session, &old).await?;
        session.commit().await?;
        Ok(removed)
    }
}

/// Removes impressions that are older than a cut-off, up to a limit.
struct ForgetImpressions {
    cutoff: Option<Timestamp>,
    limit: usize,
}

impl Command for ForgetImpressions {
    type Output = usize;
    const OP: &'static str = "forget";

    async fn run(&self, session: &Session) -> Result<usize, Failure> {
        const FORGET: &str = "WITH old AS (SELECT user_id, shown_id \
             FROM recommendation_impression \
             WHERE last_ms < $1 ORDER BY last_ms LIMIT $2 FOR UPDATE SKIP LOCKED) \
             DELETE FROM recommendation_impression i \
             USING old WHERE i.user_id = old.user_id AND i.shown_id = old.shown_id";
        if self.cutoff.is_none() {
            return Ok(0);
        }
        let params = (millis(self.cutoff), limit_to_sql(self.limit));
        let removed = session.execute(FORGET, &[&params.0, &params.1]).await?;
        Ok(usize::try_from(removed).unwrap_or(self.limit))
    }
}

/// What a part of a sweep did.
struct Step {
    forgotten: Forgotten,
    rows: usize,
    looks: usize,
    next: Place,
}

impl PostgresStore {
    /// Goes on from `at`, and says there where it has come, also if it fails on the way.
    async fn sweep_on(
        &self,
        cutoffs: Cutoffs,
        at: &mut Place,
        mut left: Left,
    ) -> Result<Forgotten, StoreError> {
        let mut forgotten = Forgotten::default();
        while left.rows > 0 && left.looks > 0 && *at != Place::Done {
            let step = self.step(cutoffs, *at, left).await?;
            forgotten.notifications += step.forgotten.notifications;
            forgotten.events += step.forgotten.events;
            forgotten.deliveries += step.forgotten.deliveries;
            forgotten.devices += step.forgotten.devices;
            forgotten.impressions += step.forgotten.impressions;
            left.rows = left.rows.saturating_sub(step.rows);
            left.looks = left.looks.saturating_sub(step.looks);
            *at = step.next;
        }
        if *at == Place::Done {
            forgotten.complete = true;
            *at = Place::default();
        }
        Ok(forgotten)
    }

    async fn step(&self, cutoffs: Cutoffs, at: Place, left: Left) -> Result<Step, StoreError> {
        match at {
            Place::Inboxes(after) => {
                let found = self.readers.run(FindNotifications { cutoffs, after, left }).await?;
                let mut forgotten = Forgotten::default();
                if !found.pieces.is_empty() {
                    let forget = ForgetNotifications(found.pieces);
                    forgotten.notifications = self.writers.run(forget).await?;
                }
                Ok(Step { forgotten, rows: found.rows, looks: found.looks, next: found.next })
            }
            Place::OldEvents(after) => {
                let cutoff = cutoffs.notifications;
                let found = self.readers.run(FindOldEvents { cutoff, after, left }).await?;
                self.forget_events(found).await
            }
            Place::ExpiredEvents(end, event) => {
                let (cutoff, after) = (cutoffs.expired, (end, event));
                let found = self.readers.run(FindExpiredEvents { cutoff, after, left }).await?;
                self.forget_events(found).await
            }
            Place::Deliveries(after) => {
                let cutoff = cutoffs.deliveries;
                let found = self.readers.run(FindOldDeliveries { cutoff, after, left }).await?;
                let mut forgotten = Forgotten::default();
                if !found.pieces.is_empty() {
                    let forget = ForgetDeliveries(found.pieces);
                    forgotten.deliveries = self.writers.run(forget).await?;
                }
                Ok(Step { forgotten, rows: found.rows, looks: found.looks, next: found.next })
            }
            Place::Answers => {
                let (cutoff, limit) = (cutoffs.answers, left.rows);
                let rows = self.writers.run(ForgetAnswers { cutoff, limit }).await?;
                let next = if rows < left.rows { Place::Devices } else { at };
                Ok(Step { forgotten: Forgotten::default(), rows, looks: 1, next })
            }
            Place::Devices => {
                let (cutoff, limit) = (cutoffs.devices, left.rows);
                let rows = self.writers.run(ForgetDevices { cutoff, limit }).await?;
                let next = if rows < left.rows { Place::Impressions } else { Place::Devices };
                let devices = from_sql(limit_to_sql(rows));
                let forgotten = Forgotten { devices, ..Forgotten::default() };
                Ok(Step { forgotten, rows, looks: 1, next })
            }
            Place::Impressions | Place::Done => {
                let (cutoff, limit) = (cutoffs.impressions, left.rows);
                let rows = self.writers.run(ForgetImpressions { cutoff, limit }).await?;
                let next = if rows < left.rows { Place::Done } else { Place::Impressions };
                let impressions = from_sql(limit_to_sql(rows));
                let forgotten = Forgotten { impressions, ..Forgotten::default() };
                Ok(Step { forgotten, rows, looks: 1, next })
            }
        }
    }

    async fn forget_events(&self, found: Found<Uuid>) -> Result<Step, StoreError> {
        let mut forgotten = Forgotten::default();
        if !found.pieces.is_empty() {
            forgotten.events = self.writers.run(ForgetEvents(found.pieces)).await?;
        }
        Ok(Step { forgotten, rows: found.rows, looks: found.looks, next: found.next })
    }
}

#[async_trait]
impl RetentionStore for PostgresStore {
    async fn forget(&self, cutoffs: Cutoffs, limit: usize) -> Result<Forgotten, StoreError> {
        let mut sweep = *self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        let left = sweep.allowed(limit);
        let swept = self.sweep_on(cutoffs, &mut sweep.at, left).await;
        match &swept {
            Ok(_) => sweep.note_success(),
            Err(error) if is_of_the_piece(error) => sweep.note_failure(),
            Err(_) => {}
        }
        *self.sweep.lock().unwrap_or_else(PoisonError::into_inner) = sweep;
        swept
    }
}
