//! `RecommendationFeedbackStore`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    ids::UserId,
    ports::{MAX_FEEDBACK, RecommendationFeedbackStore, StoreError, UnrecommendableChange},
    recommendation::{Feedback, Impressions},
};
use tokio::try_join;

use super::{
    error::Failure,
    rows::{Columns, limit_to_sql},
    session::{Command, Session},
    store::PostgresStore,
};

/// One of a user's writers at a time: two that drop what is too much would each count the other's rows
/// among its own.
const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('tidings.feedback ' || $1::text, 0))";

/// Ids whose rows are written, each once and in their order.
fn checked(users: &[UserId]) -> Result<Vec<&str>, StoreError> {
    if users.len() > MAX_FEEDBACK {
        return Err(StoreError::BatchTooLarge { got: users.len(), limit: MAX_FEEDBACK });
    }
    let ids: BTreeSet<&str> = users.iter().map(UserId::as_str).collect();
    Ok(ids.into_iter().collect())
}

/// Writes rows of a user, and drops what is too much, in one transaction.
async fn write(
    session: &Session,
    (put, trim): (&str, &str),
    (user, others, at): (&str, &[&str], Timestamp),
) -> Result<(), Failure> {
    let (at, limit) = (at.as_millis(), limit_to_sql(MAX_FEEDBACK));
    session.ready(&[LOCK, put, trim]).await?;
    try_join!(
        biased;
        session.begin(),
        async { session.query(LOCK, &[&user]).await },
        async { session.execute(put, &[&user, &others, &at]).await },
        async { session.execute(trim, &[&user, &limit]).await },
        session.commit(),
    )?;
    Ok(())
}

struct Dismiss<'a> {
    user: &'a UserId,
    others: Vec<&'a str>,
    at: Timestamp,
}

impl Command for Dismiss<'_> {
    type Output = ();
    const OP: &'static str = "dismiss";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        const PUT: &str = "INSERT INTO recommendation_dismissal AS d (user_id, other_id, at_ms) \
             SELECT $1, o.id, $3 FROM unnest($2::text[]) AS o (id) \
             ON CONFLICT (user_id, other_id) \
             DO UPDATE SET at_ms = greatest(d.at_ms, excluded.at_ms)";
        const TRIM: &str = "DELETE FROM recommendation_dismissal WHERE user_id = $1 \
             AND (SELECT count(*) FROM recommendation_dismissal WHERE user_id = $1) > $2 \
             AND other_id IN (SELECT other_id FROM recommendation_dismissal WHERE user_id = $1 \
             ORDER BY at_ms DESC, other_id OFFSET $2)";
        write(session, (PUT, TRIM), (self.user.as_str(), &self.others, self.at)).await
    }
}

struct Undismiss<'a> {
    user: &'a UserId,
    other: &'a UserId,
}

impl Command for Undismiss<'_> {
    type Output = ();
    const OP: &'static str = "undismiss";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        const REMOVE: &str =
            "DELETE FROM recommendation_dismissal WHERE user_id = $1 AND other_id = $2";
        session.execute(REMOVE, &[&self.user.as_str(), &self.other.as_str()]).await?;
        Ok(())
    }
}

struct AddImpressions<'a> {
    user: &'a UserId,
    shown: Vec<&'a str>,
    at: Timestamp,
}

impl Command for AddImpressions<'_> {
    type Output = ();
    const OP: &'static str = "add_impressions";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        const PUT: &str = "INSERT INTO recommendation_impression AS i \
             (user_id, shown_id, times, last_ms) \
             SELECT $1, s.id, 1, $3 FROM unnest($2::text[]) AS s (id) \
             ON CONFLICT (user_id, shown_id) DO UPDATE SET \
             times = least(i.times + 1, 4294967295), \
             last_ms = greatest(i.last_ms, excluded.last_ms)";
        const TRIM: &str = "DELETE FROM recommendation_impression WHERE user_id = $1 \
             AND (SELECT count(*) FROM recommendation_impression WHERE user_id = $1) > $2 \
             AND shown_id IN (SELECT shown_id FROM recommendation_impression WHERE user_id = $1 \
             ORDER BY last_ms DESC, shown_id OFFSET $2)";
        write(session, (PUT, TRIM), (self.user.as_str(), &self.shown, self.at)).await
    }
}

struct ReadFeedback<'a>(&'a UserId);

impl Command for ReadFeedback<'_> {
    type Output = Feedback;
    const OP: &'static str = "feedback";

    async fn run(&self, session: &Session) -> Result<Feedback, Failure> {
        const DISMISSED: &str = "SELECT other_id FROM recommendation_dismissal \
             WHERE user_id = $1 ORDER BY at_ms DESC, other_id LIMIT $2";
        const IMPRESSIONS: &str = "SELECT shown_id, times, last_ms \
             FROM recommendation_impression \
             WHERE user_id = $1 ORDER BY last_ms DESC, shown_id LIMIT $2";
        let (user, limit) = (self.0.as_str(), limit_to_sql(MAX_FEEDBACK));
        session.ready(&[DISMISSED, IMPRESSIONS]).await?;
        let (dismissed, impressions) = try_join!(
            biased;
            async { session.query(DISMISSED, &[&user, &limit]).await },
            async { session.query(IMPRESSIONS, &[&user, &limit]).await },
        )?;
        let mut feedback = Feedback::default();
        for row in &dismissed {
            feedback.dismissed.push(Columns::of(row).user()?);
        }
        for row in &impressions {
            let mut columns = Columns::of(row);
            let (shown, times) = (columns.user()?, columns.count()?);
            let times = u32::try_from(times).unwrap_or(u32::MAX);
            feedback.impressions.push(Impressions { shown, times, last_at: columns.time()? });
        }
        Ok(feedback)
    }
}

struct SetUnrecommendable<'a> {
    user: &'a UserId,
    is_unrecommendable: bool,
}

impl Command for SetUnrecommendable<'_> {
    type Output = ();
    const OP: &'static str = "set_unrecommendable";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        // One at a time until it is committed: a change that became visible after a greater one would
        // be passed over by those who have read that one.
        const LOCK: &str =
            "SELECT pg_advisory_xact_lock(hashtextextended('tidings.unrecommendable', 0))";
        const PUT: &str = "INSERT INTO unrecommendable AS u (user_id, is_unrecommendable) \
             SELECT $1, true WHERE $2::boolean \
             ON CONFLICT (user_id) DO UPDATE SET is_unrecommendable = true, change = DEFAULT \
             WHERE NOT u.is_unrecommendable";
        const REMOVE: &str = "UPDATE unrecommendable SET is_unrecommendable = false, \
             change = DEFAULT WHERE user_id = $1 AND is_unrecommendable AND NOT $2::boolean";
        let sql = if self.is_unrecommendable { PUT } else { REMOVE };
        session.ready(&[LOCK, sql]).await?;
        let user = self.user.as_str();
        try_join!(
            biased;
            session.begin(),
            async { session.query(LOCK, &[]).await },
            async { session.execute(sql, &[&user, &self.is_unrecommendable]).await },
            session.commit(),
        )?;
        Ok(())
    }
}

struct ListUnrecommendable {
    after: u64,
    limit: usize,
}

impl Command for ListUnrecommendable {
    type Output = Vec<UnrecommendableChange>;
    const OP: &'static str = "list_unrecommendable";

    async fn run(&self, session: &Session) -> Result<Self::Output, Failure> {
        const LIST: &str = "SELECT change, user_id, is_unrecommendable FROM unrecommendable \
             WHERE change > $1 ORDER BY change LIMIT $2";
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let rows = session.query(LIST, &[&after, &limit_to_sql(self.limit)]).await?;
        let mut listed = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            let (change, user) = (columns.count()?, columns.user()?);
            let is_unrecommendable = columns.get()?;
            listed.push(UnrecommendableChange { change, user, is_unrecommendable });
        }
        Ok(listed)
    }
}

struct EraseFeedback<'a>(&'a UserId);

impl Command for EraseFeedback<'_> {
    type Output = ();
    const OP: &'static str = "erase_feedback";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        const DISMISSALS: &str =
            "DELETE FROM recommendation_dismissal WHERE user_id = $1 OR other_id = $1";
        const IMPRESSIONS: &str =
            "DELETE FROM recommendation_impression WHERE user_id = $1 OR shown_id = $1";
        const UNRECOMMENDABLE: &str = "DELETE FROM unrecommendable WHERE user_id = $1";
        let user = self.0.as_str();
        session.ready(&[DISMISSALS, IMPRESSIONS, UNRECOMMENDABLE]).await?;
        try_join!(
            biased;
            session.begin(),
            async { session.execute(DISMISSALS, &[&user]).await },
            async { session.execute(IMPRESSIONS, &[&user]).await },
            async { session.execute(UNRECOMMENDABLE, &[&user]).await },
            session.commit(),
        )?;
        Ok(())
    }
}

#[async_trait]
impl RecommendationFeedbackStore for PostgresStore {
    async fn dismiss(
        &self,
        user: &UserId,
        others: &[UserId],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.writers.run(Dismiss { user, others: checked(others)?, at }).await
    }

    async fn undismiss(&self, user: &UserId, other: &UserId) -> Result<(), StoreError> {
        self.writers.run(Undismiss { user, other }).await
    }

    async fn add_impressions(
        &self,
        user: &UserId,
        shown: &[UserId],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.writers.run(AddImpressions { user, shown: checked(shown)?, at }).await
    }

    async fn feedback(&self, user: &UserId) -> Result<Feedback, StoreError> {
        self.readers.run(ReadFeedback(user)).await
    }

    async fn put_unrecommendable(&self, user: &UserId) -> Result<(), StoreError> {
        self.writers.run(SetUnrecommendable { user, is_unrecommendable: true }).await
    }

    async fn remove_unrecommendable(&self, user: &UserId) -> Result<(), StoreError> {
        self.writers.run(SetUnrecommendable { user, is_unrecommendable: false }).await
    }

    async fn list_unrecommendable(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<UnrecommendableChange>, StoreError> {
        self.readers.run(ListUnrecommendable { after, limit }).await
    }

    async fn erase_feedback(&self, user: &UserId) -> Result<(), StoreError> {
        self.writers.run(EraseFeedback(user)).await
    }
}
