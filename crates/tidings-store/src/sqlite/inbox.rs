//! Inboxes: their numbers and counters, and marking what is in them.

use std::sync::{Arc, LazyLock};

use hashlink::{LruCache, linked_hash_map::RawEntryMut};
use rusqlite::{Connection, ToSql};
use tidings_core::{
    clock::Timestamp,
    ids::{Seq, UserId},
    inbox::{Acknowledgement, InboxState, Mark, Selection},
};

use super::{
    delivery_log,
    error::Failure,
    rows::{Columns, STATE, from_sql, limit_to_sql, to_sql},
    writer::{Command, WriteTx},
};

/// What an append has to know of an inbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownInbox {
    pub(super) inbox: i64,
    pub(super) last_seq: i64,
    pub(super) has_devices: bool,
}

/// The inboxes that were appended to last, as they are inside the writer's transaction.
///
/// Whoever changes `last_seq` or the devices of an inbox updates it here or forgets it; whoever
/// rolls back clears it.
#[derive(Debug)]
pub(super) struct InboxCache(LruCache<UserId, KnownInbox>);

impl InboxCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self(LruCache::new(capacity))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn forget(&mut self, user: &str) {
        self.0.remove(user);
    }

    /// The user's inbox, if there is one. What is not known is read, and not kept: only appends come
    /// again and again.
    pub(super) fn find(
        &self,
        conn: &Connection,
        user: &UserId,
    ) -> Result<Option<KnownInbox>, Failure> {
        match self.0.peek(user) {
            Some(known) => Ok(Some(*known)),
            None => load(conn, user),
        }
    }

    /// The user's inbox; makes one if there is none.
    pub(super) fn load_or_create(
        &mut self,
        conn: &Connection,
        user: &UserId,
    ) -> Result<&mut KnownInbox, Failure> {
        match self.0.raw_entry_mut().from_key(user) {
            RawEntryMut::Occupied(mut known) => {
                known.to_back();
                Ok(known.into_mut())
            }
            RawEntryMut::Vacant(unknown) => {
                let known = load_or_create(conn, user)?;
                Ok(unknown.insert(user.clone(), known).1)
            }
        }
    }
}

static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT i.inbox, i.devices > 0, {STATE} FROM inbox i WHERE i.user_id = ?1")
});

fn load(conn: &Connection, user: &UserId) -> Result<Option<KnownInbox>, Failure> {
    let mut load = conn.prepare_cached(&LOAD)?;
    let mut rows = load.query([user.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::of(row);
    let (inbox, has_devices) = (columns.get()?, columns.get()?);
    let last_seq = to_sql(columns.inbox_state()?.last_seq.0);
    Ok(Some(KnownInbox { inbox, last_seq, has_devices }))
}

fn load_or_create(conn: &Connection, user: &UserId) -> Result<KnownInbox, Failure> {
    if let Some(known) = load(conn, user)? {
        return Ok(known);
    }
    let inbox =
        conn.prepare_cached("INSERT INTO inbox (user_id) VALUES (?1)")?.insert([user.as_str()])?;
    Ok(KnownInbox { inbox, last_seq: 0, has_devices: false })
}

/// The counters as they are now, for those who count from here on.
static LOAD_STATE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT i.inbox, {STATE} FROM inbox i WHERE i.user_id = ?1"));
static LOAD_STATE_OF: LazyLock<String> =
    LazyLock::new(|| format!("SELECT i.inbox, {STATE} FROM inbox i WHERE i.inbox = ?1"));

fn find_state(
    conn: &Connection,
    sql: &str,
    key: impl ToSql,
) -> Result<Option<(i64, InboxState)>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([key])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut columns = Columns::of(row);
    Ok(Some((columns.get()?, columns.inbox_state()?)))
}

/// Reads the counters; all zero for a user without an inbox.
pub(super) fn state(conn: &Connection, user: &UserId) -> Result<InboxState, Failure> {
    let found = find_state(conn, &LOAD_STATE, user.as_str())?;
    Ok(found.map(|(_, state)| state).unwrap_or_default())
}

/// Reads the counters of the inbox with this number.
pub(super) fn state_of(conn: &Connection, inbox: i64) -> Result<InboxState, Failure> {
    let found = find_state(conn, &LOAD_STATE_OF, inbox)?;
    Ok(found.map(|(_, state)| state).unwrap_or_default())
}

/// Writes the counters, all of them: each is as of the same moment.
pub(super) fn write_state(
    conn: &Connection,
    inbox: i64,
    state: &InboxState,
) -> Result<(), Failure> {
    conn.prepare_cached(
        "UPDATE inbox SET last_seq = ?2, acked_seq = ?3, acked_after = ?4, unread = ?5, \
         forgotten_seq = ?6 WHERE inbox = ?1",
    )?
    .execute((
        inbox,
        to_sql(state.last_seq.0),
        to_sql(state.acked_seq.0),
        to_sql(state.acked_after.0),
        to_sql(state.unread),
        to_sql(state.forgotten_seq.0),
    ))?;
    Ok(())
}

pub(super) struct MarkInbox {
    pub(super) user: UserId,
    pub(super) mark: Mark,
    pub(super) selection: Selection,
    pub(super) now: Timestamp,
}

/// The statements of a mark. Parameters: inbox, first and last `seq`, time.
struct MarkSql {
    /// Marks those that stop being unread by it; `None` if it makes no difference to that.
    unread: Option<&'static str>,
    /// Marks all others, and runs after it.
    others: &'static str,
    /// The end of the range that has the mark throughout.
    floor: &'static str,
    /// Moves that end. Parameters: inbox, end.
    raise_floor: &'static str,
}

fn mark_sql(mark: Mark) -> MarkSql {
    match mark {
        Mark::Seen => MarkSql {
            unread: None,
            others: "UPDATE notification SET seen_ms = ?4 \
                     WHERE inbox = ?1 AND seq BETWEEN ?2 AND ?3 AND seen_ms IS NULL",
            floor: "SELECT seen_upto FROM inbox WHERE inbox = ?1",
            raise_floor: "UPDATE inbox SET seen_upto = ?2 WHERE inbox = ?1",
        },
        Mark::Read => MarkSql {
            unread: Some(
                "UPDATE notification SET read_ms = ?4, seen_ms = coalesce(seen_ms, ?4) \
                 WHERE inbox = ?1 AND seq BETWEEN ?2 AND ?3 \
                 AND read_ms IS NULL AND archived_ms IS NULL",
            ),
            others: "UPDATE notification SET read_ms = ?4, seen_ms = coalesce(seen_ms, ?4) \
                     WHERE inbox = ?1 AND seq BETWEEN ?2 AND ?3 AND read_ms IS NULL",
            floor: "SELECT read_upto FROM inbox WHERE inbox = ?1",
            raise_floor: "UPDATE inbox SET read_upto = ?2, seen_upto = max(seen_upto, ?2) \
                          WHERE inbox = ?1",
        },
        Mark::Archived => MarkSql {
            unread: Some(
                "UPDATE notification SET archived_ms = ?4 \
                 WHERE inbox = ?1 AND seq BETWEEN ?2 AND ?3 \
                 AND archived_ms IS NULL AND read_ms IS NULL",
            ),
            others: "UPDATE notification SET archived_ms = ?4 \
                     WHERE inbox = ?1 AND seq BETWEEN ?2 AND ?3 AND archived_ms IS NULL",
            floor: "SELECT archived_upto FROM inbox WHERE inbox = ?1",
            raise_floor: "UPDATE inbox SET archived_upto = ?2 WHERE inbox = ?1",
        },
    }
}

impl Command for MarkInbox {
    type Output = InboxState;
    const OP: &'static str = "mark";

    fn rows(&self) -> usize {
        match &self.selection {
            Selection::UpTo(_) => 1,
            Selection::Ids(ids) => ids.len(),
        }
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<InboxState, Failure> {
        let conn = tx.conn;
        let sql = mark_sql(self.mark);
        let Some((inbox, mut state)) = find_state(conn, &LOAD_STATE, self.user.as_str())? else {
            return Ok(InboxState::default());
        };
        let floor: i64 = conn.prepare_cached(sql.floor)?.query_row([inbox], |row| row.get(0))?;
        let last = to_sql(state.last_seq.0);
        let mut ended_unread = 0;
        match &self.selection {
            Selection::UpTo(Seq(seq)) => {
                // Not beyond the newest: what is appended later does not have the mark.
                let end = to_sql(*seq).min(last);
                if end > floor {
                    ended_unread = self.mark_range(conn, &sql, (inbox, floor + 1, end))?;
                    conn.prepare_cached(sql.raise_floor)?.execute((inbox, end))?;
                }
            }
            Selection::Ids(ids) => {
                for id in ids.iter().filter(|id| to_sql(id.inbox.0) == inbox) {
                    let seq = to_sql(id.seq.0);
                    if seq > floor && seq <= last {
                        ended_unread += self.mark_range(conn, &sql, (inbox, seq, seq))?;
                    }
                }
            }
        }
        if ended_unread > 0 {
            state.unread = state.unread.saturating_sub(ended_unread);
            write_state(conn, inbox, &state)?;
        }
        Ok(state)
    }
}

impl MarkInbox {
    /// Marks one range and returns how many notifications were unread until then.
    fn mark_range(
        &self,
        conn: &Connection,
        sql: &MarkSql,
        (inbox, first, last): (i64, i64, i64),
    ) -> Result<u64, Failure> {
        let params = (inbox, first, last, self.now.as_millis());
        let ended = match sql.unread {
            Some(unread) => conn.prepare_cached(unread)?.execute(params)?,
            None => 0,
        };
        conn.prepare_cached(sql.others)?.execute(params)?;
        Ok(from_sql(limit_to_sql(ended)))
    }
}

pub(super) struct Acknowledge(pub(super) Arc<[Acknowledgement]>);

impl Command for Acknowledge {
    type Output = ();
    const OP: &'static str = "acknowledge";

    fn rows(&self) -> usize {
        self.0.iter().map(|it| 1 + it.deliveries.len()).sum()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let mut found = Vec::with_capacity(self.0.len());
        for ack in self.0.iter() {
            if let Some(known) = tx.inboxes.find(tx.conn, &ack.user)? {
                let upto = to_sql(ack.has.upto.0).min(known.last_seq);
                found.push((known.inbox, upto, known.last_seq, to_sql(ack.has.after.0)));
            }
        }
        // One page after the other, and not each of them again and again.
        found.sort_unstable();
        // What was appended since the counters were written is unread; they are written together. The
        // stretches are joined as [`Stretch::join`](tidings_core::inbox::Stretch::join) does.
        let mut raise = tx.conn.prepare_cached(
            "UPDATE inbox SET last_seq = ?3, unread = unread + (?3 - last_seq), \
             acked_seq = max(acked_seq, ?2), \
             acked_after = CASE WHEN ?4 <= acked_seq THEN min(acked_after, ?4) ELSE ?4 END \
             WHERE inbox = ?1 AND ?4 < ?2 \
             AND (acked_seq < ?2 OR (?4 < acked_after AND acked_after <= ?2))",
        )?;
        for row in found {
            raise.execute(row)?;
        }
        drop(raise);
        let mut deliveries: Vec<_> = self.0.iter().flat_map(|it| &it.deliveries).collect();
        deliveries.sort_by_key(|it| it.notification);
        delivery_log::log(tx, deliveries)?;
        Ok(())
    }
}
