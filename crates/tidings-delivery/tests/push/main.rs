//! Push, from due to settled, against the simulators.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where it stood"
)]

mod apns;
mod apns_certificate;
mod connections;
mod connections_raw;
mod dispatch;
mod dispatch_faults;
mod dispatch_first;
mod dispatch_lanes;
mod fcm;
mod frames;
mod harness;
mod scripted;
mod secrets;
mod store;
mod webpush;
mod webpush_secrets;
mod wire;
