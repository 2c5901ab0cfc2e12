//! Why a graph on Neo4j cannot be opened, and what its failures mean behind the port.

use std::{path::PathBuf, sync::Arc};

use neo4j::Neo4jError;
use tidings_core::ports::{BoxError, GraphError};

/// The name of this technology in errors.
pub(super) const BACKEND: &str = "neo4j";

/// Why a graph on Neo4j could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Neo4jOpenError {
    /// The address is not one.
    #[error("the address of Neo4j cannot be used: it is {expected}")]
    Address {
        /// What it has to be.
        expected: &'static str,
        /// The cause.
        source: BoxError,
    },
    /// The prefix is not one.
    #[error("the prefix {prefix:?} has to be an ASCII letter and up to 31 letters and digits")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// The database holds the graph of a prefix that differs in case only, and would share its names.
    #[error(
        "the prefix {prefix} differs from {other}, of another graph in the database, in upper and \
         lower case only"
    )]
    PrefixTaken {
        /// The prefix.
        prefix: String,
        /// The other graph's.
        other: String,
    },
    /// The certificates cannot be read.
    #[error("the certificates in {} cannot be used", path.display())]
    Certificates {
        /// Their file.
        path: PathBuf,
        /// The cause.
        source: BoxError,
    },
    /// TLS cannot be set up.
    #[error("TLS to Neo4j cannot be set up")]
    Tls {
        /// The cause.
        source: BoxError,
    },
    /// The server is too old.
    #[error("the server is Neo4j {found}: 5.23 or later is needed")]
    ServerTooOld {
        /// Its version.
        found: String,
    },
    /// A newer version of Tidings has made the schema.
    #[error(
        "the graph {prefix} is of schema {found}, this program knows {known}: use the newer program"
    )]
    Newer {
        /// The graph's prefix.
        prefix: String,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The server does not answer, or refuses: the cause says why.
    #[error("Neo4j cannot be used")]
    Server {
        /// The cause.
        source: BoxError,
    },
    /// A thread cannot be started.
    #[error("a thread of the graph cannot be started")]
    Thread {
        /// The cause.
        source: std::io::Error,
    },
}

/// Why a query or a transaction gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    /// The driver or the server says why.
    #[error(transparent)]
    Bolt(Arc<Neo4jError>),
    /// What was read is not what the graph writes.
    #[error("{0} is not what the graph keeps there")]
    Unreadable(&'static str),
    /// The threads have gone.
    #[error("the graph is closed")]
    Closed,
    /// The time is over.
    #[error("there was no answer within {0} ms")]
    TimedOut(u128),
}

impl From<Neo4jError> for Failure {
    fn from(error: Neo4jError) -> Self {
        Self::Bolt(Arc::new(error))
    }
}

impl Failure {
    /// As the port says it.
    pub(super) fn behind(self, op: &'static str) -> GraphError {
        match self {
            Self::Unreadable(what) => {
                GraphError::Corrupt { backend: BACKEND, what, source: Box::new(self) }
            }
            _ => GraphError::Unavailable { op, backend: BACKEND, source: Box::new(self) },
        }
    }
}

/// Whether the same may succeed a moment later. After a lost connection nobody knows whether what was
/// asked for was done: only what may be done twice, or can be found out, is tried again.
pub(super) fn is_passing(error: &Neo4jError) -> bool {
    match error {
        Neo4jError::Disconnect { .. } => true,
        // A server that stops ends its transactions with these, which the driver takes for final.
        Neo4jError::ServerError { error: server, .. } => {
            error.is_retryable()
                || matches!(
                    server.code(),
                    "Neo.ClientError.Transaction.Terminated"
                        | "Neo.ClientError.Transaction.LockClientStopped"
                )
        }
        _ => false,
    }
}
