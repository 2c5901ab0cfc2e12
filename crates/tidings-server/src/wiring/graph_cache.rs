//! The cache before the graph.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tidings_core::ports::SocialGraphStore;
use tidings_graph::{GraphCache, GraphCacheConfig, GraphCacheWorker, RedisCacheConfig};

use crate::config::Config;

/// The graph behind a cache, as the configuration wants it, and what works for the cache.
pub(super) fn cache_before(
    graph: Arc<dyn SocialGraphStore>,
    config: &Config,
) -> anyhow::Result<(Arc<dyn SocialGraphStore>, GraphCacheWorker)> {
    let section = &config.graph.cache;
    let mut cache = GraphCacheConfig::default();
    cache.l1_bytes = section.l1_bytes;
    cache.ttl = Duration::from_millis(section.ttl_ms);
    cache.write_lease = Duration::from_millis(section.write_lease_ms);
    cache.refreshes = section.refreshes;
    cache.warm_up_questions = section.warm_up_questions;
    cache.warm_up_per_s = section.warm_up_per_s;
    let url = config.graph_cache_redis_url();
    if url.is_empty() {
        tracing::warn!(
            "the graph's cache is in this process alone: no other node may write to the graph \
             (graph.cache.redis.url)"
        );
    } else {
        let mut redis = RedisCacheConfig::new(url.expose());
        redis.prefix.clone_from(&section.redis.prefix);
        redis.connect_timeout = Duration::from_millis(section.redis.connect_timeout_ms);
        redis.answer_timeout = Duration::from_millis(section.redis.answer_timeout_ms);
        redis.lease = Duration::from_millis(section.redis.lease_ms);
        redis.hold = Duration::from_millis(section.redis.hold_ms);
        cache.redis = Some(redis);
    }
    let (graph, worker) = GraphCache::new(graph, &cache)
        .context("the graph's cache cannot be set up (graph.cache)")?;
    Ok((Arc::new(graph), worker))
}
