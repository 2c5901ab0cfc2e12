//! What the embedded graph can be told.

use std::path::PathBuf;

/// How an embedded graph is opened. Every number below its least value counts as that.
#[derive(Debug, Clone)]
pub struct EmbeddedGraphConfig {
    /// The graph's own directory; created if absent. One process at a time.
    pub path: PathBuf,
    /// Users that the graph may know; at least 1. About 300 bytes of memory each.
    pub max_users: u32,
    /// Commands that may wait for the writer; more wait in their callers. At least 1.
    pub writer_queue: usize,
    /// Edges at which a commit takes no further command; at least 1. An import is cut into pieces
    /// of at most this size.
    pub commit_edges: usize,
    /// Bytes that the store gathers in memory before it writes a sorted file; at least 64 KiB.
    pub memtable_bytes: u64,
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
        }
    }
}
