//! From columns to the domain's types, and back.

use std::sync::Arc;

use tidings_core::{
    clock::Timestamp,
    ids::{InboxNumber, NotificationId, Seq, UserId},
    inbox::InboxState,
    notification::{Notification, NotificationState},
    ports::BoxError,
};
use tokio_postgres::{Row, types::FromSql};

use super::{error::Failure, events, text};

/// Reads the columns of one row from left to right.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn get<T: FromSql<'a>>(&mut self) -> Result<T, Failure> {
        let value = self.row.try_get(self.next);
        self.next += 1;
        value.map_err(|error| Failure::unreadable("column", error))
    }

    /// A text that `parse` takes.
    pub(super) fn parse<T, E: Into<BoxError>>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        parse(self.get()?).map_err(|error| Failure::unreadable(what, error))
    }

    /// A text that may hold anything.
    pub(super) fn text(&mut self) -> Result<String, Failure> {
        Ok(text::from_sql(self.get()?))
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>, Failure> {
        let text: Option<String> = self.get()?;
        Ok(text.map(text::from_sql))
    }

    /// A number that is never negative.
    pub(super) fn count(&mut self) -> Result<u64, Failure> {
        let value: i64 = self.get()?;
        u64::try_from(value).map_err(|error| Failure::unreadable("count", error))
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

    pub(super) fn inbox_state(&mut self) -> Result<InboxState, Failure> {
        Ok(InboxState {
            last_seq: Seq(self.count()?),
            acked_seq: Seq(self.count()?),
            acked_after: Seq(self.count()?),
            unread: self.count()?,
            forgotten_seq: Seq(self.count()?),
        })
    }

    pub(super) fn user(&mut self) -> Result<UserId, Failure> {
        self.parse("user id", UserId::new)
    }
}

/// A query for notifications, to be completed with `FROM`, conditions, order and limit. `i` is the
/// inbox, `n` the notification, `e` the event.
pub(super) fn select_notifications(rest: &str) -> String {
    format!(
        "SELECT n.inbox, n.seq, i.user_id, n.created_ms, n.seen_ms, n.read_ms, n.archived_ms, {}, \
         i.last_seq, i.acked_seq, i.acked_after, i.unread, i.forgotten_seq {rest}",
        events::COLUMNS
    )
}

/// Reads a row of [`select_notifications`].
pub(super) fn notification(row: &Row) -> Result<(Notification, InboxState), Failure> {
    let mut columns = Columns::of(row);
    let notification = Notification {
        id: columns.notification_id()?,
        user: columns.user()?,
        created_at: columns.time()?,
        state: NotificationState {
            seen_at: columns.optional_time()?,
            read_at: columns.optional_time()?,
            archived_at: columns.optional_time()?,
        },
        event: Arc::new(events::read(&mut columns)?),
    };
    Ok((notification, columns.inbox_state()?))
}

/// The number as PostgreSQL holds it; what is beyond stands for its highest.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A page size as PostgreSQL takes it.
pub(super) fn limit_to_sql(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A store's number as the domain shows it. The store's own numbers start at 1.
pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
