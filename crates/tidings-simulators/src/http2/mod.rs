//! The HTTP/2 server under both simulators: accepts, reads a bounded body, asks the [`Service`] for
//! an answer, sends it, and commits the transport faults that were ordered.

mod connection;
mod listener;
mod request;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

pub use listener::ListenConfig;
pub(crate) use listener::{Listener, Server};

/// The body of a request.
pub(crate) enum Body {
    /// All of it.
    Complete(Bytes),
    /// It was longer than any limit of any service; what came is dropped.
    TooLong,
}

/// What a service answers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// Whether a push was entered in the ledger.
    pub(crate) accepted: bool,
}

impl Answer {
    /// A JSON body with Google's content type.
    pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        let content_type = HeaderValue::from_static("application/json; charset=UTF-8");
        Self {
            status,
            headers: vec![(http::header::CONTENT_TYPE, content_type)],
            body: body.to_string().into(),
            accepted: false,
        }
    }
}

/// Judges requests. Plain functions of the request and of state behind short locks: no awaiting.
pub(crate) trait Service: Send + Sync + 'static {
    /// What the service remembers of one connection.
    type Connection: Send + Sync + 'static;

    /// Whether a client that offers no protocol in its TLS handshake is taken to speak HTTP/2; one
    /// that offers others only is refused by the handshake in any case.
    const HTTP2_UNASKED: bool;

    /// The state of a new connection.
    fn connected(&self) -> Self::Connection;

    /// The answer to one request. Accepted pushes are in the ledger when it returns.
    fn answer(&self, connection: &Self::Connection, head: &Parts, body: &Body) -> Answer;
}
