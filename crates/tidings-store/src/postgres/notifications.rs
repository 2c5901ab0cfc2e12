//! `NotificationStore`.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use async_trait::async_trait;
use tidings_core::{
    batch::{AppendedEvent, MAX_BATCH_ROWS, NotificationBatch},
    clock::Timestamp,
    ids::{NotificationId, Seq, UserId},
    inbox::{Acknowledgement, InboxPage, InboxState, Mark, Selection},
    notification::Notification,
    ports::{NotificationStore, StoreError},
};
use tokio_postgres::error::SqlState;

use super::{
    append::Append,
    error::Failure,
    inbox::{Acknowledge, MarkInbox, ReadState, inbox_of_user},
    pages::{PagesAfter, ReadHeads},
    rows::{self, limit_to_sql, select_notifications, to_sql},
    session::{Command, Session},
    store::PostgresStore,
};

static LIST_AFTER: LazyLock<String> = LazyLock::new(|| {
    select_notifications(concat!(
        "FROM inbox i JOIN notification n ON n.inbox = i.inbox JOIN event e ON e.event = n.event \
         WHERE i.inbox = ",
        inbox_of_user!(),
        " AND n.seq > $2 ORDER BY n.seq LIMIT $3"
    ))
});

// Below `archived_upto` there is nothing to find: who archives all does not pay for it later.
static LIST_NEWEST: LazyLock<String> = LazyLock::new(|| {
    select_notifications(concat!(
        "FROM inbox i JOIN notification n ON n.inbox = i.inbox JOIN event e ON e.event = n.event \
         WHERE i.inbox = ",
        inbox_of_user!(),
        " AND n.seq < $2 AND n.seq > (SELECT a.archived_upto FROM inbox a WHERE a.inbox = ",
        inbox_of_user!(),
        ") AND n.archived_ms IS NULL ORDER BY n.seq DESC LIMIT $3"
    ))
});

static FIND: LazyLock<String> = LazyLock::new(|| {
    select_notifications(
        "FROM inbox i JOIN notification n ON n.inbox = i.inbox JOIN event e ON e.event = n.event \
         WHERE i.inbox = $1 AND n.seq = $2",
    )
});

struct List<'a> {
    op: ListOp,
    user: &'a UserId,
    /// After this one, or before it.
    seq: i64,
    limit: usize,
}

#[derive(Clone, Copy)]
enum ListOp {
    After,
    Newest,
}

impl Command for List<'_> {
    type Output = Vec<Notification>;
    const OP: &'static str = "list";

    async fn run(&self, session: &Session) -> Result<Vec<Notification>, Failure> {
        let sql = match self.op {
            ListOp::After => &LIST_AFTER,
            ListOp::Newest => &LIST_NEWEST,
        };
        let limit = limit_to_sql(self.limit);
        let found = session.query(sql, &[&self.user.as_str(), &self.seq, &limit]).await?;
        let mut page = Vec::with_capacity(found.len());
        for row in &found {
            page.push(rows::notification(row)?.0);
        }
        Ok(page)
    }
}

struct Find(NotificationId);

impl Command for Find {
    type Output = Option<Notification>;
    const OP: &'static str = "find";

    async fn run(&self, session: &Session) -> Result<Option<Notification>, Failure> {
        let (inbox, seq) = (to_sql(self.0.inbox.0), to_sql(self.0.seq.0));
        let found = session.query_opt(&FIND, &[&inbox, &seq]).await?;
        found.map(|row| Ok(rows::notification(&row)?.0)).transpose()
    }
}

/// A sign of life has to be a write: a disk that is full, or a standby, still reads.
struct Check;

impl Command for Check {
    type Output = ();
    const OP: &'static str = "check";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        const CHECK: &str =
            "UPDATE store_state SET checks = checks + 1 WHERE slot = pg_backend_pid() % 64";
        session.execute(CHECK, &[]).await?;
        Ok(())
    }
}

impl PostgresStore {
    async fn append_batch(
        &self,
        batch: Arc<NotificationBatch>,
        now: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        let inboxes = self.inboxes.of_batch(&self.writers, &batch).await?;
        let letters = batch.dead_letters().len();
        let appended = self.writers.run(Append::new(batch, inboxes, now)).await?;
        if letters > 0 {
            self.trim_dead_letters(letters).await;
        }
        Ok(appended)
    }
}

/// Whether the numbers of inboxes that are remembered may not be those of the database any more: it
/// went away, and may come back as it was on an earlier day, or refuses a number that it once gave.
fn makes_inboxes_doubtful(error: &StoreError) -> bool {
    let source = match error {
        StoreError::Fenced { .. } | StoreError::BatchTooLarge { .. } => return false,
        StoreError::Unavailable { source, .. } => source,
        _ => return true,
    };
    let code = source.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code());
    // The server lives and has only ended this transaction: it lost against another, waited too long
    // for a lock, took too long, or had no room.
    let lives = ["40", "55", "53"];
    !code.is_some_and(|code| {
        *code == SqlState::QUERY_CANCELED || lives.iter().any(|it| code.code().starts_with(it))
    })
}

#[async_trait]
impl NotificationStore for PostgresStore {
    async fn append(
        &self,
        batch: Arc<NotificationBatch>,
        now: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        if batch.rows() > MAX_BATCH_ROWS {
            return Err(StoreError::BatchTooLarge { got: batch.rows(), limit: MAX_BATCH_ROWS });
        }
        let (started, rows) = (Instant::now(), batch.rows());
        let appended = self.append_batch(batch, now).await;
        match &appended {
            Ok(_) => {
                metrics::histogram!("tidings_store_commit_duration_seconds")
                    .record(started.elapsed());
                metrics::histogram!("tidings_store_commit_rows")
                    .record(u32::try_from(rows).unwrap_or(u32::MAX));
            }
            Err(error) => {
                metrics::counter!("tidings_store_commit_failures_total").increment(1);
                if makes_inboxes_doubtful(error) {
                    self.inboxes.clear();
                }
            }
        }
        appended
    }

    async fn inbox(&self, user: &UserId) -> Result<InboxState, StoreError> {
        self.readers.run(ReadState(user)).await
    }

    async fn list_after(
        &self,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let seq = to_sql(after.0);
        self.readers.run(List { op: ListOp::After, user, seq, limit }).await
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<InboxState>, StoreError> {
        self.readers.run(ReadHeads(users)).await
    }

    async fn pages_after(
        &self,
        places: &[(UserId, Seq)],
        limit: usize,
    ) -> Result<Vec<InboxPage>, StoreError> {
        self.readers.run(PagesAfter { places, limit }).await
    }

    async fn list_newest(
        &self,
        user: &UserId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let seq = before.map_or(i64::MAX, |seq| to_sql(seq.0));
        self.readers.run(List { op: ListOp::Newest, user, seq, limit }).await
    }

    async fn find(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        self.readers.run(Find(id)).await
    }

    async fn mark(
        &self,
        user: &UserId,
        mark: Mark,
        selection: Selection,
        now: Timestamp,
    ) -> Result<InboxState, StoreError> {
        let selection = &selection;
        self.writers.run(MarkInbox { user, mark, selection, now }).await
    }

    async fn acknowledge(&self, acknowledged: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        self.writers.run(Acknowledge(&acknowledged)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.writers.run(Check).await
    }
}
