//! The options of recommendations.
#![expect(missing_docs, reason = "config/tidings.default.toml documents every option, once")]

use serde::{Deserialize, Serialize};

use super::{check::Problems, model::Config};

/// The longest list that a user may ask for.
pub const MAX_LIST: usize = 100;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecommendationsSection {
    pub enabled: bool,
    pub limit: usize,
    pub least_known: u32,
    pub impression_decay: f32,
    pub impression_floor: f32,
    pub impressions_days: u32,
    pub cache_ms: u64,
    pub remote_cache_ms: u64,
    pub cache_bytes: u64,
    pub concurrency: usize,
    pub waiting: usize,
    pub learn_users: usize,
    pub learn_hours: u32,
}

impl Config {
    /// How long lists of recommendations are given again, in milliseconds.
    #[must_use]
    pub fn recommendations_cache_ms(&self) -> u64 {
        let section = &self.recommendations;
        if self.graph.neo4j.url.is_empty() { section.cache_ms } else { section.remote_cache_ms }
    }
}

pub(super) fn check(section: &RecommendationsSection, problems: &mut Problems) {
    problems.range("recommendations.limit", section.limit, 1..=MAX_LIST);
    problems.range("recommendations.least_known", section.least_known, 0..=1_000);
    let decay = section.impression_decay;
    problems.range("recommendations.impression_decay", decay, 0.01..=1.0);
    problems.range("recommendations.impression_floor", section.impression_floor, 0.0..=1.0);
    problems.range("recommendations.impressions_days", section.impressions_days, 1..=3_650);
    problems.range("recommendations.cache_ms", section.cache_ms, 0..=3_600_000);
    problems.range("recommendations.remote_cache_ms", section.remote_cache_ms, 0..=3_600_000);
    problems.range("recommendations.cache_bytes", section.cache_bytes, 1 << 20..=16 << 30);
    problems.range("recommendations.concurrency", section.concurrency, 0..=1_000);
    problems.range("recommendations.waiting", section.waiting, 0..=100_000);
    problems.range("recommendations.learn_users", section.learn_users, 0..=2_000);
    problems.range("recommendations.learn_hours", section.learn_hours, 1..=8_760);
}
