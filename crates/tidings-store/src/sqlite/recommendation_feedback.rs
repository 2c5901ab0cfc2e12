//! `RecommendationFeedbackStore`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use tidings_core::{
    clock::Timestamp,
    ids::UserId,
    ports::{MAX_FEEDBACK, RecommendationFeedbackStore, StoreError, UnrecommendableChange},
    recommendation::{Feedback, Impressions},
};

use super::{
    error::Failure,
    rows::{Columns, from_sql, limit_to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

const LIST_DISMISSED: &str = "SELECT other_id FROM recommendation_dismissal WHERE user_id = ?1 \
     ORDER BY at_ms DESC, other_id LIMIT ?2";
const LIST_IMPRESSIONS: &str = "SELECT shown_id, times, last_ms FROM recommendation_impression \
     WHERE user_id = ?1 ORDER BY last_ms DESC, shown_id LIMIT ?2";

const COUNT_DISMISSED: &str = "SELECT count(*) FROM recommendation_dismissal WHERE user_id = ?1";
const COUNT_IMPRESSIONS: &str = "SELECT count(*) FROM recommendation_impression WHERE user_id = ?1";
const TRIM_DISMISSED: &str = "DELETE FROM recommendation_dismissal WHERE user_id = ?1 \
     AND other_id IN (SELECT other_id FROM recommendation_dismissal \
     WHERE user_id = ?1 ORDER BY at_ms DESC, other_id LIMIT -1 OFFSET ?2)";
const TRIM_IMPRESSIONS: &str = "DELETE FROM recommendation_impression WHERE user_id = ?1 \
     AND shown_id IN (SELECT shown_id FROM recommendation_impression \
     WHERE user_id = ?1 ORDER BY last_ms DESC, shown_id LIMIT -1 OFFSET ?2)";

/// Rows that a user may have beyond [`MAX_FEEDBACK`] until they are dropped together. Nobody sees them:
/// it is dropping that costs, because it sorts, and there is one writer.
const SLACK: i64 = 200;

/// Drops what a user has too much of. Counting reads the rows of the user only.
fn trim(conn: &Connection, (count, trim): (&str, &str), user: &str) -> Result<(), Failure> {
    let limit = limit_to_sql(MAX_FEEDBACK);
    let rows: i64 = conn.prepare_cached(count)?.query_row([user], |row| row.get(0))?;
    if rows > limit + SLACK {
        conn.prepare_cached(trim)?.execute((user, limit))?;
    }
    Ok(())
}

/// Users whose rows are written, each once.
fn checked(users: &[UserId]) -> Result<BTreeSet<UserId>, StoreError> {
    if users.len() > MAX_FEEDBACK {
        return Err(StoreError::BatchTooLarge { got: users.len(), limit: MAX_FEEDBACK });
    }
    Ok(users.iter().cloned().collect())
}

struct Dismiss {
    user: UserId,
    others: BTreeSet<UserId>,
    at: Timestamp,
}

impl Command for Dismiss {
    type Output = ();
    const OP: &'static str = "dismiss";

    fn rows(&self) -> usize {
        self.others.len()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let user = self.user.as_str();
        let mut put = tx.conn.prepare_cached(
            "INSERT INTO recommendation_dismissal (user_id, other_id, at_ms) VALUES (?1, ?2, ?3) \
             ON CONFLICT (user_id, other_id) DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)",
        )?;
        for other in &self.others {
            put.execute((user, other.as_str(), self.at.as_millis()))?;
        }
        trim(tx.conn, (COUNT_DISMISSED, TRIM_DISMISSED), user)
    }
}

struct Undismiss {
    user: UserId,
    other: UserId,
}

impl Command for Undismiss {
    type Output = ();
    const OP: &'static str = "undismiss";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        tx.conn
            .prepare_cached(
                "DELETE FROM recommendation_dismissal WHERE user_id = ?1 AND other_id = ?2",
            )?
            .execute((self.user.as_str(), self.other.as_str()))?;
        Ok(())
    }
}

struct AddImpressions {
    user: UserId,
    shown: BTreeSet<UserId>,
    at: Timestamp,
}

impl Command for AddImpressions {
    type Output = ();
    const OP: &'static str = "add_impressions";

    fn rows(&self) -> usize {
        self.shown.len()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let user = self.user.as_str();
        let mut put = tx.conn.prepare_cached(
            "INSERT INTO recommendation_impression (user_id, shown_id, times, last_ms) \
             VALUES (?1, ?2, 1, ?3) ON CONFLICT (user_id, shown_id) DO UPDATE SET \
             times = min(times + 1, 4294967295), last_ms = max(last_ms, excluded.last_ms)",
        )?;
        for shown in &self.shown {
            put.execute((user, shown.as_str(), self.at.as_millis()))?;
        }
        trim(tx.conn, (COUNT_IMPRESSIONS, TRIM_IMPRESSIONS), user)
    }
}

struct SetUnrecommendable {
    user: UserId,
    is_unrecommendable: bool,
}

impl Command for SetUnrecommendable {
    type Output = ();
    const OP: &'static str = "set_unrecommendable";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let user = self.user.as_str();
        let was: Option<bool> = tx
            .conn
            .prepare_cached("SELECT is_unrecommendable FROM unrecommendable WHERE user_id = ?1")?
            .query_row([user], |row| row.get(0))
            .optional()?;
        if was.unwrap_or(false) == self.is_unrecommendable {
            return Ok(());
        }
        // Anew, so that it is listed as a change of its own.
        tx.conn
            .prepare_cached("DELETE FROM unrecommendable WHERE user_id = ?1")?
            .execute([user])?;
        tx.conn
            .prepare_cached(
                "INSERT INTO unrecommendable (user_id, is_unrecommendable) VALUES (?1, ?2)",
            )?
            .execute((user, self.is_unrecommendable))?;
        Ok(())
    }
}

struct EraseFeedback(UserId);

impl Command for EraseFeedback {
    type Output = ();
    const OP: &'static str = "erase_feedback";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        for sql in [
            "DELETE FROM recommendation_dismissal WHERE user_id = ?1",
            "DELETE FROM recommendation_dismissal WHERE other_id = ?1",
            "DELETE FROM recommendation_impression WHERE user_id = ?1",
            "DELETE FROM recommendation_impression WHERE shown_id = ?1",
            "DELETE FROM unrecommendable WHERE user_id = ?1",
        ] {
            tx.conn.prepare_cached(sql)?.execute([self.0.as_str()])?;
        }
        Ok(())
    }
}

/// Removes impressions of before a time, and returns how many were.
pub(super) fn forget(
    tx: &mut WriteTx<'_>,
    found: &[(String, String)],
    before_ms: i64,
) -> Result<u64, Failure> {
    // It may have been shown again since it was found.
    let mut remove = tx.conn.prepare_cached(
        "DELETE FROM recommendation_impression \
         WHERE user_id = ?1 AND shown_id = ?2 AND last_ms < ?3",
    )?;
    let mut forgotten = 0;
    for (user, shown) in found {
        forgotten += remove.execute((user, shown, before_ms))?;
    }
    Ok(from_sql(limit_to_sql(forgotten)))
}

fn feedback(conn: &Connection, user: &UserId) -> Result<Feedback, Failure> {
    let limit = limit_to_sql(MAX_FEEDBACK);
    let mut feedback = Feedback::default();
    let mut statement = conn.prepare_cached(LIST_DISMISSED)?;
    let mut rows = statement.query((user.as_str(), limit))?;
    while let Some(row) = rows.next()? {
        feedback.dismissed.push(Columns::of(row).user()?);
    }
    let mut statement = conn.prepare_cached(LIST_IMPRESSIONS)?;
    let mut rows = statement.query((user.as_str(), limit))?;
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (shown, times) = (columns.user()?, columns.attempt()?);
        feedback.impressions.push(Impressions { shown, times, last_at: columns.time()? });
    }
    Ok(feedback)
}

fn list_unrecommendable(
    conn: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<UnrecommendableChange>, Failure> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(
        "SELECT change, user_id, is_unrecommendable FROM unrecommendable WHERE change > ?1 \
         ORDER BY change LIMIT ?2",
    )?;
    let mut rows = statement.query((after, limit_to_sql(limit)))?;
    let mut listed = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        let (change, user) = (columns.count()?, columns.user()?);
        let is_unrecommendable = columns.get()?;
        listed.push(UnrecommendableChange { change, user, is_unrecommendable });
    }
    Ok(listed)
}

#[async_trait]
impl RecommendationFeedbackStore for SqliteStore {
    async fn dismiss(
        &self,
        user: &UserId,
        others: &[UserId],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let command = Dismiss { user: user.clone(), others: checked(others)?, at };
        self.writer.run(command).await
    }

    async fn undismiss(&self, user: &UserId, other: &UserId) -> Result<(), StoreError> {
        self.writer.run(Undismiss { user: user.clone(), other: other.clone() }).await
    }

    async fn add_impressions(
        &self,
        user: &UserId,
        shown: &[UserId],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let command = AddImpressions { user: user.clone(), shown: checked(shown)?, at };
        self.writer.run(command).await
    }

    async fn feedback(&self, user: &UserId) -> Result<Feedback, StoreError> {
        let user = user.clone();
        let query = move |conn: &Connection| feedback(conn, &user);
        self.readers.read("feedback", query).await
    }

    async fn put_unrecommendable(&self, user: &UserId) -> Result<(), StoreError> {
        let command = SetUnrecommendable { user: user.clone(), is_unrecommendable: true };
        self.writer.run(command).await
    }

    async fn remove_unrecommendable(&self, user: &UserId) -> Result<(), StoreError> {
        let command = SetUnrecommendable { user: user.clone(), is_unrecommendable: false };
        self.writer.run(command).await
    }

    async fn list_unrecommendable(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<UnrecommendableChange>, StoreError> {
        let query = move |conn: &Connection| list_unrecommendable(conn, after, limit);
        self.readers.read("list_unrecommendable", query).await
    }

    async fn erase_feedback(&self, user: &UserId) -> Result<(), StoreError> {
        self.writer.run(EraseFeedback(user.clone())).await
    }
}
