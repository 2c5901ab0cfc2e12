//! Several nodes on one PostgreSQL and one Redis, tested by breaking things: real nodes as processes, a
//! Redis of the test's own, clients on every node. An oracle counts what each client was given.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says where it stood, and prints its log"
)]

mod clients;
mod faults;
#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod harness;
#[path = "../ingest/process.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod process;
mod producers;
mod recommendations;
mod redis;
mod rules;
mod scene;
#[path = "../ingest/until.rs"]
mod until;
