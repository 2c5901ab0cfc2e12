//! The server as a whole: its structure, its configuration, its API, and what survives a crash.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says where it stood, and prints its seed"
)]

mod api;
mod architecture;
mod auth;
mod configuration;
mod conformance;
mod crash;
mod dead_letters;
mod deliveries;
mod demo;
mod devices;
mod devices_pushed;
mod evaluate;
mod follow_events;
mod generated;
mod graph;
mod graph_cli;
mod harness;
mod hostile;
mod key_sets;
mod live;
mod neo4j;
mod offsets;
mod origins;
mod push;
mod pushing;
mod recommend_cli;
mod recommendations;
mod relations;
mod repeated;
mod simulate;
mod sse;
mod storm;
mod wire;
