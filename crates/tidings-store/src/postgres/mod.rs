//! The store of many nodes: PostgreSQL.
//!
//! Any number of nodes work on one schema. What keeps them apart is the database: an append locks, in
//! this order, the positions and fan-outs that it moves on, the identities of its events, and the
//! inboxes that grow, each sorted, so that two appends wait for each other but never in a circle. The
//! lock on an inbox is what makes its `seq` contiguous in commit order; the lock on an identity is what
//! makes "once per person" hold before the unique index has to say so.
//!
//! Statements that need no answer of each other are sent together, so an append of new events takes
//! three round trips.

mod answers;
mod append;
mod checkpoints;
mod config;
mod connection;
mod dead_letters;
mod deliveries;
mod devices;
mod error;
mod events;
mod fan_outs;
mod inbox;
mod migrate;
mod notifications;
mod retention;
mod rows;
mod session;
mod store;
mod text;
mod tls;

pub use config::PostgresConfig;
pub use error::PostgresOpenError;
pub use store::{Migrate, PostgresStore};
