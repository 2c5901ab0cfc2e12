//! `DeadLetterStore`, and the letters that come with a batch.
//!
//! The number of letters is kept in slots, one of which a connection uses, so that appends of many
//! nodes do not wait for each other because of some bad records. Letters beyond the limit are dropped
//! after the transaction that brought them, by whoever is first, in pieces: there may be very many once
//! the limit was lowered, and whoever keeps letters waits for it.

use async_trait::async_trait;
use tidings_core::{
    dead_letter::{DeadLetter, DeadLetterId, NewDeadLetter, Origin, RecordOrigin, Stage},
    error_chain::ErrorChain,
    ports::{DeadLetterStore, StoreError},
};
use tokio::try_join;
use tokio_postgres::Row;

use super::{
    error::Failure,
    rows::{Columns, from_sql, limit_to_sql, to_sql},
    session::{Command, Session},
    store::PostgresStore,
    text,
};
use crate::headers;

const COLUMNS: &str = "dead_letter, stage, reason, payload, payload_bytes, at_ms, origin, topic, \
     part, record_offset, record_key, headers";

pub(super) const INSERT: &str = "INSERT INTO dead_letter (stage, reason, payload, payload_bytes, \
     at_ms, origin, topic, part, record_offset, record_key, headers) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], \
     $6::text[], $7::text[], $8::integer[], $9::bigint[], $10::bytea[], $11::text[])";

pub(super) const COUNT: &str = "UPDATE store_state SET dead_letters = dead_letters + $1 \
     WHERE slot = pg_backend_pid() % 64";

/// The most letters that one transaction drops.
const DROPPED_AT_ONCE: i64 = 1_000;

const SUM: &str = "SELECT sum(dead_letters)::bigint FROM store_state";

/// Keeps `letters`, inside a transaction.
pub(super) async fn insert(session: &Session, letters: &[&NewDeadLetter]) -> Result<(), Failure> {
    if letters.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($letter:ident => $value:expr) => {
            letters.iter().map(|$letter| $value).collect::<Vec<_>>()
        };
    }
    let stages = column!(it => it.stage.as_str());
    let reasons = column!(it => text::to_sql(&it.reason));
    let payloads = column!(it => it.payload.as_slice());
    let payload_bytes = column!(it => to_sql(it.payload_bytes));
    let times = column!(it => it.at.as_millis());
    let origins = column!(it => it.origin.as_str());
    let topics = column!(it => record(it).map(|it| text::to_sql(&it.topic)));
    let parts = column!(it => record(it).map(|it| it.partition));
    let offsets = column!(it => record(it).map(|it| it.offset));
    let keys = column!(it => record(it).and_then(|it| it.key.as_deref()));
    let headers = column!(it => {
        record(it).map(|it| text::to_sql(&headers::to_text(&it.headers)).into_owned())
    });
    let added = limit_to_sql(letters.len());
    try_join!(
        biased;
        async { session.execute(
            INSERT,
            &[
                &stages,
                &reasons,
                &payloads,
                &payload_bytes,
                &times,
                &origins,
                &topics,
                &parts,
                &offsets,
                &keys,
                &headers,
            ],
        ).await },
        async { session.execute(COUNT, &[&added]).await },
    )?;
    Ok(())
}

fn record(letter: &NewDeadLetter) -> Option<&RecordOrigin> {
    match &letter.origin {
        Origin::Http | Origin::FanOut => None,
        Origin::Kafka(record) => Some(record),
    }
}

fn read(row: &Row) -> Result<DeadLetter, Failure> {
    let mut columns = Columns::of(row);
    Ok(DeadLetter {
        id: DeadLetterId(columns.count()?),
        letter: NewDeadLetter {
            stage: columns.parse("stage", |name| {
                Stage::from_name(name).ok_or_else(|| format!("unknown stage {name}"))
            })?,
            reason: columns.text()?,
            payload: columns.get()?,
            payload_bytes: columns.count()?,
            at: columns.time()?,
            origin: origin(&mut columns)?,
        },
    })
}

fn origin(columns: &mut Columns<'_>) -> Result<Origin, Failure> {
    match columns.get::<&str>()? {
        "http" => Ok(Origin::Http),
        "fan_out" => Ok(Origin::FanOut),
        "kafka" => Ok(Origin::Kafka(RecordOrigin {
            topic: columns.text()?,
            partition: columns.get()?,
            offset: columns.get()?,
            key: columns.get()?,
            headers: headers::from_text(&columns.text()?)
                .map_err(|error| Failure::unreadable("headers", error))?,
        })),
        name => Err(Failure::unreadable("origin", format!("unknown origin {name}"))),
    }
}

struct AppendDeadLetters(Vec<NewDeadLetter>);

impl Command for AppendDeadLetters {
    type Output = ();
    const OP: &'static str = "append_dead_letters";

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        session.ready(&[INSERT, COUNT]).await?;
        let letters: Vec<_> = self.0.iter().collect();
        let inserted = insert(session, &letters);
        try_join!(biased; session.begin(), inserted, session.commit())?;
        Ok(())
    }
}

/// Drops the oldest letters beyond the limit, up to [`DROPPED_AT_ONCE`], and returns how many.
struct Trim {
    max: i64,
}

impl Command for Trim {
    type Output = u64;
    const OP: &'static str = "append_dead_letters";

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        // One at a time, or two would drop what only one should. Who comes second need not wait.
        const LOCK: &str = "SELECT pg_try_advisory_xact_lock(hashtextextended( \
             current_schema() || '.dead_letter', 0))";
        const DROP: &str = "WITH gone AS (DELETE FROM dead_letter WHERE dead_letter IN \
             (SELECT dead_letter FROM dead_letter ORDER BY dead_letter LIMIT $1) \
             RETURNING dead_letter) SELECT count(*) FROM gone";
        if self.excess(session).await? == 0 {
            return Ok(0);
        }
        session.ready(&[LOCK]).await?;
        let ((), locked) =
            try_join!(biased; session.begin(), async { session.query_one(LOCK, &[]).await })?;
        let mut dropped: i64 = 0;
        if Columns::of(&locked).get()? {
            // Again, now that nobody else drops any.
            let excess = self.excess(session).await?;
            if excess > 0 {
                let row = session.query_one(DROP, &[&excess.min(DROPPED_AT_ONCE)]).await?;
                dropped = Columns::of(&row).get()?;
                session.execute(COUNT, &[&-dropped]).await?;
            }
        }
        session.commit().await?;
        Ok(from_sql(dropped))
    }
}

impl Trim {
    async fn excess(&self, session: &Session) -> Result<i64, Failure> {
        let kept = count(session).await?;
        Ok(kept.saturating_sub(self.max).max(0))
    }
}

async fn count(session: &Session) -> Result<i64, Failure> {
    let row = session.query_one(SUM, &[]).await?;
    Columns::of(&row).get()
}

impl PostgresStore {
    /// Drops the oldest letters beyond the limit now that `added` came, and returns how many. What it
    /// leaves, the next who keeps letters drops; that it fails is no failure of what was kept.
    pub(super) async fn trim_dead_letters(&self, added: usize) -> u64 {
        let at_once = from_sql(DROPPED_AT_ONCE);
        let added = u64::try_from(added).unwrap_or(u64::MAX);
        // Room for twice as many as came: those of others are there, too, who need not wait.
        let pieces = 1 + added.saturating_mul(2) / at_once;
        let mut dropped = 0;
        for _ in 0..pieces {
            match self.writers.run(Trim { max: self.dead_letters_max }).await {
                Ok(piece) => {
                    dropped += piece;
                    if piece < at_once {
                        break;
                    }
                }
                Err(error) => {
                    let error = ErrorChain(&error);
                    tracing::warn!(error = %error, "old dead letters could not be dropped");
                    break;
                }
            }
        }
        dropped
    }
}

struct RemoveDeadLetter(DeadLetterId);

impl Command for RemoveDeadLetter {
    type Output = bool;
    const OP: &'static str = "remove_dead_letter";

    async fn run(&self, session: &Session) -> Result<bool, Failure> {
        const REMOVE: &str = "WITH gone AS (DELETE FROM dead_letter WHERE dead_letter = $1 \
             RETURNING dead_letter) UPDATE store_state SET dead_letters = dead_letters - 1 \
             WHERE slot = pg_backend_pid() % 64 AND EXISTS (SELECT 1 FROM gone)";
        Ok(session.execute(REMOVE, &[&to_sql(self.0.0)]).await? > 0)
    }
}

struct ListDeadLetters {
    before: i64,
    limit: usize,
}

impl Command for ListDeadLetters {
    type Output = Vec<DeadLetter>;
    const OP: &'static str = "list_dead_letters";

    async fn run(&self, session: &Session) -> Result<Vec<DeadLetter>, Failure> {
        let sql = format!(
            "SELECT {COLUMNS} FROM dead_letter WHERE dead_letter < $1 \
             ORDER BY dead_letter DESC LIMIT $2"
        );
        let rows = session.query(&sql, &[&self.before, &limit_to_sql(self.limit)]).await?;
        rows.iter().map(read).collect()
    }
}

struct FindDeadLetter(DeadLetterId);

impl Command for FindDeadLetter {
    type Output = Option<DeadLetter>;
    const OP: &'static str = "find_dead_letter";

    async fn run(&self, session: &Session) -> Result<Option<DeadLetter>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM dead_letter WHERE dead_letter = $1");
        let found = session.query_opt(&sql, &[&to_sql(self.0.0)]).await?;
        found.as_ref().map(read).transpose()
    }
}

struct CountDeadLetters;

impl Command for CountDeadLetters {
    type Output = u64;
    const OP: &'static str = "count_dead_letters";

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        Ok(from_sql(count(session).await?))
    }
}

#[async_trait]
impl DeadLetterStore for PostgresStore {
    async fn append_dead_letters(&self, letters: Vec<NewDeadLetter>) -> Result<u64, StoreError> {
        if letters.is_empty() {
            return Ok(0);
        }
        let added = letters.len();
        self.writers.run(AppendDeadLetters(letters)).await?;
        Ok(self.trim_dead_letters(added).await)
    }

    async fn list_dead_letters(
        &self,
        before: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let before = before.map_or(i64::MAX, |id| to_sql(id.0));
        self.readers.run(ListDeadLetters { before, limit }).await
    }

    async fn find_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        self.readers.run(FindDeadLetter(id)).await
    }

    async fn remove_dead_letter(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        self.writers.run(RemoveDeadLetter(id)).await
    }

    async fn count_dead_letters(&self) -> Result<u64, StoreError> {
        self.readers.run(CountDeadLetters).await
    }
}
