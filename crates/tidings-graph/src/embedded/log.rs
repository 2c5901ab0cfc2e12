//! The log: every commit, durable before it is answered, until a snapshot holds it.
//!
//! Each generation of the log is a fjall store of its own, in a directory of its own: when it is no
//! longer needed, it goes as a whole, with every id that it held. A commit is a batch of rows, under its
//! number and the place in it.
//!
//! Rows are small on purpose: a page of the journal that a power failure kept from the disk reads as
//! zeros, and then holds the head of at least one row. There fjall sees the torn end of the last
//! commit, which nobody was told of, and drops it; within a longer row it would refuse to open.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{
    bits::{put_varint, take_varint, to_usize},
    snapshot::sync_directory,
};

/// Content of one row.
const ROW_BYTES: usize = 1_024;
/// The log is read at the start, once, from one end to the other.
const BLOCK_CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// What a start may have to replay into fjall, at most about: a second or two.
const JOURNAL_BYTES: u64 = 128 * 1024 * 1024;
const LEAST_MEMTABLE_BYTES: u64 = 64 * 1024;
const GONE: &str = "gone";
const UNFINISHED: &str = "new";

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("the log cannot be read")]
    Unreadable(#[from] fjall::Error),
    #[error("the log is damaged: {0}")]
    Damaged(&'static str),
}

/// One generation of the log.
pub(super) struct Log {
    rows: Keyspace,
    db: Database,
    generation: u64,
}

/// The directory of a generation.
pub(super) fn path_of(directory: &Path, generation: u64) -> PathBuf {
    directory.join(format!("log-{generation:08x}"))
}

/// The generations of a directory, the oldest first.
pub(super) fn generations(directory: &Path) -> io::Result<Vec<u64>> {
    let mut generations = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|it| it.strip_prefix("log-"));
        generations.extend(number.and_then(|it| u64::from_str_radix(it, 16).ok()));
    }
    generations.sort_unstable();
    Ok(generations)
}

/// Removes what a crash left half made or half removed.
pub(super) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_log =
            path.file_name().and_then(|it| it.to_str()).is_some_and(|it| it.starts_with("log-"));
        if is_log && path.extension().is_some_and(|it| it == GONE || it == UNFINISHED) {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Removes a generation that is not needed.
pub(super) fn remove(directory: &Path, generation: u64) -> io::Result<()> {
    let path = path_of(directory, generation);
    // Under this name nobody takes it for a generation that lost something.
    let gone = path.with_extension(GONE);
    fs::rename(&path, &gone)?;
    fs::remove_dir_all(gone)
}

impl Log {
    /// Makes a whole store and only then gives it its name: a store that a crash left half made, which
    /// fjall could not open, is made again.
    pub(super) fn create(
        directory: &Path,
        generation: u64,
        memtable_bytes: u64,
    ) -> Result<Self, LogError> {
        let path = path_of(directory, generation);
        let unfinished = path.with_extension(UNFINISHED);
        let made = || -> fjall::Result<()> {
            if unfinished.try_exists()? {
                fs::remove_dir_all(&unfinished)?;
            }
            let (db, rows) = open_store(&unfinished, memtable_bytes)?;
            db.persist(PersistMode::SyncAll)?;
            drop((rows, db));
            fs::rename(&unfinished, &path)?;
            sync_directory(directory)?;
            Ok(())
        };
        // It is there already if it was made and could not be opened.
        if !path.try_exists().map_err(fjall::Error::from)? {
            made()?;
        }
        Self::open(directory, generation, memtable_bytes)
    }

    pub(super) fn open(
        directory: &Path,
        generation: u64,
        memtable_bytes: u64,
    ) -> Result<Self, LogError> {
        let (db, rows) = open_store(&path_of(directory, generation), memtable_bytes)?;
        Ok(Self { rows, db, generation })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes a commit durable.
    pub(super) fn append(&self, commit: u64, bytes: &[u8]) -> fjall::Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        let mut first = Vec::with_capacity(ROW_BYTES);
        put_varint(&mut first, bytes.len() as u64);
        let (head, rest) = bytes.split_at(bytes.len().min(ROW_BYTES - first.len()));
        first.extend_from_slice(head);
        batch.insert(&self.rows, row_key(commit, 0), first);
        for (part, content) in (1..).zip(rest.chunks(ROW_BYTES)) {
            batch.insert(&self.rows, row_key(commit, part), content);
        }
        batch.commit()
    }

    /// Shows the commits from number `from` on to `take`, in their order; there has to be each.
    pub(super) fn replay(
        &self,
        from: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut next = Row { commit: from, part: 0 };
        let mut bytes = Vec::new();
        let mut left = 0;
        for row in self.rows.range(row_key(from, 0)..) {
            let (key, value) = row.into_inner()?;
            let row = Row::of_key(&key).ok_or(LogError::Damaged("a row has no number"))?;
            if row != next {
                return Err(LogError::Damaged("a row is missing"));
            }
            let mut content = &value[..];
            if row.part == 0 {
                let length = take_varint(&mut content).map(to_usize);
                left = length.ok_or(LogError::Damaged("a row has no length"))?;
            }
            bytes.extend_from_slice(content);
            let rest = left.checked_sub(content.len());
            left = rest.ok_or(LogError::Damaged("a row is too long"))?;
            next.part += 1;
            if left == 0 {
                take(&bytes)?;
                bytes.clear();
                next = Row { commit: next.commit + 1, part: 0 };
            }
        }
        if next.part == 0 { Ok(()) } else { Err(LogError::Damaged("a row is missing")) }
    }

    /// The row store, to be spoilt.
    #[cfg(test)]
    pub(super) fn rows(&self) -> &Keyspace {
        &self.rows
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    commit: u64,
    part: u32,
}

impl Row {
    fn of_key(key: &[u8]) -> Option<Self> {
        let (commit, part) = key.split_first_chunk()?;
        let part = u32::from_be_bytes(part.try_into().ok()?);
        Some(Self { commit: u64::from_be_bytes(*commit), part })
    }
}

pub(super) fn row_key(commit: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&commit.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn open_store(path: &Path, memtable_bytes: u64) -> fjall::Result<(Database, Keyspace)> {
    let db = Database::builder(path)
        .cache_size(BLOCK_CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        .worker_threads(1)
        .open()?;
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable_bytes.max(LEAST_MEMTABLE_BYTES))
            // Rows are never looked up by key.
            .filter_policy(fjall::config::FilterPolicy::disabled())
    };
    let rows = db.keyspace("commits", options)?;
    Ok((db, rows))
}
