//! The stores against the contract of its ports, and against the world.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

mod contract;
mod dead_letters;
mod directory;
mod kill;
mod open;
mod postgres;
mod postgres_devices;
mod postgres_differential;
mod postgres_faults;
mod postgres_log;
mod postgres_open;
mod postgres_retention;
mod postgres_schema;
mod postgres_server;
mod retention;
mod unreadable;
