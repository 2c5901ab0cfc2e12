//! Server-sent events as the socket of a live session: the session is the same as over WebSocket, and its
//! client can only listen.

use std::{fmt, num::ParseIntError, str::FromStr};

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_delivery::realtime::{CloseCode, Incoming, SessionSocket, SocketClosed};
use tokio::sync::mpsc;

/// Events that may wait for the connection: the session waits for room, and falls back on the store.
const WAITING: usize = 1;

/// What a session says.
pub(super) enum Said {
    /// This, as it stands on the wire.
    Event(Bytes),
    /// It is over, before anything was said.
    Refused(CloseCode, String),
}

/// The session's end of a stream of events.
pub(super) struct SseSocket {
    out: mpsc::Sender<Said>,
    /// What a client of WebSocket would have said first.
    hello: Option<String>,
    from: Option<Place>,
    /// Where the client began, once it is welcome.
    after: u64,
    /// Whether the connection took a heartbeat that was not counted yet.
    alive: bool,
    welcome: bool,
}

/// What a client has: everything after `after`, up to `last`. As the id of an event, `last`, and `:after`
/// unless that is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) last: u64,
    pub(super) after: u64,
}

impl FromStr for Place {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (last, after) = text.split_once(':').unwrap_or((text, "0"));
        Ok(Self { last: last.parse()?, after: after.parse()? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { last, after: 0 } => write!(f, "{last}"),
            Self { last, after } => write!(f, "{last}:{after}"),
        }
    }
}

impl SseSocket {
    /// A socket whose client says hello with `token`, and what the session says over it.
    pub(super) fn new(token: &str, from: Option<Place>) -> (Self, mpsc::Receiver<Said>) {
        let (out, said) = mpsc::channel(WAITING);
        let mut hello = json!({"type": "hello", "token": token});
        if let Some(Place { last, after }) = from {
            hello["last_seq"] = Value::from(last);
            hello["after_seq"] = Value::from(after);
        }
        let hello = Some(hello.to_string());
        (Self { out, hello, from, after: 0, alive: false, welcome: false }, said)
    }

    /// Where a client that is welcome in an inbox that reaches to `head` begins.
    fn begin(&mut self, head: u64) -> Place {
        let from = self.from.unwrap_or(Place { last: head, after: head });
        let last = from.last.min(head);
        self.after = from.after.min(last);
        Place { last, after: self.after }
    }
}

/// What an event needs to know of a frame.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    retry_ms: Option<u64>,
}

/// A frame as an event (HTML, section 9.2.6). A frame is JSON, and so one line.
fn event(frame: &str, head: &Head<'_>, id: Option<Place>) -> String {
    let kind = head.kind;
    let mut text = String::with_capacity(frame.len() + 64);
    if let Some(id) = id {
        text.push_str(&format!("id: {id}\n"));
    }
    if let Some(retry) = head.retry_ms {
        // Browsers come back after so long by themselves.
        text.push_str(&format!("retry: {retry}\n"));
    }
    text.push_str(&format!("event: {kind}\ndata: "));
    text.push_str(frame);
    text.push_str("\n\n");
    text
}

impl SessionSocket for SseSocket {
    async fn receive(&mut self) -> Result<Incoming, SocketClosed> {
        if let Some(hello) = self.hello.take() {
            return Ok(Incoming::Text(hello));
        }
        if std::mem::take(&mut self.alive) {
            return Ok(Incoming::Alive);
        }
        self.out.closed().await;
        Err(SocketClosed)
    }

    async fn send(&mut self, text: &str) -> Result<(), SocketClosed> {
        // Frames are the node's own, and always have a type.
        let head: Head<'_> = serde_json::from_str(text).map_err(|_| SocketClosed)?;
        let (is_ping, is_welcome) = (head.kind == "ping", head.kind == "welcome");
        let event = match head.kind {
            "ping" => ": heartbeat\n\n".to_owned(),
            // Where the client begins, so that it comes back there if it breaks off before it got
            // anything.
            "welcome" => {
                let place = self.begin(head.seq.unwrap_or_default());
                event(text, &head, Some(place))
            }
            "notification" => {
                let place = head.seq.map(|last| Place { last, after: self.after });
                event(text, &head, place)
            }
            _ => event(text, &head, None),
        };
        self.out.send(Said::Event(event.into())).await.map_err(|_| SocketClosed)?;
        // The client cannot answer. That its connection takes what is said is the sign of life there is.
        self.alive |= is_ping;
        self.welcome |= is_welcome;
        Ok(())
    }

    async fn close(self, code: CloseCode, reason: &str) {
        let said = if self.welcome {
            let data = json!({"type": "close", "code": code.code(), "reason": reason});
            Said::Event(format!("event: close\ndata: {data}\n\n").into())
        } else {
            Said::Refused(code, reason.to_owned())
        };
        // A client that is gone already needs no close.
        let _closed = self.out.send(said).await.is_ok();
    }
}

/// The body of an answer: what was said first, and then whatever is said.
pub(super) fn body(first: Bytes, said: mpsc::Receiver<Said>) -> Body {
    let first = Some(first);
    Body::from_stream(stream::unfold((first, said), async |(first, mut said)| {
        let next = match first {
            Some(first) => first,
            None => match said.recv().await? {
                Said::Event(event) => event,
                Said::Refused(..) => return None,
            },
        };
        Some((Ok::<_, std::convert::Infallible>(next), (None, said)))
    }))
}
