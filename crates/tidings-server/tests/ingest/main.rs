//! What comes in over Kafka, tested by breaking things: the real node as a process, real Kafka, real
//! PostgreSQL. Each test knows what it produced and reads everything back: nothing lost, nothing
//! twice, `seq` without holes, each bad record one dead letter.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says where it stood, and prints its seed"
)]

mod broker;
mod crash;
mod deadly;
mod differential;
mod disk;
mod fan_out;
mod follow_events;
#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod harness;
mod ledger;
mod moments_postgres;
mod moments_sqlite;
mod outages_kafka;
mod outages_postgres;
mod poison;
mod positions;
mod process;
mod proxy;
mod rebalance;
mod scene;
mod secured;
mod servers;
mod story;
mod until;
mod verify;
