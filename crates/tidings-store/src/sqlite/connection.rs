//! The data directory: its lock, its database file, and how connections are set up.

use std::{
    fs::{DirBuilder, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{config::SqliteConfig, error::SqliteOpenError};

/// Only a person with the `sqlite3` tool holds a lock that we could meet.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// More than there are statements, so that each is prepared once per connection.
const STATEMENT_CACHE: usize = 64;

/// Makes the directory if it is absent and takes its lock.
///
/// The kernel lets go of the lock when the process ends, however it ends.
pub(super) fn lock_directory(config: &SqliteConfig) -> Result<File, SqliteOpenError> {
    let path = &config.path;
    let unusable = |source| SqliteOpenError::Directory { path: path.clone(), source };
    make_directory(path).map_err(unusable)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("store.lock"))
        .map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SqliteOpenError::InUse { path: path.clone() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn make_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    // Push tokens are in there: nobody else's to read.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn database_file(config: &SqliteConfig) -> PathBuf {
    config.path.join("store.db")
}

/// Makes the database's file, or the files that are there, readable to nobody else, whoever made the
/// directory. SQLite gives its log the mode of the database.
pub(super) fn protect_files(config: &SqliteConfig) -> Result<(), SqliteOpenError> {
    let unusable = |source| SqliteOpenError::Directory { path: config.path.clone(), source };
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::{
            fs::{Permissions, set_permissions},
            os::unix::fs::{OpenOptionsExt, PermissionsExt},
        };
        options.mode(0o600);
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            match set_permissions(config.path.join(name), Permissions::from_mode(0o600)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(unusable(error));
                }
                _ => {}
            }
        }
    }
    options.open(database_file(config)).map(drop).map_err(unusable)
}

pub(super) fn open_writer(config: &SqliteConfig) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = open(config, flags)?;
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        // SQLite answers with another mode where it cannot share memory, as on network disks.
        if mode == "wal" {
            Ok(())
        } else {
            Err(rusqlite::Error::InvalidPath(database_file(config)))
        }
    })?;
    // FULL: a commit is on the disk before it is answered. At group commits of a thousand rows it
    // costs no more than NORMAL, which may lose the last commits when the power fails.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // 8 MiB. The kernel has the pages too, so that a larger one saves little (4 % of a row's CPU at
    // 32 MiB), and below a GiB nearly every commit walks through all of it: SQLite swaps pages by way of
    // a number beyond the end, and looks for pages to forget there. What a commit changes beyond it
    // spills early.
    conn.pragma_update(None, "cache_size", -8_192)?;
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    Ok(conn)
}

/// A connection that folds the log, beside the one that writes.
pub(super) fn open_folder(config: &SqliteConfig) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = open(config, flags)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    Ok(conn)
}

pub(super) fn open_reader(config: &SqliteConfig) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = open(config, flags)?;
    conn.pragma_update(None, "cache_size", -8_192)?;
    Ok(conn)
}

fn open(config: &SqliteConfig, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(database_file(config), flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // No memory map: an I/O error would then be a signal that ends the process, not an error.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}
