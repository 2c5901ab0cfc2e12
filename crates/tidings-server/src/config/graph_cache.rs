//! The options of the cache before the graph.
#![expect(missing_docs, reason = "config/tidings.default.toml documents every option, once")]

use serde::{Deserialize, Serialize};

use super::{check::Problems, model::Config, secret::Secret};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphCacheSection {
    pub enabled: bool,
    pub l1_bytes: u64,
    pub ttl_ms: u64,
    pub write_lease_ms: u64,
    pub refreshes: usize,
    pub warm_up_questions: usize,
    pub warm_up_per_s: u32,
    pub redis: GraphCacheRedisSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphCacheRedisSection {
    pub url: Secret,
    pub prefix: String,
    pub connect_timeout_ms: u64,
    pub answer_timeout_ms: u64,
    pub lease_ms: u64,
    pub hold_ms: u64,
}

impl Config {
    /// Where the graph's cache is shared: its own server, else that of the bus. Empty: nowhere.
    #[must_use]
    pub fn graph_cache_redis_url(&self) -> &Secret {
        let own = &self.graph.cache.redis.url;
        if own.is_empty() { &self.realtime.bus.redis.url } else { own }
    }
}

pub(super) fn check(config: &Config, problems: &mut Problems) {
    let cache = &config.graph.cache;
    problems.range("graph.cache.l1_bytes", cache.l1_bytes, 1 << 20..=64 << 30);
    problems.range("graph.cache.ttl_ms", cache.ttl_ms, 1_000..=86_400_000);
    problems.range("graph.cache.write_lease_ms", cache.write_lease_ms, 1_000..=3_600_000);
    problems.range("graph.cache.refreshes", cache.refreshes, 0..=1_000);
    problems.range("graph.cache.warm_up_questions", cache.warm_up_questions, 0..=1_000_000);
    problems.range("graph.cache.warm_up_per_s", cache.warm_up_per_s, 1..=100_000);
    let redis = &cache.redis;
    problems.range("the length of graph.cache.redis.prefix", redis.prefix.len(), 1..=64);
    let connect = redis.connect_timeout_ms;
    problems.range("graph.cache.redis.connect_timeout_ms", connect, 100..=60_000);
    let answer = redis.answer_timeout_ms;
    problems.range("graph.cache.redis.answer_timeout_ms", answer, 10..=10_000);
    problems.range("graph.cache.redis.lease_ms", redis.lease_ms, 100..=60_000);
    problems.range("graph.cache.redis.hold_ms", redis.hold_ms, 1_000..=3_600_000);
    let least = (redis.lease_ms + redis.answer_timeout_ms) * 3;
    if redis.hold_ms < least {
        let problem = format!(
            "is {}, and has to be at least {least}: three times lease_ms and answer_timeout_ms \
             together",
            redis.hold_ms
        );
        problems.add("graph.cache.redis.hold_ms", problem);
    }
    let url = redis.url.expose();
    let known = ["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme));
    if !redis.url.is_empty() && !known {
        problems.add("graph.cache.redis.url", "has to begin with redis:// or rediss://");
    }
    if !cache.enabled {
        return;
    }
    if config.graph.neo4j.url.is_empty() {
        problems.add(
            "graph.cache.enabled",
            "is true, and the graph is the embedded one, which answers faster than any cache: it is \
             for a graph behind a network",
        );
    }
    check_times(config, problems);
    if redis.url.is_empty() && config.realtime.bus.redis.sharded {
        problems.add(
            "graph.cache.redis.url",
            "is empty, and the bus is a cluster: the cache needs one server of its own",
        );
    }
}

/// A change may come as late as the graph takes for one, also where nobody waits for it any more. Until
/// then its lists have to be marked, and after a loss of all marks the cache has to be closed.
fn check_times(config: &Config, problems: &mut Problems) {
    let (neo4j, cache) = (&config.graph.neo4j, &config.graph.cache);
    if neo4j.url.is_empty() {
        return;
    }
    let mut times = vec![("graph.cache.write_lease_ms", cache.write_lease_ms)];
    if !config.graph_cache_redis_url().is_empty() {
        times.push(("graph.cache.redis.hold_ms", cache.redis.hold_ms));
    }
    let query = neo4j.query_timeout_ms;
    for (option, millis) in times.into_iter().filter(|(_, millis)| *millis <= query) {
        let problem = format!(
            "is {millis}, and has to be more than graph.neo4j.query_timeout_ms, which is {query}: a \
             change may take that long"
        );
        problems.add(option, problem);
    }
}
