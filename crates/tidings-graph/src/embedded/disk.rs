//! The graph on disk.
//!
//! Three keyspaces of one fjall database: `users` (number to id), `edges` (edge number to source,
//! target, time and kind) and `state` (one row, rewritten by each commit). A commit is one batch over
//! all three, synced before it returns. Edge numbers only grow, so edges arrive in the order of their
//! keys, and reading them back in key order gives every list in its own order without sorting.
//!
//! Rows are small on purpose: a page of the journal that a power failure kept from the disk reads as
//! zeros, and then holds the head of at least one row. There fjall sees the torn end of the last
//! commit, which nobody was told of, and drops it; within a longer row it would refuse to open.

use std::{
    fs,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tidings_core::ids::UserId;

use super::{
    config::EmbeddedGraphConfig,
    digest::Digest,
    error::{GraphOpenError, SharedCause},
    group::Group,
    head::Head,
    index::Index,
    rows::{self, FORMAT, State},
};

const STATE_KEY: &[u8] = b"state";
/// The whole graph is read once, at the start, and never again.
const BLOCK_CACHE_BYTES: u64 = 4 * 1024 * 1024;
const LEAST_MEMTABLE_BYTES: u64 = 64 * 1024;
/// What a start may have to replay, at most about: a few seconds.
const JOURNAL_BYTES: u64 = 128 * 1024 * 1024;

/// The open store. The writer owns it.
pub(super) struct Disk {
    users: Keyspace,
    edges: Keyspace,
    state_row: Keyspace,
    db: Database,
    head: Head,
    state: State,
}

impl Disk {
    /// Opens or makes the store under the directory of `config`, which is locked, and reads it.
    pub(super) fn open(config: &EmbeddedGraphConfig) -> Result<(Self, Index), GraphOpenError> {
        let path = config.path.join("edges");
        let (head, acknowledged) = Head::open(&config.path)?;
        make_if_absent(config, &path)?;
        let unreadable = |source: fjall::Error| GraphOpenError::Unreadable {
            path: path.clone(),
            source: source.into(),
        };
        // Over damaged files fjall may panic where it should fail. Nothing of it outlives the panic.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let (db, [users, edges, state_row]) =
                open_database(config, &path).map_err(unreadable)?;
            let mut disk = Self { users, edges, state_row, db, head, state: State::default() };
            let index = disk.load(&path, acknowledged)?;
            Ok((disk, index))
        }));
        opened.unwrap_or_else(|panic| {
            let source = panic_message(panic.as_ref()).into();
            Err(GraphOpenError::Unreadable { path: path.clone(), source })
        })
    }

    /// Reads everything, and proves that it is what was committed, all of it.
    fn load(&mut self, path: &Path, acknowledged: u64) -> Result<Index, GraphOpenError> {
        let damaged = |what| GraphOpenError::Damaged { path: path.to_owned(), what };
        let unreadable = |source: fjall::Error| GraphOpenError::Unreadable {
            path: path.to_owned(),
            source: source.into(),
        };
        self.state = match self.state_row.get(STATE_KEY).map_err(unreadable)? {
            None => State::default(),
            Some(row) => match State::decode(&row) {
                Some((_, Some(state))) => state,
                Some((found, None)) if found > FORMAT => {
                    let path = path.to_owned();
                    return Err(GraphOpenError::Newer { path, found, known: FORMAT });
                }
                _ => return Err(damaged("its state row is not one")),
            },
        };
        if self.state.commits < acknowledged {
            return Err(GraphOpenError::Lost {
                path: path.to_owned(),
                head: self.head.path().to_owned(),
                held: self.state.commits,
                acknowledged,
            });
        }
        let mut index = Index::default();
        let mut digest = Digest::default();
        for row in self.users.iter() {
            let (key, value) = row.into_inner().map_err(unreadable)?;
            let text = std::str::from_utf8(&value).ok().map(UserId::new);
            let (Some(Ok(id)), Ok(number)) = (text, u32::try_from(index.users())) else {
                return Err(damaged("a user row is not one"));
            };
            if *key != number.to_be_bytes() || index.user(&id).is_some() {
                return Err(damaged("a user is missing or twice there"));
            }
            digest.add_user(number, id.as_str());
            index.add_user(id);
        }
        for row in self.edges.iter() {
            let (key, value) = row.into_inner().map_err(unreadable)?;
            let edge =
                rows::decode_edge(&key, &value).ok_or_else(|| damaged("an edge row is not one"))?;
            let users = index.users();
            if edge.source as usize >= users || edge.target as usize >= users {
                return Err(damaged("an edge has an end that is no user"));
            }
            digest.add_edge(&edge);
            index.add(&edge);
        }
        index.shrink();
        let found = State {
            users: index.users() as u64,
            follows: index.follows(),
            digest,
            blocks: index.blocks(),
            mutes: index.mutes(),
            ..self.state
        };
        if found != self.state {
            return Err(damaged("its rows are not those that were committed"));
        }
        Ok(index)
    }

    /// The number of the next new edge.
    pub(super) fn next_number(&self) -> u64 {
        self.state.next_number
    }

    /// Makes the changes of `group` durable. After an error nobody knows whether they are, and
    /// nothing more may be written: the file system may have dropped what it could not sync.
    pub(super) fn commit(&mut self, group: &Group) -> Result<(), SharedCause> {
        let mut state = self.state;
        state.commits += 1;
        state.next_number = group.next_number();
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for id in group.new_users() {
            let number = u32::try_from(state.users).unwrap_or(u32::MAX);
            batch.insert(&self.users, number.to_be_bytes(), id.as_str());
            state.digest.add_user(number, id.as_str());
            state.users += 1;
        }
        for edge in group.removed() {
            batch.remove(&self.edges, edge.number.to_be_bytes());
            state.digest.remove_edge(edge);
            *state.edges(edge.kind) -= 1;
        }
        for edge in group.added() {
            batch.insert(&self.edges, edge.number.to_be_bytes(), rows::encode_edge(edge));
            state.digest.add_edge(edge);
            *state.edges(edge.kind) += 1;
        }
        batch.insert(&self.state_row, STATE_KEY, state.encode());
        let shared = |error: fjall::Error| -> SharedCause { std::sync::Arc::new(error) };
        batch.commit().map_err(shared)?;
        let noted = self.head.note(state.commits);
        noted.map_err(|error| -> SharedCause { std::sync::Arc::new(error) })?;
        self.state = state;
        Ok(())
    }

    /// Closes the store. Everything is durable already; this makes the head file so too.
    pub(super) fn close(self) {
        if let Err(error) = self.head.sync() {
            tracing::warn!(%error, path = %self.head.path().display(), "the head file is not synced");
        }
    }
}

/// Makes a whole store and only then gives it its name: a store that a crash left half made, which
/// fjall could not open, is made again.
fn make_if_absent(config: &EmbeddedGraphConfig, path: &Path) -> Result<(), GraphOpenError> {
    let unusable = |source| GraphOpenError::Directory { path: config.path.clone(), source };
    if path.try_exists().map_err(unusable)? {
        return Ok(());
    }
    let unfinished = path.with_extension("new");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(error)),
        _ => {}
    }
    let made = open_database(config, &unfinished)
        .and_then(|(db, keyspaces)| {
            db.persist(PersistMode::SyncAll)?;
            drop(keyspaces);
            Ok(())
        })
        .map_err(|source| GraphOpenError::Unreadable {
            path: unfinished.clone(),
            source: source.into(),
        });
    made?;
    fs::rename(&unfinished, path).map_err(unusable)?;
    fs::File::open(&config.path).and_then(|it| it.sync_all()).map_err(unusable)
}

fn open_database(
    config: &EmbeddedGraphConfig,
    path: &PathBuf,
) -> fjall::Result<(Database, [Keyspace; 3])> {
    let db = Database::builder(path)
        .cache_size(BLOCK_CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        .worker_threads(1)
        .open()?;
    let memtable_bytes = config.memtable_bytes.max(LEAST_MEMTABLE_BYTES);
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable_bytes)
            // Rows are never looked up by key.
            .filter_policy(fjall::config::FilterPolicy::disabled())
    };
    let keyspaces = [
        db.keyspace("users", options)?,
        db.keyspace("edges", options)?,
        db.keyspace("state", options)?,
    ];
    Ok((db, keyspaces))
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the store panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{
        group::Command,
        index::{Edge, EdgeKind},
    };
    use tidings_core::clock::Timestamp;

    fn add(kind: EdgeKind, source: &str, target: &str) -> Command {
        let [source, target] = [source, target].map(|id| UserId::new(id).unwrap());
        Command::Add { kind, source, target, at: Timestamp::from_millis(1) }
    }

    /// Makes a store with a block and a mute, and lets `change` spoil the rows of its edges.
    fn open_spoilt(change: impl FnOnce(&Keyspace)) -> Result<Index, GraphOpenError> {
        let directory = tempfile::tempdir().unwrap();
        let config = EmbeddedGraphConfig::new(directory.path());
        let (mut disk, index) = Disk::open(&config).unwrap();
        let mut group = Group::new(disk.next_number(), 9);
        for command in [add(EdgeKind::Block, "a", "b"), add(EdgeKind::Mute, "b", "c")] {
            group.plan(&index, &command).unwrap();
        }
        disk.commit(&group).unwrap();
        change(&disk.edges);
        disk.close();
        Disk::open(&config).map(|(_, index)| index)
    }

    #[test]
    fn a_block_or_mute_that_is_gone_or_another_is_noticed() {
        let whole = open_spoilt(|_| {}).unwrap();
        assert_eq!((whole.blocks(), whole.mutes(), whole.follows()), (1, 1, 0));
        let row = |kind| {
            let at = Timestamp::from_millis(1);
            rows::encode_edge(&Edge { kind, number: 0, source: 0, target: 1, at })
        };
        for number in [0u64, 1] {
            let key = number.to_be_bytes();
            let error = open_spoilt(|edges| edges.remove(key).unwrap()).unwrap_err();
            assert!(matches!(error, GraphOpenError::Damaged { .. }), "{error:?}");
        }
        let first = 0u64.to_be_bytes();
        for kind in [EdgeKind::Follow, EdgeKind::Mute] {
            let error = open_spoilt(|edges| edges.insert(first, row(kind)).unwrap()).unwrap_err();
            assert!(matches!(error, GraphOpenError::Damaged { .. }), "{error:?}");
        }
        open_spoilt(|edges| edges.insert(first, row(EdgeKind::Block)).unwrap()).unwrap();
    }
}
