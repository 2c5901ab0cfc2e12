//! Where notifications are kept: the adapters of the store ports.

mod headers;
mod log_scan;
pub mod postgres;
pub mod sqlite;

pub use postgres::{Migrate, PostgresConfig, PostgresOpenError, PostgresStore};
pub use sqlite::{SqliteConfig, SqliteOpenError, SqliteStore};
