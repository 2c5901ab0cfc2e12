//! The embedded store against the contract of its ports, and against the world.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

mod contract;
mod directory;
mod kill;
mod open;
mod retention;
mod unreadable;
