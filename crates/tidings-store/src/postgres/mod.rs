//! The store of many nodes: PostgreSQL.
//!
//! Any number of nodes work on one schema. What keeps them apart is the database: an append locks, in
//! this order, the positions and fan-outs that it moves on, the identities of its events, and the
//! inboxes that grow, each sorted, so that two appends wait for each other but never in a circle. The
//! lock on an inbox is what makes its `seq` contiguous in commit order; the lock on an identity is what
//! makes "once per person" hold before the unique index has to say so.
//!
//! Statements that need no answer of each other are sent together, and what is many rows goes by
//! `COPY`, so an append of new events takes five round trips, whatever their number; those for inboxes
//! come last, because others wait for them.
//!
//! # Sharding
//!
//! What grows with the users is partitioned by the hash of `inbox`, and events by that of their number;
//! a database that spreads tables over machines can take the same columns. `YugabyteDB` does so by the
//! first column of each primary key. With Citus the tables would be made without our partitions, and
//! distributed: `inbox`, `notification`, `due_push` and `delivery` by `inbox`, together; `event` by
//! `event`, `event_key` by `key`; the rest as reference tables or on the coordinator; lists then read
//! notifications and their events from two places. Neither is tested.
//!
//! A pooler between us and the server has to keep prepared statements apart (`PgBouncer` does from 1.21
//! on, in transaction mode) and to pass the start-up parameter `options` on.

mod answers;
mod append;
mod checkpoints;
mod config;
mod connection;
mod copy;
mod dead_letters;
mod deliveries;
mod delivery_log;
mod devices;
mod error;
mod events;
mod fan_outs;
mod inbox;
mod migrate;
mod notifications;
mod pages;
mod recommendation_feedback;
mod retention;
mod revocations;
mod rows;
mod session;
mod store;
mod text;
mod tls;

pub use config::PostgresConfig;
pub use error::PostgresOpenError;
pub use store::{Migrate, PostgresStore};
