//! Why an embedded graph cannot be opened, and what its failures mean behind the port.

use std::{path::PathBuf, sync::Arc};

use tidings_core::ports::{BoxError, GraphError};

/// The name of this technology in errors.
pub(super) const BACKEND: &str = "embedded";

/// Why an embedded graph could not be opened. Each names the path that a person should look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphOpenError {
    /// The directory cannot be made or written to.
    #[error("graph directory {} cannot be used", path.display())]
    Directory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process, or another store of this one, has the directory open.
    #[error("graph directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version of Tidings has written the directory.
    #[error(
        "graph directory {} is of format {found}, this program knows {known}: use the newer program",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// A file cannot be read: it is damaged, and so is what would make up for it, or the disk fails.
    #[error("{} of the graph cannot be read: restore the graph's directory from a backup", path.display())]
    Unreadable {
        /// The file, or the directory.
        path: PathBuf,
        /// The cause.
        source: BoxError,
    },
    /// What the files hold is not what was committed.
    #[error(
        "the graph is damaged at {} ({what}): restore the graph's directory from a backup",
        path.display()
    )]
    Damaged {
        /// The file, or the directory.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// The newest commits, which were acknowledged, are missing, or may be: the end of the log is damaged
    /// or gone.
    #[error(
        "the end of the log of the graph in {} is missing: it holds {held} commits, and at least \
         {acknowledged} were acknowledged: restore it from a backup, or remove {} to try to go on \
         without what is missing",
        path.display(), head.display()
    )]
    Lost {
        /// The store's directory.
        path: PathBuf,
        /// The file that knows what was acknowledged.
        head: PathBuf,
        /// Commits that the store holds.
        held: u64,
        /// Commits that were acknowledged, as far as is known.
        acknowledged: u64,
    },
    /// A graph of an earlier format cannot be written in the present one; it is still there.
    #[error("the graph in {} cannot be written in the present format", path.display())]
    Upgrade {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: BoxError,
    },
    /// A thread cannot be started.
    #[error("the thread of the graph cannot be started")]
    Thread {
        /// The cause.
        source: std::io::Error,
    },
}

/// Why a commit failed, told to everyone who had a part in it, and to all who come later.
pub(super) type SharedCause = Arc<dyn std::error::Error + Send + Sync>;

pub(super) fn unavailable(op: &'static str, source: impl Into<BoxError>) -> GraphError {
    GraphError::Unavailable { op, backend: BACKEND, source: source.into() }
}

/// The graph is closing, or the thread behind the queue has gone.
#[derive(Debug, thiserror::Error)]
#[error("the graph is closed")]
pub(super) struct Closed;

/// A thread panicked while it changed the index.
#[derive(Debug, thiserror::Error)]
#[error("the index of the graph was left half changed")]
pub(super) struct HalfChanged;
