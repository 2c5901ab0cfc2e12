//! Where notifications are kept: the adapters of the store ports.

pub mod sqlite;

pub use sqlite::{SqliteConfig, SqliteOpenError, SqliteStore};
