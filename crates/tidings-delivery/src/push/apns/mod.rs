//! Apple Push Notification service, with a provider token or a certificate.
//!
//! Sources, for all of this module: Apple developer documentation, "Sending notification requests to
//! APNs", "Handling notification responses from APNs", "Establishing a token-based connection to
//! APNs", "Establishing a certificate-based connection to APNs" (read 2026-11).

mod certificate;
mod client;
mod config;
mod error;
mod payload;
mod push_type;
mod token;

pub use certificate::ApnsCertificate;
pub use client::ApnsClient;
pub use config::{ApnsAuth, ApnsConfig};
pub(super) use payload::{collapse_id, priority};
pub use push_type::ApnsPushType;
