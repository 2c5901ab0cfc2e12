//! The frames of `tidings.v1`. `api/websocket.md` describes them for clients.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use serde::{Deserialize, Serialize};
use tidings_core::{
    batch::AppendedEvent,
    clock::Timestamp,
    ids::{NotificationId, Seq, UserId},
    inbox::{Mark, Selection},
    notification::{Notification, NotificationState},
};

/// Why a server closes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The node is stopping; come back after `retry_ms` of the `bye` before.
    Restarting = 1012,
    /// A frame cannot be read, or makes no sense here.
    Malformed = 4400,
    /// No valid token.
    NotAuthenticated = 4401,
    /// The token is valid and not good for this: a renewal with the token of another user.
    NotAllowed = 4403,
    /// Nothing came for two heartbeats.
    HeartbeatMissed = 4408,
    /// Another session took this one's place. Kept for later: nothing closes with it yet.
    Replaced = 4409,
    /// Too many sessions of the user, or on the node.
    TooManyConnections = 4429,
    /// The client does not read; resume with `last_seq`.
    TooSlow = 4508,
}

impl CloseCode {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// What a client says. Unknown fields are ignored.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientFrame<'a> {
    Hello {
        #[serde(default, borrow)]
        token: Option<Cow<'a, str>>,
        #[serde(default, borrow)]
        ticket: Option<Cow<'a, str>>,
        #[serde(default)]
        last_seq: Option<u64>,
        #[serde(default)]
        after_seq: Option<u64>,
        #[serde(borrow, default)]
        device: Option<Cow<'a, str>>,
    },
    Renew {
        #[serde(borrow)]
        token: Cow<'a, str>,
    },
    Ack {
        seq: u64,
    },
    Read {
        #[serde(default)]
        ids: Option<Vec<NotificationId>>,
        #[serde(default)]
        up_to_seq: Option<u64>,
    },
    Ping,
    Pong,
}

/// A frame that could not be read.
#[derive(Debug)]
pub(super) enum BadFrame {
    /// A type that a later version may know: answered, not punished.
    UnknownType(String),
    /// Not a frame of this protocol.
    Malformed(String),
}

/// Reads a frame of a client.
pub(super) fn read_frame(text: &str) -> Result<ClientFrame<'_>, BadFrame> {
    serde_json::from_str(text).map_err(|error| {
        #[derive(Deserialize)]
        struct Tag {
            r#type: String,
        }
        const KNOWN: [&str; 6] = ["hello", "renew", "ack", "read", "ping", "pong"];
        match serde_json::from_str::<Tag>(text) {
            Ok(tag) if !KNOWN.contains(&tag.r#type.as_str()) => BadFrame::UnknownType(tag.r#type),
            _ => BadFrame::Malformed(error.to_string()),
        }
    })
}

/// What a server says, besides notifications.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerFrame<'a> {
    Welcome {
        session: &'a str,
        user: &'a UserId,
        seq: Seq,
        unread: u64,
        heartbeat_ms: u64,
        #[serde(skip_serializing_if = "is_whole")]
        forgotten_seq: Seq,
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<&'a str>,
    },
    Notification {
        seq: Seq,
        notification: &'a Notification,
    },
    Update {
        #[serde(flatten)]
        what: Marked<'a>,
        unread: u64,
        /// The newest notification that is counted in `unread`.
        seq: Seq,
    },
    Renewed {
        expires_ms: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<&'a str>,
    },
    /// An update of the count alone: marks were made that this node did not hear of.
    #[serde(rename = "update")]
    Count {
        unread: u64,
        seq: Seq,
    },
    Ping,
    Pong,
    Error {
        reason: &'a str,
    },
    Bye {
        reason: &'a str,
        retry_ms: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_whole(forgotten: &Seq) -> bool {
    *forgotten == Seq::ZERO
}

/// Which notifications were marked, under the name of the mark.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Marked<'a> {
    Seen(Which<'a>),
    Read(Which<'a>),
    Archived(Which<'a>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Which<'a> {
    UpToSeq(Seq),
    Ids(&'a [NotificationId]),
}

impl<'a> Marked<'a> {
    pub(super) fn new(mark: Mark, selection: &'a Selection) -> Self {
        let which = match selection {
            Selection::UpTo(seq) => Which::UpToSeq(*seq),
            Selection::Ids(ids) => Which::Ids(ids),
        };
        match mark {
            Mark::Seen => Self::Seen(which),
            Mark::Read => Self::Read(which),
            Mark::Archived => Self::Archived(which),
        }
    }
}

impl ServerFrame<'_> {
    /// The frame as text.
    pub(super) fn to_text(&self) -> String {
        // The types above have no way to fail: no maps with other keys than text, no I/O.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Writes the frames of one event for many people: the part that is the same for all is made once.
pub(super) struct EventFrames<'a> {
    appended: &'a AppendedEvent,
    /// From the comma after `created_at` to the end of the frame.
    tail: Option<String>,
}

impl<'a> EventFrames<'a> {
    pub(super) fn new(appended: &'a AppendedEvent) -> Self {
        Self { appended, tail: None }
    }

    /// The frame of the notification `id`.
    pub(super) fn frame(&mut self, id: NotificationId, user: &UserId) -> Arc<str> {
        let created_at = self.appended.created_at;
        splice(id, created_at, self.tail(id, user))
    }

    /// What all frames of the event end with, made at the notification `id`.
    pub(super) fn tail(&mut self, id: NotificationId, user: &UserId) -> &str {
        self.tail.get_or_insert_with(|| tail_of(self.appended, id, user))
    }
}

/// The frame of the notification `id` of an event whose frames end with `tail`.
pub(super) fn splice(id: NotificationId, created_at: Timestamp, tail: &str) -> Arc<str> {
    let seq = id.seq;
    let mut text = String::with_capacity(160 + tail.len());
    // Writing to a String cannot fail.
    let _infallible = write!(
        text,
        r#"{{"type":"notification","seq":{seq},"notification":{{"id":"{id}","seq":{seq},"created_at":"{created_at}""#
    );
    text.push_str(tail);
    Arc::from(text)
}

fn tail_of(appended: &AppendedEvent, id: NotificationId, user: &UserId) -> String {
    let notification = Notification {
        id,
        user: user.clone(),
        event: Arc::clone(&appended.event),
        created_at: appended.created_at,
        state: NotificationState::default(),
    };
    let whole = ServerFrame::Notification { seq: id.seq, notification: &notification }.to_text();
    // The first `"event_id"` is the key: before it stand an id, numbers and a time of our own.
    whole.find(r#","event_id""#).map(|at| whole[at..].to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tidings_core::{event::IncomingEvent, ids::InboxNumber};

    use super::*;

    #[test]
    fn a_spliced_frame_is_what_serde_writes() {
        let now = Timestamp::from_millis(1_790_000_000_123);
        let json = r#"{"id":"e\",\"event_id","source":"s","type":"t","title":"ä \" \u0000",
            "data":{"event_id": [1,2]},"ttl_seconds":5,"audience":{"users":["u"]}}"#;
        let json = json.replace("\\u0000", "\\n");
        let event = IncomingEvent::from_json(json.as_bytes(), now).unwrap().event;
        let appended = AppendedEvent {
            event: Arc::clone(&event),
            created_at: now,
            stored: vec![],
            duplicates: 0,
            fans_out: false,
        };
        let user = UserId::new("u").unwrap();
        let mut frames = EventFrames::new(&appended);
        for seq in [1, 41] {
            let id = NotificationId { inbox: InboxNumber(7), seq: Seq(seq) };
            let notification = Notification {
                id,
                user: user.clone(),
                event: Arc::clone(&event),
                created_at: now,
                state: NotificationState::default(),
            };
            let whole =
                ServerFrame::Notification { seq: id.seq, notification: &notification }.to_text();
            assert_eq!(&*frames.frame(id, &user), whole);
        }
    }

    fn fixtures(json: &str) -> Vec<serde_json::Value> {
        let all: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
        all.into_iter().map(|fixture| fixture["frame"].clone()).collect()
    }

    #[test]
    fn the_client_frames_of_the_fixtures_can_be_read() {
        let frames = fixtures(include_str!("../../../../api/fixtures/client-frames.json"));
        for frame in frames {
            let text = frame.to_string();
            assert!(read_frame(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_server_frames_of_the_fixtures_are_what_is_written() {
        let event = r#"{"id":"evt_01J","source":"posts","type":"like","time":"2026-11-23T09:00:00Z",
            "actor":"u_42","object":{"type":"post","id":"p_9","url":"app://posts/p_9"},
            "title":"Ann liked your photo","body":"Sunset over the bay","data":{"any":"json"},
            "priority":"high","ttl_seconds":86400,"group":"like:p_9","audience":{"users":["u_7"]}}"#;
        let now: Timestamp = "2026-11-23T09:00:00.123Z".parse().unwrap();
        let user = UserId::new("u_7").unwrap();
        let id = NotificationId { inbox: InboxNumber(7), seq: Seq(42) };
        let notification = Notification {
            id,
            user: user.clone(),
            event: IncomingEvent::from_json(event.as_bytes(), now).unwrap().event,
            created_at: now,
            state: NotificationState::default(),
        };
        let (up_to, ids) = (Selection::UpTo(id.seq), Selection::Ids(vec![id]));
        let frames = [
            ServerFrame::Welcome {
                session: "01993d2e-0000-7000-8000-000000000001",
                user: &user,
                seq: id.seq,
                unread: 3,
                heartbeat_ms: 25_000,
                forgotten_seq: Seq::ZERO,
                ticket: None,
            },
            ServerFrame::Welcome {
                session: "01993d2e-0000-7000-8000-000000000002",
                user: &user,
                seq: id.seq,
                unread: 3,
                heartbeat_ms: 25_000,
                forgotten_seq: Seq(17),
                ticket: None,
            },
            ServerFrame::Welcome {
                session: "01993d2e-0000-7000-8000-000000000003",
                user: &user,
                seq: id.seq,
                unread: 3,
                heartbeat_ms: 25_000,
                forgotten_seq: Seq::ZERO,
                ticket: Some("AQ-9k3TfAAABoMZ1oAAAAAGgxnWgAAAAAaDGdaB1Xzc"),
            },
            ServerFrame::Notification { seq: id.seq, notification: &notification },
            ServerFrame::Update { what: Marked::new(Mark::Read, &up_to), unread: 0, seq: Seq(42) },
            ServerFrame::Update {
                what: Marked::new(Mark::Archived, &ids),
                unread: 2,
                seq: Seq(42),
            },
            ServerFrame::Renewed { expires_ms: 1_795_420_800_000, ticket: None },
            ServerFrame::Count { unread: 5, seq: Seq(47) },
            ServerFrame::Ping,
            ServerFrame::Pong,
            ServerFrame::Error { reason: "there is no frame of type \"wave\" in tidings.v1" },
            ServerFrame::Bye { reason: "the node is stopping", retry_ms: 1_723 },
        ];
        let written: Vec<serde_json::Value> =
            frames.iter().map(|frame| serde_json::from_str(&frame.to_text()).unwrap()).collect();
        let kept = fixtures(include_str!("../../../../api/fixtures/server-frames.json"));
        assert_eq!(written, kept);
    }

    #[test]
    fn an_unknown_type_is_told_apart_from_nonsense() {
        assert!(matches!(read_frame(r#"{"type":"wave"}"#), Err(BadFrame::UnknownType(_))));
        for text in ["", "7", "{}", r#"{"type":"ack"}"#, r#"{"type":"ack","seq":-1}"#] {
            assert!(matches!(read_frame(text), Err(BadFrame::Malformed(_))), "{text}");
        }
        assert!(matches!(
            read_frame(r#"{"type":"ack","seq":1,"new":2}"#),
            Ok(ClientFrame::Ack { seq: 1 })
        ));
    }
}
