//! Live sessions against an inbox in memory, over a socket that is a pair of queues.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says where it stood"
)]

mod doubles;
mod faults;
mod order;
mod rules;
