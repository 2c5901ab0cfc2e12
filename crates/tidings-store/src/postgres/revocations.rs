//! `RevocationStore`.

use async_trait::async_trait;
use tidings_core::{
    clock::Timestamp,
    ids::UserId,
    ports::{Revocation, RevocationStore, StoreError},
};

use super::{
    error::Failure,
    rows::{Columns, limit_to_sql},
    session::{Command, Session},
    store::PostgresStore,
};

struct PutRevocation<'a> {
    user: &'a UserId,
    before: Timestamp,
}

impl Command for PutRevocation<'_> {
    type Output = Timestamp;
    const OP: &'static str = "put_revocation";

    async fn run(&self, session: &Session) -> Result<Timestamp, Failure> {
        // One at a time until it is committed: a change that became visible after a greater one would
        // be passed over by those who have read that one. Revocations are rare.
        const LOCK: &str =
            "SELECT pg_advisory_xact_lock(hashtextextended('tidings.revocation', 0))";
        const PUT: &str = "INSERT INTO revocation AS r (user_id, before_ms) VALUES ($1, $2) \
             ON CONFLICT (user_id) DO UPDATE SET before_ms = excluded.before_ms, change = DEFAULT \
             WHERE r.before_ms < excluded.before_ms";
        const STANDS: &str = "SELECT before_ms FROM revocation WHERE user_id = $1";
        let (user, before) = (self.user.as_str(), self.before.as_millis());
        session.begin().await?;
        session.query(LOCK, &[]).await?;
        session.execute(PUT, &[&user, &before]).await?;
        let row = session.query_opt(STANDS, &[&user]).await?;
        session.commit().await?;
        let stands = row.map(|row| Columns::of(&row).time()).transpose()?;
        Ok(stands.unwrap_or(self.before))
    }
}

struct ListRevocations {
    after: u64,
    limit: usize,
}

impl Command for ListRevocations {
    type Output = Vec<Revocation>;
    const OP: &'static str = "list_revocations";

    async fn run(&self, session: &Session) -> Result<Vec<Revocation>, Failure> {
        const LIST: &str = "SELECT change, user_id, before_ms FROM revocation WHERE change > $1 \
             ORDER BY change LIMIT $2";
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let rows = session.query(LIST, &[&after, &limit_to_sql(self.limit)]).await?;
        let mut listed = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            listed.push(Revocation {
                change: columns.count()?,
                user: columns.user()?,
                before: columns.time()?,
            });
        }
        Ok(listed)
    }
}

struct ForgetRevocations {
    cutoff: Timestamp,
    limit: usize,
}

impl Command for ForgetRevocations {
    type Output = u64;
    const OP: &'static str = "forget_revocations";

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        const FORGET: &str = "WITH old AS (SELECT user_id FROM revocation WHERE before_ms < $1 \
             ORDER BY before_ms LIMIT $2 FOR UPDATE SKIP LOCKED) \
             DELETE FROM revocation r USING old WHERE r.user_id = old.user_id";
        let (cutoff, limit) = (self.cutoff.as_millis(), limit_to_sql(self.limit));
        session.execute(FORGET, &[&cutoff, &limit]).await
    }
}

#[async_trait]
impl RevocationStore for PostgresStore {
    async fn put_revocation(
        &self,
        user: &UserId,
        before: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        self.writers.run(PutRevocation { user, before }).await
    }

    async fn list_revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Revocation>, StoreError> {
        self.readers.run(ListRevocations { after, limit }).await
    }

    async fn forget_revocations(&self, cutoff: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.writers.run(ForgetRevocations { cutoff, limit }).await
    }
}
