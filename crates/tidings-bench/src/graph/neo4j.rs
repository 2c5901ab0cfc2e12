//! The Neo4j of `cargo xtask services up`, with a graph of its own.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tidings_graph::{Neo4jGraphConfig, Neo4jGraphStore};

use crate::ingest::{HOST, NEO4J_BOLT_PORT, NEO4J_PASSWORD, NEO4J_USER};

/// A batch of an import may take long on a machine that is full.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// The prefix of a graph that nobody else has.
pub(super) fn prefix() -> String {
    // The standard library seeds each of these differently, at random.
    format!("Bench{:012x}", RandomState::new().build_hasher().finish() >> 16)
}

/// Opens the graph of this prefix, which stays in the database until the services are wiped.
pub(super) async fn open(prefix: &str) -> anyhow::Result<Neo4jGraphStore> {
    let mut config = Neo4jGraphConfig::new(url(), NEO4J_USER, NEO4J_PASSWORD);
    config.prefix = prefix.to_owned();
    config.query_timeout = QUERY_TIMEOUT;
    Ok(Neo4jGraphStore::open(config).await?)
}

/// The same for a node.
pub(super) fn toml(prefix: &str) -> String {
    format!(
        "[graph.neo4j]\nurl = \"{}\"\nuser = \"{NEO4J_USER}\"\npassword = \"{NEO4J_PASSWORD}\"\n\
         prefix = \"{prefix}\"\n",
        url()
    )
}

fn url() -> String {
    format!("bolt://{HOST}:{NEO4J_BOLT_PORT}")
}
