//! `DeadLetterStore`.

use async_trait::async_trait;
use rusqlite::Connection;
use tidings_core::ports::{DeadLetter, DeadLetterId, DeadLetterStore, NewDeadLetter, StoreError};

use super::{
    error::Failure,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

struct AppendDeadLetters(Vec<NewDeadLetter>);

impl Command for AppendDeadLetters {
    type Output = u64;
    const OP: &'static str = "append_dead_letters";

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<u64, Failure> {
        let mut insert = tx.conn.prepare_cached(
            "INSERT INTO dead_letter (origin, reason, payload, at_ms) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for letter in &self.0 {
            insert.execute((
                &letter.origin,
                &letter.reason,
                &letter.payload,
                letter.at.as_millis(),
            ))?;
        }
        let kept = count(tx.conn, limit_to_sql(self.0.len()))?;
        let excess = kept.saturating_sub(tx.dead_letters_max);
        if excess <= 0 {
            return Ok(0);
        }
        tx.conn
            .prepare_cached(
                "DELETE FROM dead_letter WHERE dead_letter IN \
                 (SELECT dead_letter FROM dead_letter ORDER BY dead_letter LIMIT ?1)",
            )?
            .execute([excess])?;
        count(tx.conn, -excess)?;
        Ok(from_sql(excess))
    }
}

/// Adds to the number of letters, and returns it.
fn count(conn: &Connection, added: i64) -> Result<i64, Failure> {
    let now = conn
        .prepare_cached(
            "UPDATE store_state SET dead_letters = dead_letters + ?1 RETURNING dead_letters",
        )?
        .query_row([added], |row| row.get(0))?;
    Ok(now)
}

struct RemoveDeadLetter(DeadLetterId);

impl Command for RemoveDeadLetter {
    type Output = bool;
    const OP: &'static str = "remove_dead_letter";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<bool, Failure> {
        let removed = tx
            .conn
            .prepare_cached("DELETE FROM dead_letter WHERE dead_letter = ?1")?
            .execute([to_sql(self.0.0)])?;
        if removed > 0 {
            count(tx.conn, -1)?;
        }
        Ok(removed > 0)
    }
}

fn list(conn: &Connection, before: i64, limit: usize) -> Result<Vec<DeadLetter>, Failure> {
    let mut statement = conn.prepare_cached(
        "SELECT dead_letter, origin, reason, payload, at_ms FROM dead_letter \
         WHERE dead_letter < ?1 ORDER BY dead_letter DESC LIMIT ?2",
    )?;
    let mut rows = statement.query((before, limit_to_sql(limit)))?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::of(row);
        letters.push(DeadLetter {
            id: DeadLetterId(columns.count()?),
            letter: NewDeadLetter {
                origin: columns.get()?,
                reason: columns.get()?,
                payload: columns.get()?,
                at: columns.time()?,
            },
        });
    }
    Ok(letters)
}

#[async_trait]
impl DeadLetterStore for SqliteStore {
    async fn append_dead_letters(&self, letters: Vec<NewDeadLetter>) -> Result<u64, StoreError> {
        self.writer.run(AppendDeadLetters(letters)).await
    }

    async fn list_dead_letters(
        &self,
        before: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let before = before.map_or(i64::MAX, |id| to_sql(id.0));
        let query = move |conn: &Connection| list(conn, before, limit);
        self.readers.read("list_dead_letters", query).await
    }

    async fn remove_dead_letter(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        self.writer.run(RemoveDeadLetter(id)).await
    }
}
