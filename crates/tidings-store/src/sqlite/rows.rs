//! From columns to the domain's types, and back.

use std::sync::Arc;

use rusqlite::{Row, types::FromSql};
use tidings_core::{
    clock::Timestamp,
    ids::{InboxNumber, NotificationId, Seq, UserId},
    inbox::InboxState,
    notification::{Notification, NotificationState},
    ports::BoxError,
};

use super::{error::Failure, events};

/// Reads the columns of one row from left to right.
pub(super) struct Columns<'a, 'stmt> {
    row: &'a Row<'stmt>,
    next: usize,
}

impl<'a, 'stmt> Columns<'a, 'stmt> {
    pub(super) fn of(row: &'a Row<'stmt>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn get<T: FromSql>(&mut self) -> Result<T, Failure> {
        let value = self.row.get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    /// A text that `parse` takes.
    pub(super) fn text<T, E: Into<BoxError>>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let text = self.row.get_ref(self.next)?;
        self.next += 1;
        let text = text.as_str().map_err(|error| Failure::unreadable(what, error))?;
        parse(text).map_err(|error| Failure::unreadable(what, error))
    }

    /// A number that is never negative.
    pub(super) fn count(&mut self) -> Result<u64, Failure> {
        let value: i64 = self.get()?;
        u64::try_from(value).map_err(|error| Failure::unreadable("count", error))
    }

    pub(super) fn attempt(&mut self) -> Result<u32, Failure> {
        let value: i64 = self.get()?;
        u32::try_from(value).map_err(|error| Failure::unreadable("attempt", error))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Failure> {
        Ok(Timestamp::from_millis(self.get()?))
    }

    pub(super) fn optional_time(&mut self) -> Result<Option<Timestamp>, Failure> {
        let millis: Option<i64> = self.get()?;
        Ok(millis.map(Timestamp::from_millis))
    }

    pub(super) fn notification_id(&mut self) -> Result<NotificationId, Failure> {
        Ok(NotificationId { inbox: InboxNumber(self.count()?), seq: Seq(self.count()?) })
    }

    /// The columns of [`STATE`].
    pub(super) fn inbox_state(&mut self) -> Result<InboxState, Failure> {
        let counted = self.count()?;
        let acked_seq = Seq(self.count()?);
        let acked_after = Seq(self.count()?);
        let unread = self.count()?;
        let forgotten_seq = Seq(self.count()?);
        // None if all are forgotten.
        let newest: Option<i64> = self.get()?;
        let last = newest.map_or(counted, |newest| counted.max(from_sql(newest)));
        let since = last - counted;
        let (last_seq, unread) = (Seq(last), unread + since);
        Ok(InboxState { last_seq, acked_seq, acked_after, unread, forgotten_seq })
    }

    pub(super) fn user(&mut self) -> Result<UserId, Failure> {
        self.text("user id", UserId::new)
    }
}

/// The counters of an inbox `i`. Appends leave them alone: what was appended since they were last
/// written is unread, and comes on top.
pub(super) const STATE: &str = "i.last_seq, i.acked_seq, i.acked_after, i.unread, i.forgotten_seq, \
     (SELECT max(s.seq) FROM notification s WHERE s.inbox = i.inbox)";

/// A query for notifications, to be completed with `FROM`'s conditions, order and limit. `i` is the
/// inbox, `n` the notification, `e` the event; the joins run in this order.
pub(super) fn select_notifications(rest: &str) -> String {
    select_notifications_and("", rest)
}

/// As [`select_notifications`], with more columns at the end.
pub(super) fn select_notifications_and(more: &str, rest: &str) -> String {
    format!(
        "SELECT n.inbox, n.seq, i.user_id, n.created_ms, n.seen_ms, n.read_ms, n.archived_ms, {}{more} \
         FROM inbox i CROSS JOIN notification n ON n.inbox = i.inbox \
         CROSS JOIN event e ON e.event = n.event {rest}",
        events::COLUMNS
    )
}

/// Reads a row of [`select_notifications`].
pub(super) fn notification(row: &Row<'_>) -> Result<Notification, Failure> {
    read_notification(&mut Columns::of(row))
}

/// Reads a row of [`select_notifications_and`] the columns of [`STATE`].
pub(super) fn notification_and_state(row: &Row<'_>) -> Result<(Notification, InboxState), Failure> {
    let mut columns = Columns::of(row);
    let notification = read_notification(&mut columns)?;
    Ok((notification, columns.inbox_state()?))
}

fn read_notification(columns: &mut Columns<'_, '_>) -> Result<Notification, Failure> {
    Ok(Notification {
        id: columns.notification_id()?,
        user: columns.user()?,
        created_at: columns.time()?,
        state: NotificationState {
            seen_at: columns.optional_time()?,
            read_at: columns.optional_time()?,
            archived_at: columns.optional_time()?,
        },
        event: Arc::new(events::read(columns)?),
    })
}

/// The number as SQLite holds it; what is beyond stands for its highest.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A page size as SQLite takes it.
pub(super) fn limit_to_sql(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A store's number as the domain shows it. The store's own numbers start at 1.
pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
