//! Opening and closing.

use std::{sync::Mutex, time::Instant};

use super::{
    config::SqliteConfig,
    connection,
    delivery_log::LastDelivery,
    error::SqliteOpenError,
    migrate::{self, MIGRATIONS, MigrateError},
    readers::Readers,
    retention::Sweep,
    writer::Writer,
};

/// The embedded store of notifications, devices, deliveries and dead letters.
///
/// What a method that writes has answered survives `kill -9` and power loss. A method whose future
/// is dropped may or may not take effect, as with any lost answer.
///
/// End it with [`SqliteStore::close`]. Dropping it instead does the same, but blocks the thread that
/// drops it while the writer finishes what is queued.
#[derive(Debug)]
pub struct SqliteStore {
    // Readers go first, so that the writer's connection is the last and tidies up.
    pub(super) readers: Readers,
    pub(super) writer: Writer,
    /// Where forgetting goes on.
    pub(super) sweep: Mutex<Sweep>,
}

impl SqliteStore {
    /// Opens the data directory, and makes it or upgrades it if need be. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`SqliteOpenError::InUse`] if it is open elsewhere, [`SqliteOpenError::Newer`] if a newer
    /// program wrote it, and what else [`SqliteOpenError`] lists. Nothing is changed by a failure
    /// but the steps of an upgrade before the one that failed.
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is made for one store")]
    pub fn open(config: SqliteConfig) -> Result<Self, SqliteOpenError> {
        let started = Instant::now();
        let lock = connection::lock_directory(&config)?;
        connection::protect_files(&config)?;
        let unopened = |error: rusqlite::Error| SqliteOpenError::Database {
            path: config.path.clone(),
            source: error.into(),
        };
        let mut conn = connection::open_writer(&config).map_err(unopened)?;
        let (before, version) = migrate::migrate(&mut conn, MIGRATIONS)
            .map_err(|error| migration_error(&config, error))?;
        let mut readers = Vec::new();
        for _ in 0..config.reader_connections.max(1) {
            readers.push(connection::open_reader(&config).map_err(unopened)?);
        }
        let folder = connection::open_folder(&config).map_err(unopened)?;
        let last_delivery = LastDelivery::load(&conn).map_err(unopened)?;
        let writer = Writer::start(conn, last_delivery, folder, lock, &config)?;
        let readers = Readers::start(readers, config.reader_queue)?;
        tracing::info!(
            path = %config.path.display(),
            schema.before = before,
            schema.version = version,
            took_ms = started.elapsed().as_millis(),
            "the store is open"
        );
        Ok(Self { readers, writer, sweep: Mutex::default() })
    }

    /// Finishes what is queued, refuses what comes after, and closes the database; when this
    /// returns, another process may open the data directory. Closing twice is fine.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn migration_error(config: &SqliteConfig, error: MigrateError) -> SqliteOpenError {
    let path = config.path.clone();
    match error {
        MigrateError::Newer { found, known } => SqliteOpenError::Newer { path, found, known },
        MigrateError::Step { version, source } => {
            SqliteOpenError::Migration { path, version, source: source.into() }
        }
        MigrateError::Version(source) => SqliteOpenError::Database { path, source: source.into() },
    }
}
