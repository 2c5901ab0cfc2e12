//! What the embedded graph can be told.

use std::path::PathBuf;

/// How an embedded graph is opened. Every number below its least value counts as that.
#[derive(Debug, Clone)]
pub struct EmbeddedGraphConfig {
    /// The graph's own directory; created if absent. One process at a time.
    pub path: PathBuf,
    /// Users that the graph may know; at least 1. About 40 bytes of memory each,
    /// and 9 for each follow.
    pub max_users: u32,
    /// Commands that may wait for the writer; more wait in their callers. At least 1.
    pub writer_queue: usize,
    /// Edges at which a commit takes no further command; at least 1. An import is cut into pieces
    /// of at most this size.
    pub commit_edges: usize,
    /// Bytes of the log that are gathered in memory before they become a sorted file; at least 64 KiB.
    pub memtable_bytes: u64,
    /// Changes after which a snapshot is made, in the background; at least 1, and never before one in
    /// fifty follows has changed. Until then a change takes about 60 bytes of memory, and a start
    /// makes it again. A snapshot writes the whole graph.
    pub checkpoint_changes: usize,
}

impl EmbeddedGraphConfig {
    /// The defaults, for the directory `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_users: u32::MAX,
            writer_queue: 1_024,
            commit_edges: 10_000,
            memtable_bytes: 16 * 1024 * 1024,
            checkpoint_changes: 500_000,
        }
    }
}
