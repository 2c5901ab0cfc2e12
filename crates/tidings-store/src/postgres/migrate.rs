//! Brings a schema to the version that this program knows.

use deadpool_postgres::{Object, PoolError};
use tokio_postgres::Client;

use super::{config::PostgresConfig, connection::Address, error::PostgresOpenError};

/// The steps, oldest first; step `n` leads to schema version `n + 1`. A step that was released is
/// never changed: databases out there have taken it.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/postgres/0001_store.sql"),
    include_str!("../../migrations/postgres/0002_fan_out_graph.sql"),
    include_str!("../../migrations/postgres/0003_revocations.sql"),
    include_str!("../../migrations/postgres/0004_devices.sql"),
    include_str!("../../migrations/postgres/0005_delivery_log.sql"),
    include_str!("../../migrations/postgres/0006_recommendation_feedback.sql"),
    include_str!("../../migrations/postgres/0007_acked_after.sql"),
];

/// One at a time, whatever their number: whoever waits finds the work done. It ends with the
/// transaction, so that a pooler between us and the server does no harm.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('tidings.migrate', 0))";

/// Why a schema is not at the newest version.
#[derive(Debug)]
enum MigrateError {
    /// It is newer than the steps.
    Newer { found: u32, known: u32 },
    /// A step failed and left nothing behind.
    Step { version: u32, source: tokio_postgres::Error },
    /// The version cannot be read.
    Version(tokio_postgres::Error),
}

/// Takes the steps that the schema has not taken, and returns its version.
pub(super) async fn migrate(
    address: &Address,
    config: &PostgresConfig,
) -> Result<u32, PostgresOpenError> {
    let client = connect(address, config).await?;
    let migrated = take_steps(&client, MIGRATIONS, config.schema.as_deref()).await;
    migrated.map_err(|error| {
        let server = address.server.clone();
        match error {
            MigrateError::Newer { found, known } => {
                PostgresOpenError::Newer { server, found, known }
            }
            MigrateError::Step { version, source } => {
                PostgresOpenError::Migration { server, version, source: source.into() }
            }
            MigrateError::Version(source) => {
                PostgresOpenError::Unreachable { server, source: source.into() }
            }
        }
    })
}

/// Refuses a schema that is of another version than this program, and returns it.
pub(super) async fn check(
    address: &Address,
    config: &PostgresConfig,
) -> Result<u32, PostgresOpenError> {
    let server = address.server.clone();
    let client = connect(address, config).await?;
    let found = version(&client).await.map_err(|source| PostgresOpenError::Unreachable {
        server: server.clone(),
        source: source.into(),
    })?;
    let known = known(MIGRATIONS);
    match found {
        _ if found < known => Err(PostgresOpenError::Outdated { server, found, known }),
        _ if found > known => Err(PostgresOpenError::Newer { server, found, known }),
        _ => Ok(found),
    }
}

async fn connect(address: &Address, config: &PostgresConfig) -> Result<Object, PostgresOpenError> {
    let server = address.server.clone();
    let unreachable = |source: PoolError| PostgresOpenError::Unreachable {
        server: server.clone(),
        // The pool's own words say nothing that the cause does not.
        source: match source {
            PoolError::Backend(cause) => cause.into(),
            other => other.into(),
        },
    };
    let pool = address
        .pool(config, 1)
        .map_err(|source| PostgresOpenError::Unreachable { server: server.clone(), source })?;
    let client = pool.get().await.map_err(unreachable)?;
    let row = client.query_one("SELECT current_setting('server_encoding')", &[]).await;
    let encoding: String = row
        .and_then(|row| row.try_get(0))
        .map_err(|error| unreachable(PoolError::Backend(error)))?;
    if encoding != "UTF8" {
        return Err(PostgresOpenError::Encoding { server, encoding });
    }
    Ok(client)
}

fn known(migrations: &[&str]) -> u32 {
    u32::try_from(migrations.len()).unwrap_or(u32::MAX)
}

/// The version of the schema; 0 if there is none.
async fn version(client: &Client) -> Result<u32, tokio_postgres::Error> {
    let there = client.query_one("SELECT to_regclass('schema_migration') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let row =
        client.query_one("SELECT coalesce(max(version), 0) FROM schema_migration", &[]).await?;
    Ok(u32::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0))
}

async fn take_steps(
    client: &Client,
    migrations: &[&str],
    schema: Option<&str>,
) -> Result<u32, MigrateError> {
    // Steps may take longer than what a node does, and so may the wait for another who takes them.
    let unlimited = "SET statement_timeout = 0; SET lock_timeout = 0; \
         SET idle_in_transaction_session_timeout = 0";
    client.batch_execute(unlimited).await.map_err(MigrateError::Version)?;
    let known = known(migrations);
    loop {
        let begin = format!("BEGIN; {LOCK}");
        client.batch_execute(&begin).await.map_err(MigrateError::Version)?;
        let found = version(client).await.map_err(MigrateError::Version)?;
        let step = usize::try_from(found).ok().and_then(|found| migrations.get(found));
        let Some(sql) = step else {
            client.batch_execute("COMMIT").await.map_err(MigrateError::Version)?;
            if found > known {
                return Err(MigrateError::Newer { found, known });
            }
            return Ok(found);
        };
        let version = found + 1;
        let make_schema = schema.filter(|_| found == 0).map_or(String::new(), |schema| {
            // The name is checked: see `connection::options`.
            format!("CREATE SCHEMA IF NOT EXISTS {schema};")
        });
        let taken = client
            .batch_execute(&format!(
                "{make_schema} CREATE TABLE IF NOT EXISTS schema_migration ( \
                 version integer PRIMARY KEY, taken_at timestamptz NOT NULL DEFAULT now()); \
                 {sql}; INSERT INTO schema_migration (version) VALUES ({version}); COMMIT"
            ))
            .await;
        // The connection is not used again: the server rolls back.
        taken.map_err(|source| MigrateError::Step { version, source })?;
    }
}
