//! Keeps the write-ahead log short without holding up commits.
//!
//! SQLite by itself folds the log into the database at the end of the commit that made it long, and all
//! commits wait for thousands of pages and their fsync. Here a thread with a connection of its own folds
//! what there is while commits go on, then what came meanwhile, and when little is left that is folded between
//! two of them. Only then does SQLite start the log over.

use std::{cell::Cell, io, path::PathBuf, sync::mpsc, time::Duration};

use rusqlite::Connection;

use super::{connection::BUSY_TIMEOUT, threads::Threads};

/// How long commits may stand still for readers that are in the log.
const PATIENCE: Duration = Duration::from_millis(100);

/// Pages of the log at which it is folded: 32 MiB. Pages of busy inboxes are written back once per
/// fold, so at SQLite's default of 4 MiB they would be eight times as often (30.7 us a row against 22;
/// 64 MiB: 21.7).
const FOLD_AT_PAGES: usize = 8_192;
/// Pages that are added before it is tried again, when a reader kept the log from being started over.
const FOLD_AGAIN_PAGES: usize = 1_024;

/// Pages that are left to be folded between two commits, unless folding beside them gets no nearer.
const LITTLE_PAGES: usize = 256;

thread_local! {
    /// Pages of the log after the last commit of this thread, which has one connection that writes.
    static PAGES: Cell<usize> = const { Cell::new(0) };
}

/// Folds the log when it is long.
///
/// SQLite starts the log over only when no reader is in it at that moment. With reads that always
/// overlap there is no such moment: then the log has to be folded in while commits wait, after which
/// new readers do without it.
#[derive(Debug)]
pub(super) struct WalGuard {
    path: PathBuf,
    max_bytes: u64,
    /// The size at which commits wait; higher for a while when a reader would not leave.
    act_at: u64,
    /// The pages at which the thread is asked to fold.
    fold_at: usize,
    /// Pages of the log after the last commit that was looked at.
    pages: usize,
    /// Pages that the last fold left; the log grows while it is folded.
    left: usize,
    folder: Option<Folder>,
}

impl WalGuard {
    /// Takes the place of SQLite's own folding; `beside` is the connection of the thread that folds.
    pub(super) fn new(conn: &Connection, beside: Connection, max_bytes: u64) -> io::Result<Self> {
        // In the place of `wal_autocheckpoint`: there is one hook.
        conn.wal_hook(Some(|_, pages| {
            PAGES.set(usize::try_from(pages).unwrap_or(0));
            Ok(())
        }));
        Ok(Self {
            path: PathBuf::from(format!("{}-wal", conn.path().unwrap_or_default())),
            max_bytes,
            act_at: max_bytes,
            fold_at: FOLD_AT_PAGES,
            pages: 0,
            left: usize::MAX,
            folder: Some(Folder::start(beside)?),
        })
    }

    /// To be called between transactions, by the thread that commits.
    pub(super) fn after_commit(&mut self, conn: &Connection) {
        let pages = PAGES.get();
        let is_started_over = pages < self.pages;
        self.pages = pages;
        if is_started_over {
            self.fold_at = FOLD_AT_PAGES;
            self.left = usize::MAX;
            if let Some(folder) = &mut self.folder {
                folder.forget();
            }
        }
        if pages >= self.fold_at
            && let Some(folder) = &mut self.folder
        {
            match folder.has_folded() {
                Some(folded) => {
                    let left = pages.saturating_sub(folded);
                    if left > LITTLE_PAGES && left < self.left / 2 {
                        self.left = left;
                        folder.ask();
                    } else {
                        // The next commit starts the log over, unless a reader is in it.
                        fold_what_is_free(conn);
                        self.left = usize::MAX;
                        self.fold_at = pages + FOLD_AGAIN_PAGES;
                    }
                }
                None => folder.ask(),
            }
        }
        self.limit(conn);
    }

    /// Folds all of a log that is too long, while commits wait.
    fn limit(&mut self, conn: &Connection) {
        let bytes = std::fs::metadata(&self.path).map_or(0, |it| it.len());
        if bytes <= self.act_at {
            return;
        }
        if let Some(folder) = &mut self.folder {
            // SQLite lets one connection fold at a time.
            folder.wait();
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

    /// Ends the thread and folds all: what a crash would leave to the next start. Harmless if it fails:
    /// the log stays.
    pub(super) fn close(&mut self, conn: &Connection) {
        self.folder = None;
        if let Err(error) = fold(conn) {
            tracing::warn!(%error, "the store's log could not be folded in");
        }
    }
}

/// The thread that folds beside the commits, one time after the other.
#[derive(Debug)]
struct Folder {
    // Before the thread: it ends when the requests do, and dropping it waits for that.
    requests: mpsc::SyncSender<()>,
    /// Up to which page of the log it has folded.
    answers: mpsc::Receiver<usize>,
    is_asked: bool,
    /// Whether the answer will be about a log that was started over since.
    is_stale: bool,
    _thread: Threads,
}

impl Folder {
    fn start(conn: Connection) -> io::Result<Self> {
        let (requests, asked) = mpsc::sync_channel(1);
        let (answer, answers) = mpsc::channel();
        let body = move || {
            while asked.recv().is_ok() && answer.send(fold_what_is_free(&conn)).is_ok() {}
        };
        let thread = Threads::start("tidings-fold", [body])?;
        Ok(Self { requests, answers, is_asked: false, is_stale: false, _thread: thread })
    }

    /// Lets it fold, unless it does.
    fn ask(&mut self) {
        if !self.is_asked {
            self.is_asked = self.requests.try_send(()).is_ok();
        }
    }

    /// Up to which page of the log it has folded, if it is done with what it was asked; says so once.
    fn has_folded(&mut self) -> Option<usize> {
        let folded = self.answers.try_recv().ok()?;
        self.is_asked = false;
        (!std::mem::take(&mut self.is_stale)).then_some(folded)
    }

    /// What it is folding, or has folded, is over.
    fn forget(&mut self) {
        self.is_stale = self.is_asked;
        self.has_folded();
    }

    /// Waits until it is done with what it was asked.
    fn wait(&mut self) {
        if std::mem::take(&mut self.is_asked) {
            // An error is as good: the thread is gone.
            let _folded = self.answers.recv();
            self.is_stale = false;
        }
    }
}

/// Folds what no reader needs, and waits for nobody. Returns up to which page of the log; none of them
/// if it cannot.
fn fold_what_is_free(conn: &Connection) -> usize {
    let folded: rusqlite::Result<i64> =
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2));
    match folded {
        // Negative if there is no log, or another connection folds it.
        Ok(pages) => usize::try_from(pages).unwrap_or(0),
        Err(error) => {
            tracing::warn!(%error, "the store's log could not be folded in");
            0
        }
    }
}

/// Folds the whole log into the database and empties it. Says whether readers let it.
fn fold(conn: &Connection) -> rusqlite::Result<bool> {
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
    use std::path::Path;

    use super::*;

    /// A database with a table `t` in `dir`, and a guard of its log.
    fn guarded(dir: &Path, max_bytes: u64) -> (Connection, WalGuard) {
        let path = dir.join("store.db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.execute_batch("CREATE TABLE t (x BLOB) STRICT").unwrap();
        let beside = Connection::open(&path).unwrap();
        let guard = WalGuard::new(&writer, beside, max_bytes).unwrap();
        (writer, guard)
    }

    #[test]
    fn the_log_is_emptied_as_soon_as_no_reader_is_in_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, mut guard) = guarded(dir.path(), 64 * 1024);
        let log_bytes = || std::fs::metadata(dir.path().join("store.db-wal")).unwrap().len();
        let mut write = |times| {
            for _ in 0..times {
                writer.execute("INSERT INTO t VALUES (zeroblob(20000))", []).unwrap();
                guard.after_commit(&writer);
            }
        };
        write(20);
        assert!(log_bytes() <= 128 * 1024, "{}", log_bytes());

        let reader = Connection::open(dir.path().join("store.db")).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
        write(20);
        assert!(log_bytes() > 256 * 1024, "{}", log_bytes());
        reader.execute_batch("COMMIT").unwrap();
        write(20);
        assert!(log_bytes() <= 128 * 1024, "{}", log_bytes());
    }

    #[test]
    fn a_log_is_started_over_while_commits_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, mut guard) = guarded(dir.path(), u64::MAX);
        let (mut commits, mut starts) = (0, 0);
        while starts < 2 {
            assert!(commits < FOLD_AT_PAGES, "the log only grows: {} pages", PAGES.get());
            let before = PAGES.get();
            writer.execute("INSERT INTO t VALUES (zeroblob(400000))", []).unwrap();
            guard.after_commit(&writer);
            commits += 1;
            starts += u32::from(PAGES.get() < before);
        }
        guard.close(&writer);
        assert_eq!(std::fs::metadata(dir.path().join("store.db-wal")).unwrap().len(), 0);
        let rows: i64 = writer.query_row("SELECT count(*) FROM t", [], |it| it.get(0)).unwrap();
        assert_eq!(usize::try_from(rows).unwrap(), commits);
    }
}
