//! `AnswerStore`.

use async_trait::async_trait;
use tidings_core::ports::{AnswerStore, KeptAnswer, RequestKey, StoreError};

use super::{
    error::Failure,
    rows::Columns,
    session::{Command, Session},
    store::PostgresStore,
    text,
};

struct PutAnswer<'a> {
    key: &'a RequestKey,
    answer: KeptAnswer,
}

impl Command for PutAnswer<'_> {
    type Output = ();
    const OP: &'static str = "put_answer";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        const PUT: &str = "INSERT INTO answer (sender, request_key, request_digest, status, body, \
             at_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sender, request_key) DO NOTHING";
        let (key, answer) = (self.key, &self.answer);
        session
            .execute(
                PUT,
                &[
                    &text::to_sql(&key.sender),
                    &text::to_sql(&key.key),
                    &answer.request_digest.as_slice(),
                    &i32::from(answer.status),
                    &answer.body,
                    &answer.at.as_millis(),
                ],
            )
            .await?;
        Ok(())
    }
}

struct FindAnswer<'a>(&'a RequestKey);

impl Command for FindAnswer<'_> {
    type Output = Option<KeptAnswer>;
    const OP: &'static str = "find_answer";

    async fn run(&self, session: &Session) -> Result<Option<KeptAnswer>, Failure> {
        const FIND: &str = "SELECT request_digest, status, body, at_ms FROM answer \
             WHERE sender = $1 AND request_key = $2";
        let (sender, key) = (text::to_sql(&self.0.sender), text::to_sql(&self.0.key));
        let Some(row) = session.query_opt(FIND, &[&sender, &key]).await? else {
            return Ok(None);
        };
        let mut columns = Columns::of(&row);
        let digest: &[u8] = columns.get()?;
        let status: i32 = columns.get()?;
        Ok(Some(KeptAnswer {
            request_digest: digest
                .try_into()
                .map_err(|error| Failure::unreadable("request digest", error))?,
            status: u16::try_from(status).map_err(|error| Failure::unreadable("status", error))?,
            body: columns.get()?,
            at: columns.time()?,
        }))
    }
}

#[async_trait]
impl AnswerStore for PostgresStore {
    async fn find_answer(&self, key: &RequestKey) -> Result<Option<KeptAnswer>, StoreError> {
        self.readers.run(FindAnswer(key)).await
    }

    async fn put_answer(&self, key: &RequestKey, answer: KeptAnswer) -> Result<(), StoreError> {
        self.writers.run(PutAnswer { key, answer }).await
    }
}
