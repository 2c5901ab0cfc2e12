//! Inboxes: their numbers and counters, and marking what is in them.

use hashlink::LruCache;
use rusqlite::{Connection, OptionalExtension};
use tidings_core::{
    clock::Timestamp,
    delivery::Delivery,
    ids::{Seq, UserId},
    inbox::{InboxState, Mark, Selection},
};

use super::{
    deliveries,
    error::Failure,
    rows::{Columns, to_sql},
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

    pub(super) fn remember(&mut self, user: &UserId, known: KnownInbox) {
        self.0.insert(user.clone(), known);
    }

    pub(super) fn forget(&mut self, user: &str) {
        self.0.remove(user);
    }

    /// The user's inbox; makes one if there is none.
    pub(super) fn load_or_create(
        &mut self,
        conn: &Connection,
        user: &UserId,
    ) -> Result<KnownInbox, Failure> {
        if let Some(known) = self.0.get(user) {
            return Ok(*known);
        }
        let found = conn
            .prepare_cached("SELECT inbox, last_seq, devices > 0 FROM inbox WHERE user_id = ?1")?
            .query_row([user.as_str()], |row| {
                Ok(KnownInbox {
                    inbox: row.get(0)?,
                    last_seq: row.get(1)?,
                    has_devices: row.get(2)?,
                })
            })
            .optional()?;
        let known = match found {
            Some(known) => known,
            None => KnownInbox {
                inbox: conn
                    .prepare_cached("INSERT INTO inbox (user_id) VALUES (?1)")?
                    .insert([user.as_str()])?,
                last_seq: 0,
                has_devices: false,
            },
        };
        self.remember(user, known);
        Ok(known)
    }
}

/// Reads the counters; all zero for a user without an inbox.
pub(super) fn state(conn: &Connection, user: &UserId) -> Result<InboxState, Failure> {
    let mut statement = conn.prepare_cached(
        "SELECT last_seq, acked_seq, unread, forgotten_seq FROM inbox WHERE user_id = ?1",
    )?;
    let mut rows = statement.query([user.as_str()])?;
    match rows.next()? {
        Some(row) => Columns::of(row).inbox_state(),
        None => Ok(InboxState::default()),
    }
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
            floor: "SELECT inbox, last_seq, acked_seq, unread, forgotten_seq, seen_upto FROM inbox \
                    WHERE user_id = ?1",
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
            floor: "SELECT inbox, last_seq, acked_seq, unread, forgotten_seq, read_upto FROM inbox \
                    WHERE user_id = ?1",
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
            floor: "SELECT inbox, last_seq, acked_seq, unread, forgotten_seq, archived_upto FROM inbox \
                    WHERE user_id = ?1",
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
        let Some((inbox, mut state, floor)) = load_marked(conn, &self.user, &sql)? else {
            return Ok(InboxState::default());
        };
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
            state.unread = conn
                .prepare_cached(
                    "UPDATE inbox SET unread = unread - ?2 WHERE inbox = ?1 RETURNING unread",
                )?
                .query_row((inbox, ended_unread), |row| row.get(0))
                .map(super::rows::from_sql)?;
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
    ) -> Result<i64, Failure> {
        let params = (inbox, first, last, self.now.as_millis());
        let ended = match sql.unread {
            Some(unread) => conn.prepare_cached(unread)?.execute(params)?,
            None => 0,
        };
        conn.prepare_cached(sql.others)?.execute(params)?;
        Ok(super::rows::limit_to_sql(ended))
    }
}

fn load_marked(
    conn: &Connection,
    user: &UserId,
    sql: &MarkSql,
) -> Result<Option<(i64, InboxState, i64)>, Failure> {
    let mut statement = conn.prepare_cached(sql.floor)?;
    let mut rows = statement.query([user.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut columns = Columns::of(row);
    Ok(Some((columns.get()?, columns.inbox_state()?, columns.get()?)))
}

pub(super) struct Acknowledge {
    pub(super) user: UserId,
    pub(super) seq: Seq,
    pub(super) deliveries: Vec<Delivery>,
}

impl Command for Acknowledge {
    type Output = ();
    const OP: &'static str = "acknowledge";

    fn rows(&self) -> usize {
        1 + self.deliveries.len()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        tx.conn
            .prepare_cached(
                "UPDATE inbox SET acked_seq = min(?2, last_seq) \
                 WHERE user_id = ?1 AND acked_seq < min(?2, last_seq)",
            )?
            .execute((self.user.as_str(), to_sql(self.seq.0)))?;
        deliveries::log(tx.conn, &self.deliveries)
    }
}
