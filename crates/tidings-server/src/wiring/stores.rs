//! The stores of a node.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use tidings_core::ports::{SocialGraphStore, Store};
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore};
use tidings_store::{Migrate, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore};

use crate::config::{PostgresSection, StoreSection};

/// The stores, as the configuration chose them.
pub(super) struct Stores {
    notifications: Notifications,
    graph: Arc<EmbeddedGraphStore>,
}

/// The store of notifications and what goes with them.
enum Notifications {
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
}

impl Stores {
    pub(super) async fn open(section: &StoreSection) -> anyhow::Result<Self> {
        let mut graph = EmbeddedGraphConfig::new(section.data_dir.join("graph"));
        graph.writer_queue = section.writer_queue;
        let notifications = if section.postgres.url.is_empty() {
            open_sqlite(section).await?
        } else {
            open_postgres(section).await?
        };
        // Opening reads files, and may upgrade or rebuild them.
        let graph = tokio::task::spawn_blocking(move || EmbeddedGraphStore::open(graph)).await;
        let graph = graph.context("the graph cannot be opened")?;
        let graph = Arc::new(graph.context("the graph cannot be opened")?);
        Ok(Self { notifications, graph })
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match &self.notifications {
            Notifications::Sqlite(store) => Arc::clone(store) as _,
            Notifications::Postgres(store) => Arc::clone(store) as _,
        }
    }

    pub(super) fn graph(&self) -> Arc<dyn SocialGraphStore> {
        Arc::clone(&self.graph) as _
    }

    /// Transactions of the intake that the store gains from running at once.
    pub(super) fn lanes(&self) -> usize {
        match &self.notifications {
            // One writer: a second transaction would wait for the first.
            Notifications::Sqlite(_) => 1,
            Notifications::Postgres(_) => 2,
        }
    }

    pub(super) async fn close(self) {
        match self.notifications {
            Notifications::Sqlite(store) => store.close().await,
            Notifications::Postgres(store) => store.close(),
        }
        self.graph.close().await;
    }
}

async fn open_sqlite(section: &StoreSection) -> anyhow::Result<Notifications> {
    let mut config = SqliteConfig::new(&section.data_dir);
    config.dead_letters_max = section.dead_letters_max;
    config.reader_connections = section.readers;
    config.writer_queue = section.writer_queue;
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(config)).await;
    let opened = opened.context("the notification store cannot be opened")?;
    let store = opened.context("the notification store cannot be opened")?;
    Ok(Notifications::Sqlite(Arc::new(store)))
}

async fn open_postgres(section: &StoreSection) -> anyhow::Result<Notifications> {
    let mut config = postgres_config(&section.postgres);
    config.dead_letters_max = section.dead_letters_max;
    let migrate = if section.postgres.migrate_at_start { Migrate::AtStart } else { Migrate::Never };
    let store = PostgresStore::open(config, migrate).await;
    let store = store.context("the notification store cannot be opened (store.postgres)")?;
    tracing::warn!(
        "the follow graph is this node's own, and the database may be shared: an event for \
         followers_of reaches those who follow in the graph of the node that plans it"
    );
    Ok(Notifications::Postgres(Arc::new(store)))
}

/// Brings the configured database's schema up to date and says its version.
pub(crate) async fn migrate_postgres(section: &PostgresSection) -> anyhow::Result<u32> {
    let migrated = PostgresStore::migrate(postgres_config(section)).await;
    migrated.context("the schema cannot be brought up to date (store.postgres)")
}

fn postgres_config(section: &PostgresSection) -> PostgresConfig {
    let mut config = PostgresConfig::new(section.url.expose());
    config.schema = Some(section.schema.clone()).filter(|schema| !schema.is_empty());
    config.ca = Some(&section.ca_file).filter(|file| *file != Path::new("")).cloned();
    config.write_connections = section.connections.div_ceil(2);
    config.read_connections = (section.connections / 2).max(1);
    config.connect_timeout = Duration::from_millis(section.connect_timeout_ms);
    config.statement_timeout = Duration::from_millis(section.statement_timeout_ms);
    config.call_timeout = config.statement_timeout * 2;
    config
}
