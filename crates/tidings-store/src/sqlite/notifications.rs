//! `NotificationStore`.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use rusqlite::{Connection, Params};
use tidings_core::{
    batch::{AppendedEvent, MAX_BATCH_ROWS, NotificationBatch},
    clock::Timestamp,
    ids::{NotificationId, Seq, UserId},
    inbox::{Acknowledgement, InboxPage, InboxState, Mark, Selection},
    notification::Notification,
    ports::{NotificationStore, StoreError},
};

use super::{
    append::Append,
    error::Failure,
    inbox::{self, Acknowledge, MarkInbox},
    rows::{self, STATE, limit_to_sql, select_notifications, select_notifications_and, to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

static LIST_AFTER: LazyLock<String> = LazyLock::new(|| {
    select_notifications("WHERE i.user_id = ?1 AND n.seq > ?2 ORDER BY n.seq LIMIT ?3")
});

// Below `archived_upto` there is nothing to find: who archives all does not pay for it later.
static LIST_NEWEST: LazyLock<String> = LazyLock::new(|| {
    select_notifications(
        "WHERE i.user_id = ?1 AND n.seq > i.archived_upto AND n.seq < ?2 \
         AND n.archived_ms IS NULL ORDER BY n.seq DESC LIMIT ?3",
    )
});

static FIND: LazyLock<String> = LazyLock::new(|| {
    select_notifications_and(&format!(", {STATE}"), "WHERE i.inbox = ?1 AND n.seq = ?2")
});

#[cfg(test)]
pub(super) static QUERIES: [&LazyLock<String>; 3] = [&LIST_AFTER, &LIST_NEWEST, &FIND];

/// The notification with this id, and the counters of its inbox at the same moment.
pub(super) fn find(
    conn: &Connection,
    id: NotificationId,
) -> Result<Option<(Notification, InboxState)>, Failure> {
    let mut statement = conn.prepare_cached(&FIND)?;
    let mut found = statement.query((to_sql(id.inbox.0), to_sql(id.seq.0)))?;
    found.next()?.map(rows::notification_and_state).transpose()
}

fn list(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Notification>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut page = Vec::new();
    while let Some(row) = found.next()? {
        page.push(rows::notification(row)?);
    }
    Ok(page)
}

fn page_after(
    conn: &Connection,
    user: &UserId,
    after: Seq,
    limit: i64,
) -> Result<InboxPage, Failure> {
    let inbox = inbox::state(conn, user)?;
    if inbox.last_seq <= after {
        return Ok(InboxPage { inbox, notifications: Vec::new() });
    }
    let notifications = list(conn, &LIST_AFTER, (user.as_str(), to_sql(after.0), limit))?;
    Ok(InboxPage { inbox, notifications })
}

/// A sign of life has to be a write: a disk that is full or read-only still reads.
struct Check;

impl Command for Check {
    type Output = ();
    const OP: &'static str = "check";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        tx.conn.prepare_cached("UPDATE store_state SET checks = checks + 1")?.execute([])?;
        Ok(())
    }
}

#[async_trait]
impl NotificationStore for SqliteStore {
    async fn append(
        &self,
        batch: Arc<NotificationBatch>,
        now: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        if batch.rows() > MAX_BATCH_ROWS {
            return Err(StoreError::BatchTooLarge { got: batch.rows(), limit: MAX_BATCH_ROWS });
        }
        self.writer.run(Append { batch, now }).await
    }

    async fn inbox(&self, user: &UserId) -> Result<InboxState, StoreError> {
        let user = user.clone();
        let query = move |conn: &Connection| inbox::state(conn, &user);
        self.readers.read("inbox", query).await
    }

    async fn list_after(
        &self,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let user = user.clone();
        let query = move |conn: &Connection| {
            let params = (user.as_str(), to_sql(after.0), limit_to_sql(limit));
            list(conn, &LIST_AFTER, params)
        };
        self.readers.read("list_after", query).await
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<InboxState>, StoreError> {
        let users = users.to_vec();
        let query = move |conn: &Connection| {
            // One snapshot: its lock is taken once, and not for each user.
            let _snapshot = conn.unchecked_transaction()?;
            users.iter().map(|user| inbox::state(conn, user)).collect()
        };
        self.readers.read("heads", query).await
    }

    async fn pages_after(
        &self,
        places: &[(UserId, Seq)],
        limit: usize,
    ) -> Result<Vec<InboxPage>, StoreError> {
        let (places, limit) = (places.to_vec(), limit_to_sql(limit));
        let query = move |conn: &Connection| {
            // The counters and the notifications are of the same moment.
            let _snapshot = conn.unchecked_transaction()?;
            places.iter().map(|(user, after)| page_after(conn, user, *after, limit)).collect()
        };
        self.readers.read("pages_after", query).await
    }

    async fn list_newest(
        &self,
        user: &UserId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let user = user.clone();
        let before = before.map_or(i64::MAX, |seq| to_sql(seq.0));
        let query = move |conn: &Connection| {
            let params = (user.as_str(), before, limit_to_sql(limit));
            list(conn, &LIST_NEWEST, params)
        };
        self.readers.read("list_newest", query).await
    }

    async fn find(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        let query = move |conn: &Connection| Ok(find(conn, id)?.map(|(found, _)| found));
        self.readers.read("find", query).await
    }

    async fn mark(
        &self,
        user: &UserId,
        mark: Mark,
        selection: Selection,
        now: Timestamp,
    ) -> Result<InboxState, StoreError> {
        let user = user.clone();
        let command = MarkInbox { user, mark, selection, now };
        self.writer.run(command).await
    }

    async fn acknowledge(&self, acknowledged: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        self.writer.run(Acknowledge(acknowledged)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.writer.run(Check).await
    }
}
