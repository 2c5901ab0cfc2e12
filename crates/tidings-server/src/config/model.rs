//! The options. What each means, its unit and its range stand in `config/tidings.default.toml`.
#![expect(missing_docs, reason = "config/tidings.default.toml documents every option, once")]

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    graph_cache::GraphCacheSection, push::PushSection, recommendations::RecommendationsSection,
    routing::RoutingSection, secret::Secret,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: ServerSection,
    pub store: StoreSection,
    pub graph: GraphSection,
    pub intake: IntakeSection,
    pub kafka: KafkaSection,
    pub fan_out: FanOutSection,
    pub follow_events: FollowEventsSection,
    pub recommendations: RecommendationsSection,
    pub retention: RetentionSection,
    pub routing: RoutingSection,
    pub realtime: RealtimeSection,
    pub push: PushSection,
    pub auth: AuthSection,
    pub log: LogSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSection {
    pub listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    pub body_limit_bytes: usize,
    pub bodies_limit_bytes: usize,
    pub unattended_max: usize,
    pub request_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub shutdown_grace_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    pub data_dir: PathBuf,
    pub writer_queue: usize,
    pub readers: usize,
    pub dead_letters_max: u64,
    pub postgres: PostgresSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSection {
    pub url: Secret,
    pub schema: String,
    pub connections: usize,
    pub ca_file: PathBuf,
    pub connect_timeout_ms: u64,
    pub statement_timeout_ms: u64,
    pub migrate_at_start: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphSection {
    pub following_max: u64,
    pub neo4j: Neo4jSection,
    pub cache: GraphCacheSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neo4jSection {
    pub url: String,
    pub user: String,
    pub password: Secret,
    pub database: String,
    pub prefix: String,
    pub ca_file: PathBuf,
    pub connections: usize,
    pub connect_timeout_ms: u64,
    pub query_timeout_ms: u64,
    pub batch_edges: usize,
}

impl PostgresSection {
    /// Connections that write; the others read.
    #[must_use]
    pub fn write_connections(&self) -> usize {
        self.connections.div_ceil(2)
    }

    /// Connections that read.
    #[must_use]
    pub fn read_connections(&self) -> usize {
        (self.connections / 2).max(1)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeSection {
    pub batch_rows: usize,
    pub batch_bytes: usize,
    pub batch_linger_ms: u64,
    pub queue_jobs: usize,
    pub queue_bytes: usize,
    pub queue_wait_ms: u64,
    pub answer_wait_ms: u64,
    pub lanes: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSection {
    pub brokers: String,
    pub group: String,
    pub instance_id: String,
    pub topics: Vec<KafkaTopicSection>,
    pub start: KafkaStart,
    pub queue_bytes: usize,
    pub partition_queue_bytes: usize,
    pub dead_letter_suffix: String,
    pub dead_letter_payload_bytes: usize,
    pub breaker_records: usize,
    pub breaker_bad_percent: u8,
    pub retry_base_ms: u64,
    pub retry_cap_ms: u64,
    pub options: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaTopicSection {
    pub name: String,
    #[serde(default)]
    pub format: KafkaFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KafkaFormat {
    #[default]
    Auto,
    Tidings,
    CloudEvents,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KafkaStart {
    Earliest,
    Latest,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FanOutSection {
    pub page: usize,
    pub concurrent: usize,
    pub lease_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowEventsSection {
    pub notify: bool,
    pub notification_type: String,
    pub title: String,
    pub group: String,
    pub follow_type: String,
    pub unfollow_type: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSection {
    pub notifications_days: u32,
    pub expired_days: u32,
    pub deliveries_days: u32,
    pub answers_hours: u32,
    pub devices_days: u32,
    pub revocations_days: u32,
    pub step_rows: usize,
    pub pause_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealtimeSection {
    pub sessions_max: usize,
    pub sessions_per_user_max: usize,
    pub mailbox_frames: usize,
    pub replay_page: usize,
    pub hello_timeout_ms: u64,
    pub heartbeat_ms: u64,
    pub slow_ms: u64,
    pub frame_bytes: usize,
    pub frames_per_second: u32,
    pub frames_burst: u32,
    pub accepts_per_s: u32,
    pub hellos_max: usize,
    pub drain_ms: u64,
    pub drain_retry_ms: u64,
    pub ticket_secret: Secret,
    pub ticket_secret_previous: Secret,
    pub bus: BusSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSection {
    pub heartbeat_ms: u64,
    pub poll_ms: u64,
    pub repair_users_per_s: usize,
    pub repair_group: usize,
    pub presence_refresh_ms: u64,
    pub presence_users_max: usize,
    pub redis: BusRedisSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusRedisSection {
    pub url: Secret,
    pub prefix: String,
    pub sharded: bool,
    pub connect_timeout_ms: u64,
    pub answer_timeout_ms: u64,
    pub queue_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSection {
    pub keys: Vec<ApiKeySection>,
    pub revocations_max: usize,
    pub tokens: TokensSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySection {
    pub name: String,
    pub sha256: String,
    pub scopes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensSection {
    pub hs256_secret: Secret,
    pub jwks_file: PathBuf,
    pub jwks_url: String,
    pub issuer: String,
    pub audience: String,
    pub leeway_secs: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Human,
    Json,
}
