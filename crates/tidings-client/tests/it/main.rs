//! The client against servers that a test holds in its hand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

mod api;
mod order;
mod reconnect;
mod server;
