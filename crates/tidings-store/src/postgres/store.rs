//! Opening and closing.

use std::{
    fmt,
    sync::{Mutex, atomic::AtomicI64},
    time::Instant,
};

use super::{
    config::PostgresConfig, connection::Address, error::PostgresOpenError, inbox::InboxNumbers,
    migrate, retention::Sweep, session::Sessions,
};

/// Whether opening a store may change its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// It makes the schema, or upgrades it, if need be. Several nodes may do so at once.
    AtStart,
    /// It refuses a schema that is not of this version.
    Never,
}

/// A store of notifications, devices, deliveries and dead letters in PostgreSQL, for any number of
/// nodes.
///
/// What a method that writes has answered is on the server's disk. A method whose future is dropped
/// may or may not take effect, as with any lost answer. While the server is away every method fails
/// with [`StoreError::Unavailable`](tidings_core::ports::StoreError::Unavailable); once it is back they
/// work again.
pub struct PostgresStore {
    pub(super) writers: Sessions,
    pub(super) readers: Sessions,
    pub(super) inboxes: InboxNumbers,
    pub(super) dead_letters_max: i64,
    /// The number in the delivery log up to which no row can appear any more, as far as is known.
    pub(super) settled_delivery: AtomicI64,
    /// Where forgetting goes on.
    pub(super) sweep: Mutex<Sweep>,
    server: String,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("server", &self.server).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens a store.
    ///
    /// # Errors
    ///
    /// [`PostgresOpenError::Outdated`] if the schema is not of this version and is not to be migrated,
    /// [`PostgresOpenError::Newer`] if a newer program has upgraded it, and what else
    /// [`PostgresOpenError`] lists.
    pub async fn open(config: PostgresConfig, migrate: Migrate) -> Result<Self, PostgresOpenError> {
        let started = Instant::now();
        let address = Address::of(&config)?;
        let unusable =
            |source| PostgresOpenError::Unreachable { server: address.server.clone(), source };
        let sessions = |connections| {
            let pool = address.pool(&config, connections)?;
            Ok(Sessions { pool, call_timeout: config.call_timeout })
        };
        let writers = sessions(config.write_connections).map_err(unusable)?;
        let readers = sessions(config.read_connections).map_err(unusable)?;
        let version = match migrate {
            Migrate::AtStart => migrate::migrate(&address, &config).await?,
            Migrate::Never => migrate::check(&address, &config).await?,
        };
        describe_metrics();
        tracing::info!(
            server = address.server,
            schema.version = version,
            took_ms = started.elapsed().as_millis(),
            "the store is open"
        );
        Ok(Self {
            writers,
            readers,
            inboxes: InboxNumbers::new(config.inbox_cache),
            dead_letters_max: i64::try_from(config.dead_letters_max.max(1)).unwrap_or(i64::MAX),
            settled_delivery: AtomicI64::new(0),
            sweep: Mutex::default(),
            server: address.server,
        })
    }

    /// Makes the schema, or upgrades it to the version of this program, and returns that version.
    /// Several may do so at once: one does it, the others wait.
    ///
    /// # Errors
    ///
    /// What [`PostgresOpenError`] lists. Nothing is changed by a failure but the steps before the one
    /// that failed.
    pub async fn migrate(config: PostgresConfig) -> Result<u32, PostgresOpenError> {
        migrate::migrate(&Address::of(&config)?, &config).await
    }

    /// Ends the connections; those in use end with what they do. What comes after is refused. Closing
    /// twice is fine.
    pub fn close(&self) {
        self.writers.close();
        self.readers.close();
    }
}

fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_histogram!(
        "tidings_store_commit_duration_seconds",
        Unit::Seconds,
        "Time from the arrival of a batch to the end of its commit"
    );
    metrics::describe_histogram!("tidings_store_commit_rows", "Rows in one commit");
    metrics::describe_counter!("tidings_store_commit_failures_total", "Commits that failed");
    metrics::describe_counter!(
        "tidings_store_retries_total",
        "Transactions that were tried again because others got in their way"
    );
}
