//! The embedded store: SQLite in a data directory of one process.
//!
//! One thread owns the only connection that writes. Callers queue commands; the thread takes what is
//! queued, runs the commands in one transaction, commits once, and then answers all; if one fails, they
//! run again, each under a savepoint of its own. So many small appends share one `fsync`, and what was answered is on the disk. Reads
//! go to threads with read-only connections beside it and see every commit that was answered.

mod answers;
mod append;
mod checkpoints;
mod config;
mod connection;
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
mod readers;
mod recommendation_feedback;
mod retention;
mod revocations;
mod rows;
mod store;
#[cfg(test)]
mod tests;
mod threads;
mod wal;
mod writer;

pub use config::SqliteConfig;
pub use error::SqliteOpenError;
pub use store::SqliteStore;
