//! A few HTTP/2 connections over TLS to one push service, kept alive by replacing them.
//!
//! What matters to a sender of pushes is whether a request that failed may have been processed:
//! [`Http2Error::is_unprocessed`]. What the server provably did not process is sent again here, at
//! once; what may have been is for the caller to repeat, under the same identity.
//!
//! `client` sends, `pool` gives out places on connections, `connection` is one of them and `pulse`
//! tells a silent one from a dead one.

mod client;
mod config;
mod connection;
mod credential;
mod error;
mod pool;
mod pulse;
mod tls;

pub(crate) use client::{Http2Client, Outgoing};
pub use config::ConnectionConfig;
pub(crate) use config::Endpoint;
pub(crate) use connection::Answer;
pub(crate) use credential::{CredentialSlot, Pinned};
pub(crate) use error::Http2Error;
pub(crate) use tls::{ClientIdentity, HTTP2_ONLY, Trust};
