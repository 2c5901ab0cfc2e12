//! `AnswerStore`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use tidings_core::{
    clock::Timestamp,
    ports::{AnswerStore, KeptAnswer, RequestKey, StoreError},
};

use super::{
    error::Failure,
    store::SqliteStore,
    writer::{Command, WriteTx},
};

struct PutAnswer {
    key: RequestKey,
    answer: KeptAnswer,
}

impl Command for PutAnswer {
    type Output = ();
    const OP: &'static str = "put_answer";

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let (key, answer) = (&self.key, &self.answer);
        tx.conn
            .prepare_cached(
                "INSERT INTO answer (sender, request_key, request_digest, status, body, at_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (sender, request_key) DO NOTHING",
            )?
            .execute((
                &key.sender,
                &key.key,
                answer.request_digest,
                answer.status,
                &answer.body,
                answer.at.as_millis(),
            ))?;
        Ok(())
    }
}

fn find(conn: &Connection, key: &RequestKey) -> Result<Option<KeptAnswer>, Failure> {
    let found = conn
        .prepare_cached(
            "SELECT request_digest, status, body, at_ms FROM answer \
             WHERE sender = ?1 AND request_key = ?2",
        )?
        .query_row((&key.sender, &key.key), |row| {
            Ok(KeptAnswer {
                request_digest: row.get(0)?,
                status: row.get(1)?,
                body: row.get(2)?,
                at: Timestamp::from_millis(row.get(3)?),
            })
        })
        .optional()?;
    Ok(found)
}

#[async_trait]
impl AnswerStore for SqliteStore {
    async fn find_answer(&self, key: &RequestKey) -> Result<Option<KeptAnswer>, StoreError> {
        let key = key.clone();
        let query = move |conn: &Connection| find(conn, &key);
        self.readers.read("find_answer", query).await
    }

    async fn put_answer(&self, key: &RequestKey, answer: KeptAnswer) -> Result<(), StoreError> {
        self.writer.run(PutAnswer { key: key.clone(), answer }).await
    }
}
