//! The server under all simulators: accepts, reads a bounded body, asks the [`Service`] for an
//! answer, sends it over HTTP/2 or HTTP/1.1, and commits the transport faults that were ordered.

mod connection;
mod frames;
mod http1;
mod http2;
mod listener;
mod request;

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use rustls::pki_types::CertificateDer;

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

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name in the TLS handshake.
    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// What a service wants to know of client certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// None is asked for.
    Ignored,
    /// One is asked for, and has to be valid where it is given.
    Optional,
}

/// Why a connection is closed by the simulator, for the debug data of GOAWAY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GoAwayCause {
    /// It was ordered, or the server stops.
    Shutdown,
    /// Nothing came for long.
    IdleTimeout,
    /// The client opened more streams than it may.
    ExcessStreams,
    /// A test said what to give as the reason.
    Named(String),
}

/// Judges requests. Plain functions of the request and of state behind short locks: no awaiting.
pub(crate) trait Service: Send + Sync + 'static {
    /// What the service remembers of one connection.
    type Connection: Send + Sync + 'static;

    /// What is spoken, the most welcome first.
    const PROTOCOLS: &'static [Protocol];

    /// What a client that offers no protocol in its TLS handshake is taken to speak; one that offers
    /// others only is refused by the handshake in any case.
    const UNASKED: Option<Protocol>;

    /// Whether clients may show a certificate.
    const CLIENT_CERTIFICATES: ClientCertificates = ClientCertificates::Ignored;

    /// The state of a new connection, whose client showed `certificate`.
    fn connected(&self, certificate: Option<&CertificateDer<'_>>) -> Self::Connection;

    /// The answer to one request. Accepted pushes are in the ledger when it returns.
    fn answer(&self, connection: &Self::Connection, head: &Parts, body: &Body) -> Answer;

    /// How many streams the connection may have open now, at most `configured`; asked after every
    /// answer.
    fn stream_limit(&self, _connection: &Self::Connection, configured: u32) -> u32 {
        configured
    }

    /// The debug data of a GOAWAY frame.
    fn go_away_data(&self, _cause: &GoAwayCause) -> Cow<'static, [u8]> {
        Cow::Borrowed(b"")
    }
}
