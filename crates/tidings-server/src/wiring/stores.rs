//! The stores of a node.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use tidings_core::ports::{SocialGraphStore, Store};
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, GraphCacheWorker, Neo4jGraphConfig, Neo4jGraphStore,
    RecommendedGraph,
};
use tidings_store::{Migrate, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore};

use super::graph_cache::cache_before;
use crate::config::{Config, Neo4jSection, PostgresSection, StoreSection};

/// The stores, as the configuration chose them.
pub(super) struct Stores {
    notifications: Notifications,
    graph: Graph,
    /// The graph, behind a cache if there is one.
    cached_graph: Arc<dyn SocialGraphStore>,
}

/// The store of notifications and what goes with them.
enum Notifications {
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PostgresStore>),
}

/// The store of who follows whom.
enum Graph {
    Embedded(Arc<EmbeddedGraphStore>),
    Neo4j(Arc<Neo4jGraphStore>),
}

impl Graph {
    fn as_store(&self) -> Arc<dyn SocialGraphStore> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as _,
            Self::Neo4j(store) => Arc::clone(store) as _,
        }
    }
}

impl Stores {
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let section = &config.store;
        let notifications = if section.postgres.url.is_empty() {
            open_sqlite(section).await?
        } else {
            open_postgres(section).await?
        };
        let graph = if config.graph.neo4j.url.is_empty() {
            open_embedded_graph(section).await?
        } else {
            open_neo4j(&config.graph.neo4j, section).await?
        };
        if let (Notifications::Postgres(_), Graph::Embedded(_)) = (&notifications, &graph) {
            tracing::warn!(
                "the follow graph is this node's own, and the database may be shared: an event for \
                 followers_of reaches those who follow in the graph of the node that plans it. \
                 graph.neo4j gives all nodes one graph"
            );
        }
        let cached_graph = graph.as_store();
        Ok(Self { notifications, graph, cached_graph })
    }

    /// Puts a cache before the graph, for all who ask for the graph after this, if one is wanted.
    pub(super) fn cache_graph(
        &mut self,
        config: &Config,
    ) -> anyhow::Result<Option<GraphCacheWorker>> {
        if !config.graph.cache.enabled {
            return Ok(None);
        }
        let (cached, worker) = cache_before(self.graph.as_store(), config)?;
        self.cached_graph = cached;
        Ok(Some(worker))
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match &self.notifications {
            Notifications::Sqlite(store) => Arc::clone(store) as _,
            Notifications::Postgres(store) => Arc::clone(store) as _,
        }
    }

    pub(super) fn graph(&self) -> Arc<dyn SocialGraphStore> {
        Arc::clone(&self.cached_graph)
    }

    /// The graph as the recommendation engine reads it.
    pub(super) fn recommended_graph(&self) -> RecommendedGraph {
        match &self.graph {
            Graph::Embedded(store) => RecommendedGraph::Embedded(Arc::clone(store)),
            Graph::Neo4j(_) => RecommendedGraph::Other(self.graph()),
        }
    }

    /// Transactions of the intake that the store gains from running at once.
    pub(super) fn lanes(&self, postgres: &PostgresSection) -> usize {
        match &self.notifications {
            // One writer: a second transaction would wait for the first.
            Notifications::Sqlite(_) => 1,
            Notifications::Postgres(_) => postgres.write_connections().min(2),
        }
    }

    pub(super) async fn close(self) {
        match self.notifications {
            Notifications::Sqlite(store) => store.close().await,
            Notifications::Postgres(store) => store.close(),
        }
        match self.graph {
            Graph::Embedded(store) => store.close().await,
            Graph::Neo4j(store) => store.close().await,
        }
    }
}

async fn open_embedded_graph(section: &StoreSection) -> anyhow::Result<Graph> {
    let mut config = EmbeddedGraphConfig::new(section.data_dir.join("graph"));
    config.writer_queue = section.writer_queue;
    // Opening reads files, and may upgrade or rebuild them.
    let opened = tokio::task::spawn_blocking(move || EmbeddedGraphStore::open(config)).await;
    let opened = opened.context("the graph cannot be opened")?;
    let store = opened.context("the graph cannot be opened")?;
    Ok(Graph::Embedded(Arc::new(store)))
}

async fn open_neo4j(section: &Neo4jSection, store: &StoreSection) -> anyhow::Result<Graph> {
    let (user, password) = (section.user.as_str(), section.password.expose());
    let mut config = Neo4jGraphConfig::new(section.url.as_str(), user, password);
    config.database.clone_from(&section.database);
    config.prefix.clone_from(&section.prefix);
    config.ca = Some(&section.ca_file).filter(|file| *file != Path::new("")).cloned();
    config.connections = section.connections;
    config.connect_timeout = Duration::from_millis(section.connect_timeout_ms);
    config.query_timeout = Duration::from_millis(section.query_timeout_ms);
    config.batch_edges = section.batch_edges;
    config.writer_queue = store.writer_queue;
    let opened = Neo4jGraphStore::open(config).await;
    let store = opened.context("the graph cannot be opened (graph.neo4j)")?;
    Ok(Graph::Neo4j(Arc::new(store)))
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
    config.write_connections = section.write_connections();
    config.read_connections = section.read_connections();
    config.connect_timeout = Duration::from_millis(section.connect_timeout_ms);
    config.statement_timeout = Duration::from_millis(section.statement_timeout_ms);
    // Whatever has a limit of its own is over before the call is: a wait for a place in the pool, a
    // connection that tries host after host, and a statement that is tried again.
    let connecting = config.connect_timeout * (hosts(&config.url) + 1);
    config.call_timeout = config.acquire_timeout + connecting + config.statement_timeout * 2;
    config
}

/// How many hosts a URL names.
fn hosts(url: &str) -> u32 {
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let address = address.split_once('?').map_or(address, |(address, _)| address);
    let hosts = address.rsplit_once('@').map_or(address, |(_, hosts)| hosts);
    let hosts = hosts.split_once('/').map_or(hosts, |(hosts, _)| hosts);
    u32::try_from(hosts.split(',').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_TOML;

    #[test]
    fn a_call_outlives_the_waits_that_it_is_made_of() {
        let defaults: Config = toml::from_str(DEFAULT_TOML).unwrap();
        for (url, hosts) in [
            ("postgres://u:p@one:5432/db?sslmode=require&options=a,b", 1),
            ("postgresql://one,two:1,three/db", 3),
            ("postgres://u:a,b@one,two", 2),
        ] {
            let mut section = defaults.store.postgres.clone();
            section.url = toml::Value::from(url).try_into().unwrap();
            section.connect_timeout_ms = 60_000;
            let config = postgres_config(&section);
            let connecting = config.connect_timeout * (hosts + 1);
            let waits = config.acquire_timeout + connecting + config.statement_timeout;
            assert!(config.call_timeout > waits, "{url}: {:?}", config.call_timeout);
            assert!(config.call_timeout <= waits + config.statement_timeout, "{url}");
        }
    }
}
