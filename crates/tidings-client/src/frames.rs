//! The frames of `tidings.v1` that a client sends and reads; see `api/websocket.md`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a client says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ClientFrame<'a> {
    Hello {
        token: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_seq: Option<u64>,
    },
    Ack {
        seq: u64,
    },
    Pong,
}

/// What a server says. Fields that are not listed, and frames that are not known, are left out.
#[derive(Deserialize)]
pub(crate) struct ServerFrame<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    #[serde(default)]
    pub(crate) seq: Option<u64>,
    #[serde(default)]
    pub(crate) unread: Option<u64>,
    #[serde(default)]
    pub(crate) heartbeat_ms: Option<u64>,
    #[serde(default)]
    pub(crate) retry_ms: Option<u64>,
    #[serde(default, borrow)]
    pub(crate) reason: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(crate) notification: Option<&'a RawValue>,
}
