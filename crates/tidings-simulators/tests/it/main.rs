//! The simulators, driven over the wire by a bare HTTP/2 client.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a helper that fails fails its test; clippy exempts only the test functions themselves"
)]

mod apns;
mod apns_certificates;
mod apns_devices;
mod apns_streams;
mod apns_tokens;
mod client;
mod clock;
mod faults;
mod fcm;
mod fcm_messages;
mod fcm_oauth;
mod ledger;
mod raw;
mod transport;
mod webpush;
