//! One HTTP/2 connection over TLS to one push service, kept alive by replacing it.
//!
//! What matters to a sender of pushes is whether a request that failed may have been processed:
//! [`Http2Error::is_unprocessed`]. What the server provably did not process is sent again here, at
//! once; what may have been is for the caller to repeat, under the same identity.

mod client;
mod config;
mod connection;
mod error;
mod gate;
mod tls;

pub(crate) use client::{Http2Client, Outgoing};
pub use config::ConnectionConfig;
pub(crate) use config::Endpoint;
pub(crate) use connection::Answer;
pub(crate) use error::Http2Error;
pub(crate) use tls::Trust;
