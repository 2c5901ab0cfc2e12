//! The stores of a node.

use std::sync::Arc;

use anyhow::Context;
use tidings_core::ports::{
    DeadLetterStore, DeliveryStore, DeviceStore, NotificationStore, SocialGraphStore,
};
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore};
use tidings_store::{SqliteConfig, SqliteStore};

use crate::config::StoreSection;

/// The embedded stores, one file or folder each below the data directory.
pub(super) struct Stores {
    store: Arc<SqliteStore>,
    graph: Arc<EmbeddedGraphStore>,
}

impl Stores {
    pub(super) async fn open(section: &StoreSection) -> anyhow::Result<Self> {
        let mut store = SqliteConfig::new(&section.data_dir);
        store.dead_letters_max = section.dead_letters_max;
        store.reader_connections = section.readers;
        store.writer_queue = section.writer_queue;
        let mut graph = EmbeddedGraphConfig::new(section.data_dir.join("graph"));
        graph.writer_queue = section.writer_queue;
        // Opening reads files, and may upgrade or rebuild them.
        let opened = tokio::task::spawn_blocking(move || {
            let store =
                SqliteStore::open(store).context("the notification store cannot be opened")?;
            let graph = EmbeddedGraphStore::open(graph).context("the graph cannot be opened")?;
            anyhow::Ok((store, graph))
        });
        let (store, graph) = opened.await.context("the stores cannot be opened")??;
        Ok(Self { store: Arc::new(store), graph: Arc::new(graph) })
    }

    pub(super) fn notifications(&self) -> Arc<dyn NotificationStore> {
        Arc::clone(&self.store) as _
    }

    pub(super) fn devices(&self) -> Arc<dyn DeviceStore> {
        Arc::clone(&self.store) as _
    }

    pub(super) fn deliveries(&self) -> Arc<dyn DeliveryStore> {
        Arc::clone(&self.store) as _
    }

    pub(super) fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        Arc::clone(&self.store) as _
    }

    pub(super) fn graph(&self) -> Arc<dyn SocialGraphStore> {
        Arc::clone(&self.graph) as _
    }

    pub(super) async fn close(self) {
        self.store.close().await;
        self.graph.close().await;
    }
}
