//! Apple Push Notification service, with a provider token.
//!
//! Sources, for all of this module: Apple developer documentation, "Sending notification requests to
//! APNs", "Handling notification responses from APNs", "Establishing a token-based connection to
//! APNs" (read 2026-11).

mod client;
mod error;
mod payload;
mod token;

pub use client::{ApnsClient, ApnsConfig};
