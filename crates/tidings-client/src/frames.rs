//! The frames of `tidings.v1` that a client sends and reads; see `api/websocket.md`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a client says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ClientFrame<'a> {
    /// With one of token and ticket.
    Hello {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_seq: Option<u64>,
        /// Where it began, if not at the beginning.
        #[serde(skip_serializing_if = "Option::is_none")]
        after_seq: Option<u64>,
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
    pub(crate) forgotten_seq: Option<u64>,
    #[serde(default)]
    pub(crate) retry_ms: Option<u64>,
    #[serde(default)]
    pub(crate) ticket: Option<&'a str>,
    #[serde(default, borrow)]
    pub(crate) reason: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(crate) notification: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixtures(json: &str) -> Vec<serde_json::Value> {
        let all: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
        all.into_iter().map(|fixture| fixture["frame"].clone()).collect()
    }

    #[test]
    fn the_server_frames_of_the_fixtures_can_be_read() {
        for frame in fixtures(include_str!("../../../api/fixtures/server-frames.json")) {
            let text = frame.to_string();
            let read: ServerFrame<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(read.kind, frame["type"]);
            assert_eq!(read.seq, frame["seq"].as_u64());
            assert_eq!(read.retry_ms, frame["retry_ms"].as_u64());
            assert_eq!(read.ticket, frame["ticket"].as_str());
        }
    }

    #[test]
    fn what_a_client_says_is_in_the_fixtures() {
        let known = fixtures(include_str!("../../../api/fixtures/client-frames.json"));
        let hello = ClientFrame::Hello {
            token: Some("user:u_7"),
            ticket: None,
            last_seq: None,
            after_seq: None,
        };
        let ticket = Some("AQ-9k3TfAAABoMZ1oAAAAAGgxnWgAAAAAaDGdaB1Xzc");
        let last_seq = Some(41);
        let again = ClientFrame::Hello { token: None, ticket, last_seq, after_seq: None };
        let token = Some("user:u_7");
        let late = ClientFrame::Hello { token, ticket: None, last_seq, after_seq: Some(40) };
        for said in [hello, again, late, ClientFrame::Ack { seq: 42 }, ClientFrame::Pong] {
            let said = serde_json::to_value(&said).unwrap();
            assert!(known.contains(&said), "{said}");
        }
    }
}
