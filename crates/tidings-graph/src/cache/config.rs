//! How the cache is set up.

use std::time::Duration;

/// How the cache is set up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GraphCacheConfig {
    /// Bytes of answers that this process keeps.
    pub l1_bytes: u64,
    /// How long an answer is kept at most, less up to a tenth at random, so that what was kept at once
    /// does not end at once. Answers end with the writes that change them, long before.
    pub ttl: Duration,
    /// For how long the lists of a write whose end nobody has told are read from the store. Longer than
    /// the store can take for a write.
    pub write_lease: Duration,
    /// Answers that are asked for anew at once, after writes that ended them while they were in use.
    /// With 0 the next reader asks.
    pub refreshes: usize,
    /// Questions that are remembered as the ones asked most, and asked when a node starts. Needs Redis.
    pub warm_up_questions: usize,
    /// How many of them are asked per second.
    pub warm_up_per_s: u32,
    /// The server that all nodes share. Without it there must be no other node.
    pub redis: Option<RedisCacheConfig>,
}

impl Default for GraphCacheConfig {
    fn default() -> Self {
        Self {
            l1_bytes: 128 << 20,
            ttl: Duration::from_secs(3_600),
            write_lease: Duration::from_secs(60),
            refreshes: 16,
            warm_up_questions: 10_000,
            warm_up_per_s: 1_000,
            redis: None,
        }
    }
}

/// Where the versions and the shared answers are.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisCacheConfig {
    /// `redis://` or `rediss://`, with the password. One server, Redis 6 or later or Valkey.
    pub url: String,
    /// What the keys begin with.
    pub prefix: String,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take before the server counts as gone.
    pub answer_timeout: Duration,
    /// How long after a node's sign of life an epoch may last. A write that cannot reach Redis waits for
    /// so long, and for `answer_timeout`. Signs of life are given eight times in it.
    pub lease: Duration,
    /// How long all nodes do without the cache after one has fallen silent, or the server has started. A
    /// node that is alive has to be back within this time. At least three times `lease` and
    /// `answer_timeout` together, and longer than the store can take for a write.
    pub hold: Duration,
}

impl RedisCacheConfig {
    /// The server at `url`, and what suits most.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "tidings".to_owned(),
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_millis(500),
            lease: Duration::from_secs(2),
            hold: Duration::from_secs(15),
        }
    }
}

impl std::fmt::Debug for RedisCacheConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the URL, which may hold a password.
        f.debug_struct("RedisCacheConfig").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Why the cache cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphCacheError {
    /// The URL is not one of Redis.
    // The driver's own words may hold the URL, and with it the password.
    #[error("the URL is not one of redis:// or rediss://")]
    Url,
    /// A node could be held for dead while it is not.
    #[error("hold has to be three times lease and answer_timeout together, at least")]
    ShortHold,
}
