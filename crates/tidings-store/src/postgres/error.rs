//! What goes wrong in PostgreSQL, and what it means behind the ports.

use std::path::PathBuf;

use deadpool_postgres::PoolError;
use tidings_core::ports::{BoxError, Claim, StoreError};
use tokio_postgres::error::SqlState;

pub(super) const BACKEND: &str = "postgres";

/// Why a PostgreSQL store could not be opened. None of it shows the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresOpenError {
    /// The URL cannot be read. What is wrong with it is not said: it might be a part of the password.
    #[error("the database URL is not of the form postgres://user:password@host:port/database")]
    Url,
    /// The name of the schema cannot be one.
    #[error("schema {schema:?} has other characters than a-z, 0-9 and _, or too many")]
    Schema {
        /// The name.
        schema: String,
    },
    /// The file with certificates cannot be used.
    #[error("the certificates in {} cannot be used", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: BoxError,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls {
        /// The cause.
        source: BoxError,
    },
    /// The database did not answer, or did not let us in.
    #[error("{server} cannot be used")]
    Unreachable {
        /// Hosts, ports and database.
        server: String,
        /// The cause.
        source: BoxError,
    },
    /// The database cannot hold every text.
    #[error("{server} has the encoding {encoding}: create the database with encoding UTF8")]
    Encoding {
        /// Hosts, ports and database.
        server: String,
        /// Its encoding.
        encoding: String,
    },
    /// An older version of Tidings has made the schema, or none has.
    #[error(
        "{server} is of schema version {found}, this program needs {known}: run `tidings migrate`"
    )]
    Outdated {
        /// Hosts, ports and database.
        server: String,
        /// Its schema version; 0 if there is nothing.
        found: u32,
        /// The schema version of this program.
        known: u32,
    },
    /// A newer version of Tidings has upgraded the schema.
    #[error(
        "{server} is of schema version {found}, this program knows up to {known}: \
         use the newer program"
    )]
    Newer {
        /// Hosts, ports and database.
        server: String,
        /// Its schema version.
        found: u32,
        /// The newest schema version that this program knows.
        known: u32,
    },
    /// A step of the upgrade failed; the schema is as it was before that step.
    #[error("{server} cannot be upgraded to schema version {version}")]
    Migration {
        /// Hosts, ports and database.
        server: String,
        /// The version that the step leads to.
        version: u32,
        /// The cause.
        source: BoxError,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Others have taken over what a batch was to move on.
    #[error("{} claims were taken over by others", .0.len())]
    Fenced(Vec<Claim>),
    /// PostgreSQL said so, or the way to it.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// There was no connection.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Somebody else came between; from the start it may go well.
    #[error("{0} changed meanwhile")]
    Overtaken(&'static str),
    /// The call took too long.
    #[error("no answer within {0:?}")]
    Late(std::time::Duration),
    /// A value that will never be taken.
    #[error("{0}")]
    Refused(&'static str),
    /// A value is not what was once written.
    #[error("{what} cannot be read")]
    Unreadable { what: &'static str, source: BoxError },
}

/// What to do after a failure with the connection it happened on, and with the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aftermath {
    /// Whether the connection is of no use any more.
    pub(super) discard: bool,
    /// Whether the command may go well from the start, at once.
    pub(super) retry: bool,
}

impl Failure {
    pub(super) fn unreadable(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Unreadable { what, source: source.into() }
    }

    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Postgres(error) => error.code(),
            Self::Pool(PoolError::Backend(error)) => error.code(),
            _ => None,
        }
    }

    pub(super) fn aftermath(&self) -> Aftermath {
        if matches!(self, Self::Overtaken(_)) {
            return Aftermath { discard: false, retry: true };
        }
        let Self::Postgres(error) = self else {
            return Aftermath { discard: matches!(self, Self::Late(_)), retry: false };
        };
        match error.code() {
            // Two wanted what the other had, or had just made.
            Some(
                &(SqlState::T_R_SERIALIZATION_FAILURE
                | SqlState::T_R_DEADLOCK_DETECTED
                | SqlState::UNIQUE_VIOLATION),
            ) => Aftermath { discard: false, retry: true },
            // The schema or a pooler has changed under a prepared statement.
            Some(&(SqlState::FEATURE_NOT_SUPPORTED | SqlState::INVALID_SQL_STATEMENT_NAME)) => {
                Aftermath { discard: true, retry: true }
            }
            // It has become a standby: a new connection finds the one that takes writes.
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Aftermath { discard: true, retry: false },
            Some(_) => Aftermath { discard: error.is_closed(), retry: false },
            None => Aftermath { discard: true, retry: false },
        }
    }

    /// What the callers of the ports are told.
    pub(super) fn into_store_error(self, op: &'static str) -> StoreError {
        let code = self.code().map(|code| code.code().to_owned()).unwrap_or_default();
        match (self, code.get(..2)) {
            (Self::Fenced(claims), _) => StoreError::Fenced { claims },
            (Self::Unreadable { what, source }, _) => {
                StoreError::Corrupt { backend: BACKEND, what, source }
            }
            // A value out of range or against a rule, or too long for a row: it would be refused again.
            (Self::Postgres(error), Some("22" | "23" | "54")) => {
                StoreError::Refused { op, backend: BACKEND, source: error.into() }
            }
            (failure @ Self::Refused(_), _) => {
                StoreError::Refused { op, backend: BACKEND, source: failure.into() }
            }
            // A page or an index that is not what it was.
            (Self::Postgres(error), _) if code == "XX001" || code == "XX002" => {
                StoreError::Corrupt { backend: BACKEND, what: "page", source: error.into() }
            }
            (Self::Postgres(error), _) => unavailable(op, error),
            (failure, _) => unavailable(op, failure),
        }
    }
}

fn unavailable(op: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError::Unavailable { op, backend: BACKEND, source: source.into() }
}
