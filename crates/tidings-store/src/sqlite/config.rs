//! What the embedded store can be told.

use std::path::PathBuf;

/// How an embedded store is opened. Every number below 1 counts as 1.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The data directory; created if absent. One process at a time.
    pub path: PathBuf,
    /// Dead letters that are kept; beyond it the oldest are dropped.
    pub dead_letters_max: u64,
    /// Connections that read, each with a thread of its own and up to 8 MiB of cache.
    pub reader_connections: usize,
    /// Reads that may wait for a connection; more wait in their callers.
    pub reader_queue: usize,
    /// Commands that may wait for the writer; more wait in their callers.
    pub writer_queue: usize,
    /// The most commands in one commit.
    pub commit_commands: usize,
    /// Rows at which a commit takes no further command.
    pub commit_rows: usize,
    /// Bytes that the write-ahead log may have. It is folded into the database long before that
    /// unless reads overlap all the time; above it, commits wait up to 100 ms for the reads to end.
    pub wal_bytes_max: u64,
    /// Inboxes whose counters the writer remembers: about 120 bytes each.
    pub inbox_cache: usize,
}

impl SqliteConfig {
    /// The defaults, for the data directory `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            dead_letters_max: 100_000,
            reader_connections: 4,
            reader_queue: 1_024,
            writer_queue: 1_024,
            commit_commands: 1_024,
            commit_rows: 20_000,
            wal_bytes_max: 256 * 1024 * 1024,
            inbox_cache: 200_000,
        }
    }
}
