//! `RevocationStore`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use tidings_core::{
    clock::Timestamp,
    ids::UserId,
    ports::{Revocation, RevocationStore, StoreError},
};

use super::{
    error::Failure,
    rows::{from_sql, limit_to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

struct PutRevocation {
    user: UserId,
    before: Timestamp,
}

impl Command for PutRevocation {
    type Output = Timestamp;
    const OP: &'static str = "put_revocation";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Timestamp, Failure> {
        let user = self.user.as_str();
        let stands: Option<i64> = tx
            .conn
            .prepare_cached("SELECT before_ms FROM revocation WHERE user_id = ?1")?
            .query_row([user], |row| row.get(0))
            .optional()?;
        let before = self.before.as_millis();
        if let Some(stands) = stands.filter(|stands| *stands >= before) {
            return Ok(Timestamp::from_millis(stands));
        }
        // Anew, so that it is listed as a change of its own.
        tx.conn.prepare_cached("DELETE FROM revocation WHERE user_id = ?1")?.execute([user])?;
        tx.conn
            .prepare_cached("INSERT INTO revocation (user_id, before_ms) VALUES (?1, ?2)")?
            .execute((user, before))?;
        Ok(self.before)
    }
}

struct ForgetRevocations {
    cutoff: Timestamp,
    limit: usize,
}

impl Command for ForgetRevocations {
    type Output = u64;
    const OP: &'static str = "forget_revocations";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<u64, Failure> {
        let removed = tx
            .conn
            .prepare_cached(
                "DELETE FROM revocation WHERE change IN (SELECT change FROM revocation \
                 WHERE before_ms < ?1 ORDER BY before_ms LIMIT ?2)",
            )?
            .execute((self.cutoff.as_millis(), limit_to_sql(self.limit)))?;
        Ok(from_sql(limit_to_sql(removed)))
    }
}

fn list(conn: &Connection, after: u64, limit: usize) -> Result<Vec<Revocation>, Failure> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(
        "SELECT change, user_id, before_ms FROM revocation WHERE change > ?1 \
         ORDER BY change LIMIT ?2",
    )?;
    let mut rows = statement.query((after, limit_to_sql(limit)))?;
    let mut listed = Vec::new();
    while let Some(row) = rows.next()? {
        let (change, user, before): (i64, String, i64) = row.try_into()?;
        let user = UserId::new(&user).map_err(|error| Failure::unreadable("user id", error))?;
        let before = Timestamp::from_millis(before);
        listed.push(Revocation { change: from_sql(change), user, before });
    }
    Ok(listed)
}

#[async_trait]
impl RevocationStore for SqliteStore {
    async fn put_revocation(
        &self,
        user: &UserId,
        before: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        self.writer.run(PutRevocation { user: user.clone(), before }).await
    }

    async fn list_revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Revocation>, StoreError> {
        let query = move |conn: &Connection| list(conn, after, limit);
        self.readers.read("list_revocations", query).await
    }

    async fn forget_revocations(&self, cutoff: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.writer.run(ForgetRevocations { cutoff, limit }).await
    }
}
