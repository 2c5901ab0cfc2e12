//! Keeps the write-ahead log from growing while readers never rest.

use std::{path::PathBuf, time::Duration};

use rusqlite::Connection;

use super::connection::BUSY_TIMEOUT;

/// How long commits may stand still for readers that are in the log.
const PATIENCE: Duration = Duration::from_millis(100);

/// SQLite folds the log into the database as it goes, but starts it over only when no reader is in
/// it at that moment. With reads that always overlap there is no such moment: then the log has to be
/// folded in while commits wait, after which new readers do without it.
#[derive(Debug)]
pub(super) struct WalGuard {
    path: PathBuf,
    max_bytes: u64,
    /// The size that is acted upon; higher for a while when a reader would not leave.
    act_at: u64,
}

impl WalGuard {
    pub(super) fn new(conn: &Connection, max_bytes: u64) -> Self {
        let path = PathBuf::from(format!("{}-wal", conn.path().unwrap_or_default()));
        Self { path, max_bytes, act_at: max_bytes }
    }

    /// To be called between transactions.
    pub(super) fn after_commit(&mut self, conn: &Connection) {
        let bytes = std::fs::metadata(&self.path).map_or(0, |it| it.len());
        if bytes <= self.act_at {
            return;
        }
        match fold(conn) {
            Ok(true) => self.act_at = self.max_bytes,
            Ok(false) => {
                tracing::warn!(size_bytes = bytes, "a reader keeps the store's log from shrinking");
                self.act_at = bytes.saturating_add(self.max_bytes);
            }
            Err(error) => {
                tracing::warn!(%error, size_bytes = bytes, "the store's log could not be folded in");
                self.act_at = bytes.saturating_add(self.max_bytes);
            }
        }
    }
}

/// Folds the whole log into the database and empties it. Says whether readers let it.
pub(super) fn fold(conn: &Connection) -> rusqlite::Result<bool> {
    conn.busy_timeout(PATIENCE)?;
    let folded = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        let busy: bool = row.get(0)?;
        Ok(!busy)
    });
    conn.busy_timeout(BUSY_TIMEOUT)?;
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_emptied_as_soon_as_no_reader_is_in_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE t (x BLOB) STRICT").unwrap();
        let mut guard = WalGuard::new(&writer, 64 * 1024);
        let log_bytes = || std::fs::metadata(dir.path().join("store.db-wal")).unwrap().len();
        let mut write = |times| {
            for _ in 0..times {
                writer.execute("INSERT INTO t VALUES (zeroblob(20000))", []).unwrap();
                guard.after_commit(&writer);
            }
        };
        write(20);
        assert!(log_bytes() <= 128 * 1024, "{}", log_bytes());

        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        write(20);
        assert!(log_bytes() > 256 * 1024, "{}", log_bytes());
        reader.execute_batch("COMMIT").unwrap();
        write(20);
        assert!(log_bytes() <= 128 * 1024, "{}", log_bytes());
    }
}
