//! The server's side of WebSocket (RFC 6455) on a bare TCP stream, made for connections that are idle
//! nearly always: one at rest owns no buffer. `docs/adr` says why this is not a library's.
//!
//! No extensions are spoken. [`decode`] takes bytes and knows nothing of sockets, [`connection`] moves
//! the bytes, [`handshake`] answers the request.

mod close;
mod connection;
mod decode;
mod encode;
mod handshake;
mod utf8;

pub(crate) use self::handshake::{BadHandshake, Handshake};
