//! `DeadLetterStore`, and the letters that come with a batch.

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use rusqlite::{Connection, Row};
use tidings_core::{
    dead_letter::{DeadLetter, DeadLetterId, NewDeadLetter, Origin, RecordOrigin, Stage},
    ports::{BoxError, DeadLetterStore, StoreError},
};

use super::{
    error::Failure,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    store::SqliteStore,
    writer::{Command, WriteTx},
};

const COLUMNS: &str = "dead_letter, stage, reason, payload, payload_bytes, at_ms, origin, topic, \
     part, record_offset, record_key, headers";

/// The most letters that are dropped at once beyond as many as come: once the limit was lowered there
/// may be very many, and every writer would wait for them.
const DROPPED_BESIDES: i64 = 1_000;

/// Keeps `letters`, and returns how many of the oldest had to go for them.
pub(super) fn append<'a>(
    tx: &WriteTx<'_>,
    letters: impl Iterator<Item = &'a NewDeadLetter>,
) -> Result<u64, Failure> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO dead_letter (stage, reason, payload, payload_bytes, at_ms, origin, topic, \
         part, record_offset, record_key, headers) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let mut added = 0;
    for letter in letters {
        let record = match &letter.origin {
            Origin::Http | Origin::FanOut => None,
            Origin::Kafka(record) => Some(record),
        };
        insert.execute((
            letter.stage.as_str(),
            &letter.reason,
            &letter.payload,
            to_sql(letter.payload_bytes),
            letter.at.as_millis(),
            letter.origin.as_str(),
            record.map(|it| &it.topic),
            record.map(|it| it.partition),
            record.map(|it| it.offset),
            record.and_then(|it| it.key.as_ref()),
            record.map(headers_to_sql),
        ))?;
        added += 1;
    }
    if added == 0 {
        return Ok(0);
    }
    let kept = count(tx.conn, added)?;
    let excess = kept.saturating_sub(tx.dead_letters_max).min(added + DROPPED_BESIDES);
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

/// Adds to the number of letters, and returns it.
fn count(conn: &Connection, added: i64) -> Result<i64, Failure> {
    let now = conn
        .prepare_cached(
            "UPDATE store_state SET dead_letters = dead_letters + ?1 RETURNING dead_letters",
        )?
        .query_row([added], |row| row.get(0))?;
    Ok(now)
}

/// Text that a person with the `sqlite3` tool can read the names in.
fn headers_to_sql(record: &RecordOrigin) -> String {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| {
        serde_json::json!([name, value.as_ref().map(|value| BASE64_STANDARD.encode(value))])
    });
    serde_json::Value::from_iter(headers).to_string()
}

type Headers = Vec<(String, Option<Vec<u8>>)>;

fn headers_from_sql(text: &str) -> Result<Headers, BoxError> {
    let kept: Vec<(String, Option<String>)> = serde_json::from_str(text)?;
    let mut headers = Vec::with_capacity(kept.len());
    for (name, value) in kept {
        headers.push((name, value.map(|value| BASE64_STANDARD.decode(value)).transpose()?));
    }
    Ok(headers)
}

fn read(row: &Row<'_>) -> Result<DeadLetter, Failure> {
    let mut columns = Columns::of(row);
    Ok(DeadLetter {
        id: DeadLetterId(columns.count()?),
        letter: NewDeadLetter {
            stage: columns.text("stage", |name| {
                Stage::from_name(name).ok_or_else(|| format!("unknown stage {name}"))
            })?,
            reason: columns.get()?,
            payload: columns.get()?,
            payload_bytes: columns.count()?,
            at: columns.time()?,
            origin: origin(&mut columns)?,
        },
    })
}

fn origin(columns: &mut Columns<'_, '_>) -> Result<Origin, Failure> {
    match columns.get::<String>()?.as_str() {
        "http" => Ok(Origin::Http),
        "fan_out" => Ok(Origin::FanOut),
        "kafka" => Ok(Origin::Kafka(RecordOrigin {
            topic: columns.get()?,
            partition: columns.get()?,
            offset: columns.get()?,
            key: columns.get()?,
            headers: columns.text("headers", headers_from_sql)?,
        })),
        name => Err(Failure::unreadable("origin", format!("unknown origin {name}"))),
    }
}

struct AppendDeadLetters(Vec<NewDeadLetter>);

impl Command for AppendDeadLetters {
    type Output = u64;
    const OP: &'static str = "append_dead_letters";

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn run(&self, tx: &mut WriteTx<'_>) -> Result<u64, Failure> {
        append(tx, self.0.iter())
    }
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
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM dead_letter WHERE dead_letter < ?1 \
         ORDER BY dead_letter DESC LIMIT ?2"
    ))?;
    let mut rows = statement.query((before, limit_to_sql(limit)))?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(read(row)?);
    }
    Ok(letters)
}

fn find(conn: &Connection, id: DeadLetterId) -> Result<Option<DeadLetter>, Failure> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letter WHERE dead_letter = ?1"))?;
    let mut rows = statement.query([to_sql(id.0)])?;
    rows.next()?.map(read).transpose()
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

    async fn find_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        let query = move |conn: &Connection| find(conn, id);
        self.readers.read("find_dead_letter", query).await
    }

    async fn remove_dead_letter(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        self.writer.run(RemoveDeadLetter(id)).await
    }

    async fn count_dead_letters(&self) -> Result<u64, StoreError> {
        let query = |conn: &Connection| {
            let mut statement = conn.prepare_cached("SELECT dead_letters FROM store_state")?;
            Ok(from_sql(statement.query_row([], |row| row.get(0))?))
        };
        self.readers.read("count_dead_letters", query).await
    }
}
