//! The stores of a node.

use std::sync::Arc;

use anyhow::Context;
use tidings_core::ports::{SocialGraphStore, Store};
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore};
use tidings_store::{SqliteConfig, SqliteStore};

use crate::config::StoreSection;

/// The stores, as the configuration chose them.
pub(super) struct Stores {
    notifications: Notifications,
    graph: Arc<EmbeddedGraphStore>,
}

/// The store of notifications and what goes with them.
enum Notifications {
    Sqlite(Arc<SqliteStore>),
}

impl Stores {
    pub(super) async fn open(section: &StoreSection) -> anyhow::Result<Self> {
        let mut graph = EmbeddedGraphConfig::new(section.data_dir.join("graph"));
        graph.writer_queue = section.writer_queue;
        // Opening reads files, and may upgrade or rebuild them.
        let graph = tokio::task::spawn_blocking(move || EmbeddedGraphStore::open(graph));
        let notifications = open_sqlite(section).await?;
        let graph = graph.await.context("the graph cannot be opened")?;
        let graph = Arc::new(graph.context("the graph cannot be opened")?);
        Ok(Self { notifications, graph })
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match &self.notifications {
            Notifications::Sqlite(store) => Arc::clone(store) as _,
        }
    }

    pub(super) fn graph(&self) -> Arc<dyn SocialGraphStore> {
        Arc::clone(&self.graph) as _
    }

    /// Transactions of the intake that the store gains from running at once.
    pub(super) fn lanes(&self) -> usize {
        match &self.notifications {
            Notifications::Sqlite(_) => 1,
        }
    }

    pub(super) async fn close(self) {
        match self.notifications {
            Notifications::Sqlite(store) => store.close().await,
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
