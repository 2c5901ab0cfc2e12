//! The graph on Neo4j against the contract of its port, against other nodes, and against the world.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says where it stood"
)]

mod agree;
mod commits;
mod contract;
mod faults;
mod harness;
mod nodes;
mod proxy;
mod schema;
mod server;
mod tls;
