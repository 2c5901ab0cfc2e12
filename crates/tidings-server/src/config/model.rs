//! The options. What each means, its unit and its range stand in `config/tidings.default.toml`.
#![expect(missing_docs, reason = "config/tidings.default.toml documents every option, once")]

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use tidings_core::{event::Priority, retry::RetryPolicy};

use super::secret::Secret;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: ServerSection,
    pub store: StoreSection,
    pub intake: IntakeSection,
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
    pub body_limit_bytes: usize,
    pub request_timeout_ms: u64,
    pub shutdown_grace_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    pub data_dir: PathBuf,
    pub writer_queue: usize,
    pub readers: usize,
    pub dead_letters_max: u64,
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
    pub fanout_page: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingSection {
    pub ack_wait_ms: u64,
    pub push_from: Priority,
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
    pub drain_retry_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushSection {
    pub concurrency: usize,
    pub lease_ms: u64,
    pub request_timeout_ms: u64,
    pub retry: RetryPolicy,
    pub apns: ApnsSection,
    pub fcm: FcmSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApnsSection {
    pub key_file: PathBuf,
    pub key_id: String,
    pub team_id: String,
    pub endpoint: String,
    pub ca_file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcmSection {
    pub service_account_file: PathBuf,
    pub endpoint: String,
    pub ca_file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSection {
    pub keys: Vec<ApiKeySection>,
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
