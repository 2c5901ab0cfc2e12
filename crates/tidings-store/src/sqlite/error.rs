//! What goes wrong in SQLite, and what it means behind the ports.

use std::{path::PathBuf, sync::Arc};

use rusqlite::ErrorCode;
use tidings_core::ports::{BoxError, Claim, StoreError};

pub(super) const BACKEND: &str = "sqlite";

/// Why an embedded store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteOpenError {
    /// The data directory cannot be made or written to.
    #[error("data directory {} cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process, or another store of this one, has the directory open.
    #[error("data directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version of Tidings has written the directory.
    #[error(
        "data directory {} is of schema version {found}, this program knows up to {known}: \
         use the newer program",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest schema version that this program knows.
        known: u32,
    },
    /// A step of the upgrade failed; the directory is as it was before that step.
    #[error("data directory {} cannot be upgraded to schema version {version}", path.display())]
    Migration {
        /// The directory.
        path: PathBuf,
        /// The version that the step leads to.
        version: u32,
        /// The cause.
        source: BoxError,
    },
    /// The database cannot be opened.
    #[error("the database in {} cannot be opened", path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: BoxError,
    },
    /// A thread cannot be started.
    #[error("a thread of the store cannot be started")]
    Thread {
        /// The cause.
        #[from]
        source: std::io::Error,
    },
}

/// Why a command or a query failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Others have taken over what a batch was to move on.
    #[error("{} claims were taken over by others", .0.len())]
    Fenced(Vec<Claim>),
    /// SQLite said so.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A value is not what was once written.
    #[error("{what} cannot be read")]
    Unreadable { what: &'static str, source: BoxError },
}

impl Failure {
    pub(super) fn unreadable(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Unreadable { what, source: source.into() }
    }

    /// Whether it is one value that cannot be read, so that others may be.
    pub(super) fn is_of_a_row(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::Sqlite(error) => is_unreadable(error),
            Self::Fenced(_) => false,
        }
    }

    /// What the callers of the ports are told.
    pub(super) fn into_store_error(self, op: &'static str) -> StoreError {
        match self {
            Self::Fenced(claims) => StoreError::Fenced { claims },
            Self::Unreadable { what, source } => {
                StoreError::Corrupt { backend: BACKEND, what, source }
            }
            Self::Sqlite(error) if is_refusal(&error) => {
                StoreError::Refused { op, backend: BACKEND, source: error.into() }
            }
            Self::Sqlite(error) if is_corrupt(&error) => {
                StoreError::Corrupt { backend: BACKEND, what: "row", source: error.into() }
            }
            Self::Sqlite(error) => {
                StoreError::Unavailable { op, backend: BACKEND, source: error.into() }
            }
        }
    }
}

/// Whether it is the value that was to be written: it would be refused again.
fn is_refusal(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::ToSqlConversionFailure(..) => true,
        _ => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
        ),
    }
}

/// Whether it is what was read: a person has to look.
fn is_corrupt(error: &rusqlite::Error) -> bool {
    is_unreadable(error)
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
}

fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}

/// Why a whole transaction failed, told to everyone who had a part in it.
pub(super) type SharedCause = Arc<dyn std::error::Error + Send + Sync>;

pub(super) fn unavailable(op: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError::Unavailable { op, backend: BACKEND, source: source.into() }
}

/// The store is closing, or the thread behind the queue has gone.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
pub(super) struct Closed;

/// SQLite gave up a transaction on its own, as it does on some I/O errors.
#[derive(Debug, thiserror::Error)]
#[error("sqlite rolled the transaction back")]
pub(super) struct RolledBack;
