//! The embedded graph and the one on Neo4j do the same.

use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore};
use tidings_testkit::contract_graph::agree;

use crate::harness::open_empty;

/// Operations of a usual run; `TIDINGS_AGREE_OPERATIONS` asks for more.
const OPERATIONS: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_graph_and_neo4j_give_the_same_answers() {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its caller how long to go on")]
    let asked = std::env::var("TIDINGS_AGREE_OPERATIONS").ok();
    let operations = asked.map_or(OPERATIONS, |it| it.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let embedded = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(directory.path())).unwrap();
    let neo4j = open_empty().await;
    agree(&embedded, &*neo4j, 20_261_127, operations).await;
    embedded.close().await;
}
