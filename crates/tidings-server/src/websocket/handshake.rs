//! The opening handshake (RFC 6455, section 4.2).

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts,
    },
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;

use super::connection::Connection;

/// What the accepted key is made with (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The version of the protocol (section 4.1).
const VERSION: &str = "13";

/// Why a request does not open a WebSocket connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHandshake {
    /// It does not ask for one, or not rightly.
    #[error("{0}")]
    Malformed(&'static str),
    /// It asks for another version of the protocol.
    #[error("Sec-WebSocket-Version has to be 13")]
    OtherVersion,
}

/// A request for a WebSocket connection that is in order.
pub(crate) struct Handshake {
    accept: HeaderValue,
    has_subprotocol: bool,
    subprotocol: &'static str,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// Checks a request. `subprotocol` is the one that is spoken here.
    pub(crate) fn new(parts: &mut Parts, subprotocol: &'static str) -> Result<Self, BadHandshake> {
        let headers = &parts.headers;
        if parts.method != Method::GET || parts.version != Version::HTTP_11 {
            return Err(BadHandshake::Malformed("WebSocket begins with a GET of HTTP/1.1"));
        }
        if !has_token(headers, &header::CONNECTION, "upgrade") {
            return Err(BadHandshake::Malformed("the Connection header has to say `upgrade`"));
        }
        if !has_token(headers, &header::UPGRADE, "websocket") {
            return Err(BadHandshake::Malformed("the Upgrade header has to say `websocket`"));
        }
        let versions = || headers.get_all(header::SEC_WEBSOCKET_VERSION).iter();
        if versions().count() != 1 || !versions().all(|version| version == VERSION) {
            return Err(BadHandshake::OtherVersion);
        }
        let accept = accept(headers)?;
        let has_subprotocol = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL)
            .any(|offered| offered == subprotocol.as_bytes());
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or(BadHandshake::Malformed("the connection has no upgrade"))?;
        Ok(Self { accept, has_subprotocol, subprotocol, upgrade })
    }

    /// The answer, and what becomes of the connection once it is sent. Extensions that were offered are
    /// declined by not being named.
    pub(crate) fn accept(self) -> (Response, Opening) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if self.has_subprotocol {
            let subprotocol = HeaderValue::from_static(self.subprotocol);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        (response, Opening(self.upgrade))
    }
}

/// A connection whose handshake is being answered.
pub(crate) struct Opening(OnUpgrade);

impl Opening {
    /// The connection, or `None` if it broke before. Its client may send messages of at most so many
    /// bytes.
    pub(crate) async fn connection(self, max_message_bytes: usize) -> Option<Connection> {
        let upgraded = match self.0.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a connection broke in its handshake");
                return None;
            }
        };
        // Out of all that HTTP needed: what remains is the stream, and what the client said early.
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => {
                let stream = parts.io.into_inner();
                Some(Connection::new(stream, &parts.read_buf, max_message_bytes))
            }
            Err(_) => {
                tracing::error!("an upgraded connection is no TCP stream");
                None
            }
        }
    }
}

fn accept(headers: &HeaderMap) -> Result<HeaderValue, BadHandshake> {
    let malformed = BadHandshake::Malformed("Sec-WebSocket-Key has to be 16 bytes in base64");
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(malformed) };
    match STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => {}
        _ => return Err(malformed),
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    HeaderValue::from_str(&STANDARD.encode(digest)).map_err(|_| malformed)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|it| it.eq_ignore_ascii_case(token.as_bytes()))
}

/// The members of a list that may be spread over several headers.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_is_accepted_as_there() {
        let mut headers = HeaderMap::new();
        headers.insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.append("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        assert!(accept(&headers).is_err(), "two keys");
        headers.insert("sec-websocket-key", "c2hvcnQ=".parse().unwrap());
        assert!(accept(&headers).is_err(), "a short key");
    }

    #[test]
    fn lists_are_read_over_headers_and_commas() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        headers.append(header::CONNECTION, "x".parse().unwrap());
        assert!(has_token(&headers, &header::CONNECTION, "upgrade"));
        assert!(!has_token(&headers, &header::CONNECTION, "grade"));
    }
}
