//! The embedded graph and the one on Neo4j do the same, also with a cache before it.

use std::{sync::Arc, time::Duration};

use tidings_core::ports::SocialGraphStore;
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, GraphCache, GraphCacheConfig, Neo4jGraphStore,
    RedisCacheConfig,
};
use tidings_testkit::{
    contract_graph::agree,
    services::{redis_url, unique_name},
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::harness::{claim, config, open_empty};

/// Operations of a usual run; `TIDINGS_AGREE_OPERATIONS` asks for more.
const OPERATIONS: usize = 10_000;
/// The same for all, so that all are asked the same.
const SEED: u64 = 20_261_127;

/// Compares `other` with an embedded graph.
async fn agrees_with_the_embedded(other: &dyn SocialGraphStore) {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its caller how long to go on")]
    let asked = std::env::var("TIDINGS_AGREE_OPERATIONS").ok();
    let operations = asked.map_or(OPERATIONS, |it| it.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let embedded = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(directory.path())).unwrap();
    agree(&embedded, other, SEED, operations).await;
    embedded.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_graph_and_neo4j_give_the_same_answers() {
    let neo4j = open_empty().await;
    agrees_with_the_embedded(&*neo4j).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_graph_and_neo4j_behind_a_cache_give_the_same_answers() {
    let claim = claim().await;
    let neo4j = Arc::new(Neo4jGraphStore::open(config(&claim)).await.unwrap());
    let mut cached = GraphCacheConfig::default();
    let mut redis = RedisCacheConfig::new(redis_url());
    redis.prefix = unique_name("agree");
    cached.redis = Some(redis);
    let (cache, worker) = GraphCache::new(neo4j, &cached).unwrap();
    let (stop, health) = (CancellationToken::new(), worker.health());
    let mut work = JoinSet::new();
    work.spawn(worker.run(stop.clone()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !health.snapshot().is_open {
        assert!(Instant::now() < deadline, "the cache does not open: {:?}", health.snapshot());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agrees_with_the_embedded(&cache).await;
    assert!(health.snapshot().is_open, "{:?}", health.snapshot());
    stop.cancel();
    work.join_next().await.unwrap().unwrap();
}
