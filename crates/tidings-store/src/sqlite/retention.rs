//! `RetentionStore`: forgetting what is too old, a bounded piece at a time.
//!
//! A sweep goes through inboxes, events, deliveries, answers, devices and impressions, and remembers where
//! it is. What may go is looked for beside the writer, which then removes it by number and looks again at
//! what others may have changed meanwhile. Pages that become free are used again.

use std::sync::PoisonError;

use async_trait::async_trait;
use rusqlite::Connection;
use tidings_core::{
    clock::Timestamp,
    ids::Seq,
    ports::{Cutoffs, Forgotten, RetentionStore, StoreError},
};

use super::{
    delivery_log, devices,
    error::Failure,
    inbox, recommendation_feedback,
    rows::{from_sql, limit_to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

/// Inboxes and events that one call may look at, at least: most have nothing to be forgotten.
const LOOKS_MIN: usize = 1_000;

/// Where a sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
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

impl Default for Sweep {
    fn default() -> Self {
        Self::Inboxes(0)
    }
}

/// What is to be removed.
#[derive(Debug)]
enum Piece {
    /// Of each inbox, all up to a `seq`.
    Notifications(Vec<(i64, i64)>),
    Events(Vec<i64>),
    Deliveries(Vec<i64>),
    Answers(Vec<i64>),
    /// By inbox and id, those that were last registered before a time.
    Devices(Vec<(i64, String)>, i64),
    /// By user and whom they were shown, those that were last shown before a time.
    Impressions(Vec<(String, String)>, i64),
}

/// A part of a sweep.
struct Found {
    piece: Piece,
    /// Rows of the piece.
    rows: usize,
    looks: usize,
    next: Sweep,
}

fn millis(cutoff: Option<Timestamp>) -> i64 {
    // Nothing is before that.
    cutoff.map_or(i64::MIN, Timestamp::as_millis)
}

/// Finds what comes next.
fn find(
    conn: &Connection,
    cutoffs: Cutoffs,
    sweep: Sweep,
    (limit, looks): (usize, usize),
) -> Result<Found, Failure> {
    match sweep {
        Sweep::Inboxes(after) => find_notifications(conn, cutoffs, after, (limit, looks)),
        Sweep::OldEvents(after) => find_old_events(conn, cutoffs, after, (limit, looks)),
        Sweep::ExpiredEvents(end, after) => {
            find_expired_events(conn, cutoffs, (end, after), (limit, looks))
        }
        Sweep::Deliveries(after) => {
            find_old_deliveries(conn, cutoffs.deliveries, after, (limit, looks))
        }
        Sweep::Answers => {
            let rows = find_rows(conn, OLD_ANSWERS, millis(cutoffs.answers), limit)?;
            let next = if rows.len() < limit { Sweep::Devices } else { sweep };
            Ok(Found { rows: rows.len(), looks: 1, piece: Piece::Answers(rows), next })
        }
        Sweep::Devices => find_devices(conn, millis(cutoffs.devices), limit),
        Sweep::Impressions | Sweep::Done => {
            find_impressions(conn, millis(cutoffs.impressions), limit)
        }
    }
}

const OLD_DELIVERIES: &str = "SELECT delivery, at_ms < ?2 FROM delivery WHERE delivery > ?1 \
     ORDER BY delivery LIMIT ?3";
const OLD_ANSWERS: &str = "SELECT answer FROM answer WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2";
const OLD_DEVICES: &str = "SELECT inbox, device_id FROM device WHERE registered_ms < ?1 \
     ORDER BY registered_ms LIMIT ?2";
const OLD_IMPRESSIONS: &str = "SELECT user_id, shown_id FROM recommendation_impression \
     WHERE last_ms < ?1 ORDER BY last_ms LIMIT ?2";

#[cfg(test)]
pub(super) const QUERIES: [&str; 6] =
    [OLD_EVENTS, EXPIRED_EVENTS, OLD_DELIVERIES, OLD_ANSWERS, OLD_DEVICES, OLD_IMPRESSIONS];

fn find_rows(conn: &Connection, sql: &str, cutoff: i64, limit: usize) -> Result<Vec<i64>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map((cutoff, limit_to_sql(limit)), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn find_devices(conn: &Connection, cutoff: i64, limit: usize) -> Result<Found, Failure> {
    let mut statement = conn.prepare_cached(OLD_DEVICES)?;
    let found = statement.query_map((cutoff, limit_to_sql(limit)), |row| row.try_into())?;
    let found = found.collect::<Result<Vec<(i64, String)>, _>>()?;
    let next = if found.len() < limit { Sweep::Impressions } else { Sweep::Devices };
    Ok(Found { rows: found.len(), looks: 1, piece: Piece::Devices(found, cutoff), next })
}

fn find_impressions(conn: &Connection, cutoff: i64, limit: usize) -> Result<Found, Failure> {
    let mut statement = conn.prepare_cached(OLD_IMPRESSIONS)?;
    let found = statement.query_map((cutoff, limit_to_sql(limit)), |row| row.try_into())?;
    let found = found.collect::<Result<Vec<(String, String)>, _>>()?;
    let next = if found.len() < limit { Sweep::Done } else { Sweep::Impressions };
    Ok(Found { rows: found.len(), looks: 1, piece: Piece::Impressions(found, cutoff), next })
}

fn find_notifications(
    conn: &Connection,
    cutoffs: Cutoffs,
    after: i64,
    (limit, looks): (usize, usize),
) -> Result<Found, Failure> {
    let mut piece = Vec::new();
    let mut found = Found {
        piece: Piece::Notifications(Vec::new()),
        rows: 0,
        looks: 0,
        next: Sweep::OldEvents(0),
    };
    if cutoffs.notifications.is_none() && cutoffs.expired.is_none() {
        found.next = Sweep::Deliveries(0);
        return Ok(found);
    }
    let mut inboxes = conn.prepare_cached(
        "SELECT inbox, forgotten_seq FROM inbox WHERE inbox > ?1 ORDER BY inbox LIMIT ?2",
    )?;
    // The event is looked at only if the notification is young.
    let mut oldest = conn.prepare_cached(
        "SELECT n.seq, n.created_ms < ?4 OR EXISTS (SELECT 1 FROM event e \
         WHERE e.event = n.event AND e.time_ms + e.ttl_ms < ?5) \
         FROM notification n WHERE n.inbox = ?1 AND n.seq > ?2 ORDER BY n.seq LIMIT ?3",
    )?;
    let (created, expired) = (millis(cutoffs.notifications), millis(cutoffs.expired));
    let mut rows = inboxes.query((after, limit_to_sql(looks)))?;
    while let Some(row) = rows.next()? {
        let (inbox, forgotten): (i64, i64) = row.try_into()?;
        found.looks += 1;
        let room = limit - found.rows;
        let mut upto = forgotten;
        let mut more = oldest.query((inbox, forgotten, limit_to_sql(room), created, expired))?;
        while let Some(row) = more.next()? {
            let (seq, goes): (i64, bool) = row.try_into()?;
            if !goes {
                break;
            }
            upto = seq;
            found.rows += 1;
        }
        if upto > forgotten {
            piece.push((inbox, upto));
        }
        if found.rows >= limit {
            // There may be more in this one.
            found.next = Sweep::Inboxes(inbox - 1);
            break;
        }
        if found.looks >= looks {
            found.next = Sweep::Inboxes(inbox);
            break;
        }
    }
    found.piece = Piece::Notifications(piece);
    Ok(found)
}

/// Of an event `e`: nobody's notification refers to it, and no fan-out is under way with it.
macro_rules! is_unreferenced {
    () => {
        "NOT EXISTS (SELECT 1 FROM notification n WHERE n.event = e.event) \
         AND NOT EXISTS (SELECT 1 FROM fan_out f WHERE f.event = e.event AND f.done = 0)"
    };
}

const OLD_EVENTS: &str = concat!(
    "SELECT e.event, e.stored_ms < ?2, e.stored_ms < ?2 AND ",
    is_unreferenced!(),
    " FROM event e WHERE e.event > ?1 ORDER BY e.event LIMIT ?3"
);

fn find_old_events(
    conn: &Connection,
    cutoffs: Cutoffs,
    after: i64,
    (limit, looks): (usize, usize),
) -> Result<Found, Failure> {
    let mut piece = Vec::new();
    let mut found = Found {
        piece: Piece::Events(Vec::new()),
        rows: 0,
        looks: 0,
        next: Sweep::ExpiredEvents(i64::MIN, 0),
    };
    if cutoffs.notifications.is_none() {
        return Ok(found);
    }
    let mut events = conn.prepare_cached(OLD_EVENTS)?;
    let cutoff = millis(cutoffs.notifications);
    let mut rows = events.query((after, cutoff, limit_to_sql(looks)))?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (event, is_old, goes): (i64, bool, bool) = row.try_into()?;
        found.looks += 1;
        last = Some((event, is_old));
        if goes {
            piece.push(event);
            found.rows += 1;
        }
        if found.rows >= limit {
            break;
        }
    }
    // Events have their numbers in the order in which they were stored: behind a page that ends with
    // a young one, all are young. (All but a few when the clock was set back. Those wait.)
    if let Some((event, true)) = last.filter(|_| found.rows >= limit || found.looks >= looks) {
        found.next = Sweep::OldEvents(event);
    }
    found.piece = Piece::Events(piece);
    Ok(found)
}

const EXPIRED_EVENTS: &str = concat!(
    "SELECT e.time_ms + e.ttl_ms, e.event, ",
    is_unreferenced!(),
    " FROM event e INDEXED BY event_expiry WHERE e.ttl_ms IS NOT NULL \
     AND e.time_ms + e.ttl_ms >= ?1 AND e.time_ms + e.ttl_ms < ?3 \
     AND (e.time_ms + e.ttl_ms > ?1 OR e.event > ?2) \
     ORDER BY e.time_ms + e.ttl_ms, e.event LIMIT ?4"
);

fn find_expired_events(
    conn: &Connection,
    cutoffs: Cutoffs,
    after: (i64, i64),
    (limit, looks): (usize, usize),
) -> Result<Found, Failure> {
    let mut piece = Vec::new();
    let mut found =
        Found { piece: Piece::Events(Vec::new()), rows: 0, looks: 0, next: Sweep::Deliveries(0) };
    let mut events = conn.prepare_cached(EXPIRED_EVENTS)?;
    let mut rows =
        events.query((after.0, after.1, millis(cutoffs.expired), limit_to_sql(looks)))?;
    while let Some(row) = rows.next()? {
        let (end, event, goes): (i64, i64, bool) = row.try_into()?;
        found.looks += 1;
        if goes {
            piece.push(event);
            found.rows += 1;
        }
        if found.rows >= limit || found.looks >= looks {
            found.next = Sweep::ExpiredEvents(end, event);
            break;
        }
    }
    found.piece = Piece::Events(piece);
    Ok(found)
}

fn find_old_deliveries(
    conn: &Connection,
    cutoff: Option<Timestamp>,
    after: i64,
    (limit, looks): (usize, usize),
) -> Result<Found, Failure> {
    let mut piece = Vec::new();
    let mut found =
        Found { piece: Piece::Deliveries(Vec::new()), rows: 0, looks: 0, next: Sweep::Answers };
    if cutoff.is_none() {
        return Ok(found);
    }
    let mut deliveries = conn.prepare_cached(OLD_DELIVERIES)?;
    let mut rows = deliveries.query((after, millis(cutoff), limit_to_sql(looks)))?;
    let mut last = after;
    while let Some(row) = rows.next()? {
        let (number, goes): (i64, bool) = row.try_into()?;
        found.looks += 1;
        last = number;
        if goes {
            piece.push(number);
            found.rows += 1;
        }
        if found.rows >= limit {
            break;
        }
    }
    // Rows have their numbers about in the order of their times: behind a page without an old one, none
    // is old. (Nearly none: some attempt may have been written late. Those wait.)
    if found.rows >= limit || (found.looks >= looks && found.rows > 0) {
        found.next = Sweep::Deliveries(last);
    }
    found.piece = Piece::Deliveries(piece);
    Ok(found)
}

/// Removes a piece, and returns what was removed.
struct Forget(Piece, usize);

impl Command for Forget {
    type Output = Forgotten;
    const OP: &'static str = "forget";

    fn rows(&self) -> usize {
        self.1
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Forgotten, Failure> {
        let mut forgotten = Forgotten::default();
        match &self.0 {
            Piece::Notifications(inboxes) => {
                for (inbox, upto) in inboxes {
                    forgotten.notifications += forget_notifications(tx.conn, *inbox, *upto)?;
                }
            }
            Piece::Events(events) => {
                for event in events {
                    forgotten.events += forget_event(tx.conn, *event)?;
                }
            }
            Piece::Deliveries(rows) => {
                forgotten.deliveries = delivery_log::forget(tx, rows)?;
            }
            Piece::Answers(rows) => {
                remove_rows(tx.conn, "DELETE FROM answer WHERE answer = ?1", rows)?;
            }
            Piece::Devices(found, before_ms) => {
                forgotten.devices = devices::forget(tx, found, *before_ms)?;
            }
            Piece::Impressions(found, before_ms) => {
                let removed = recommendation_feedback::forget(tx, found, *before_ms)?;
                forgotten.impressions = removed;
            }
        }
        Ok(forgotten)
    }
}

fn remove_rows(conn: &Connection, sql: &str, rows: &[i64]) -> Result<u64, Failure> {
    let mut remove = conn.prepare_cached(sql)?;
    let mut removed = 0;
    for row in rows {
        removed += remove.execute([row])?;
    }
    Ok(from_sql(limit_to_sql(removed)))
}

fn forget_notifications(conn: &Connection, inbox: i64, upto: i64) -> Result<u64, Failure> {
    let mut state = inbox::state_of(conn, inbox)?;
    let mut removed = 0;
    {
        let mut remove = conn.prepare_cached(
            "DELETE FROM notification WHERE inbox = ?1 AND seq <= ?2 \
             RETURNING read_ms IS NULL AND archived_ms IS NULL",
        )?;
        let mut rows = remove.query((inbox, upto))?;
        while let Some(row) = rows.next()? {
            removed += 1;
            let was_unread: bool = row.get(0)?;
            state.unread = state.unread.saturating_sub(u64::from(was_unread));
        }
    }
    state.forgotten_seq = state.forgotten_seq.max(Seq(from_sql(upto)));
    inbox::write_state(conn, inbox, &state)?;
    conn.prepare_cached("DELETE FROM due_push WHERE inbox = ?1 AND seq <= ?2")?
        .execute((inbox, upto))?;
    Ok(removed)
}

fn forget_event(conn: &Connection, event: i64) -> Result<u64, Failure> {
    // It may have been told to somebody since it was found.
    let removed = conn
        .prepare_cached(concat!(
            "DELETE FROM event AS e WHERE e.event = ?1 AND ",
            is_unreferenced!()
        ))?
        .execute([event])?;
    if removed == 0 {
        return Ok(0);
    }
    conn.prepare_cached("DELETE FROM fan_out WHERE event = ?1")?.execute([event])?;
    Ok(1)
}

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn forget(&self, cutoffs: Cutoffs, limit: usize) -> Result<Forgotten, StoreError> {
        let mut sweep = *self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = (limit, limit.max(LOOKS_MIN));
        let mut forgotten = Forgotten::default();
        while left.0 > 0 && left.1 > 0 && sweep != Sweep::Done {
            let query = move |conn: &Connection| find(conn, cutoffs, sweep, left);
            let found = self.readers.read("forget", query).await?;
            left = (left.0.saturating_sub(found.rows), left.1.saturating_sub(found.looks));
            sweep = found.next;
            if found.rows == 0 {
                continue;
            }
            let removed = self.writer.run(Forget(found.piece, found.rows)).await?;
            forgotten.notifications += removed.notifications;
            forgotten.events += removed.events;
            forgotten.deliveries += removed.deliveries;
            forgotten.devices += removed.devices;
            forgotten.impressions += removed.impressions;
        }
        if sweep == Sweep::Done {
            forgotten.complete = true;
            sweep = Sweep::default();
        }
        *self.sweep.lock().unwrap_or_else(PoisonError::into_inner) = sweep;
        Ok(forgotten)
    }
}
