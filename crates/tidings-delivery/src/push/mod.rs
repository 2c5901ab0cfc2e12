//! Push services: what they are told, and what their answers mean.
//!
//! Each provider has the same shape: `client` sends, `error` is the table from answers to verdicts,
//! and one file makes the message, one the credential. Those with one host speak HTTP/2 through
//! `http2`; browsers' push services may be anywhere and have a transport of their own.

mod answer;
pub mod apns;
mod details;
mod error;
pub mod fcm;
mod fit;
mod http2;
#[cfg(test)]
mod sample;
mod secret;
pub mod webpush;

pub use apns::{ApnsAuth, ApnsCertificate, ApnsClient, ApnsConfig, ApnsPushType};
pub use error::PushSetupError;
pub use fcm::{FcmClient, FcmConfig};
pub use http2::ConnectionConfig;
pub use secret::SecretText;
pub use webpush::{VapidKey, WebPushClient, WebPushConfig};
