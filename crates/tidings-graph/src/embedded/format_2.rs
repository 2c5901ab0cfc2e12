//! Directories of formats 1 and 2, which are read once and then replaced by a snapshot.
//!
//! They hold one fjall database with three keyspaces: `users` (number to id), `edges` (edge number to
//! source, target, time and kind) and `state` (one row, rewritten by each commit). Edge numbers only
//! grew, so that reading the edges in the order of their keys gives every list in its own. Format 1 had
//! follows only.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use tidings_core::{clock::Timestamp, ids::UserId};

use super::{
    commit::State,
    digest::{Digest, hash_numbered},
    error::GraphOpenError,
    index::{Edge, EdgeKind, Index},
    merge::settle,
    snapshot::FORMAT as SNAPSHOT_FORMAT,
};

const FORMAT: u32 = 2;
const FOLLOWS_ONLY_FORMAT: u32 = 1;
const STATE_KEY: &[u8] = b"state";
const BLOCK_CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// Edges after which the lists are packed: what is not packed takes many times as much.
const EDGES_AT_A_TIME: usize = 2_000_000;
/// The last byte of an edge; a follow has none.
const BLOCK: u8 = b'b';
const MUTE: u8 = b'm';

/// Where a directory of these formats keeps its database.
pub(super) fn path_of(directory: &Path) -> PathBuf {
    directory.join("edges")
}

/// What the last commit left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OldState {
    commits: u64,
    next_number: u64,
    users: u64,
    follows: u64,
    digest: Digest,
    blocks: u64,
    mutes: u64,
}

/// The format, and the state if it is one that is known here.
fn decode_state(bytes: &[u8]) -> Option<(u32, Option<OldState>)> {
    let format = u32::from_be_bytes(*bytes.first_chunk()?);
    // The last two stay zero if they are not there.
    let mut fields = [0; 7];
    let known = match format {
        FORMAT => 7,
        FOLLOWS_ONLY_FORMAT => 5,
        _ => return Some((format, None)),
    };
    let bytes = &bytes[4..];
    if bytes.len() != known * 8 {
        return Some((format, None));
    }
    for (field, place) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
        *field = u64::from_be_bytes(*place.first_chunk()?);
    }
    let [commits, next_number, users, follows, digest, blocks, mutes] = fields;
    let digest = Digest(digest);
    Some((format, Some(OldState { commits, next_number, users, follows, digest, blocks, mutes })))
}

/// An edge and its number.
fn decode_edge(key: &[u8], value: &[u8]) -> Option<(Edge, u64)> {
    let number = u64::from_be_bytes(key.try_into().ok()?);
    let (value, kind) = value.split_first_chunk::<16>()?;
    let (kind, numbers) = match kind {
        [] => (EdgeKind::Follow, [0; 2]),
        [BLOCK] => (EdgeKind::Block, [number, 0]),
        [MUTE] => (EdgeKind::Mute, [number, 0]),
        _ => return None,
    };
    let source = u32::from_be_bytes(*value.first_chunk()?);
    let target = u32::from_be_bytes(*value[4..].first_chunk()?);
    let at = Timestamp::from_millis(i64::from_be_bytes(*value[8..].first_chunk()?));
    Some((Edge { kind, source, target, at, numbers }, number))
}

struct Reader<'a> {
    path: &'a Path,
    index: Index,
    /// The digest of these formats.
    old: Digest,
    new: Digest,
}

impl Reader<'_> {
    fn damaged(&self, what: &'static str) -> GraphOpenError {
        GraphOpenError::Damaged { path: self.path.to_owned(), what }
    }

    fn unreadable(&self, source: fjall::Error) -> GraphOpenError {
        GraphOpenError::Unreadable { path: self.path.to_owned(), source: source.into() }
    }

    fn state(&self, rows: &Keyspace) -> Result<OldState, GraphOpenError> {
        match rows.get(STATE_KEY).map_err(|it| self.unreadable(it))? {
            None => Ok(OldState {
                commits: 0,
                next_number: 0,
                users: 0,
                follows: 0,
                digest: Digest::default(),
                blocks: 0,
                mutes: 0,
            }),
            Some(row) => match decode_state(&row) {
                Some((_, Some(state))) => Ok(state),
                Some((found, None)) if found > FORMAT => {
                    let (path, known) = (self.path.to_owned(), SNAPSHOT_FORMAT);
                    Err(GraphOpenError::Newer { path, found, known })
                }
                _ => Err(self.damaged("its state row is not one")),
            },
        }
    }

    fn users(&mut self, rows: &Keyspace) -> Result<(), GraphOpenError> {
        for row in rows.iter() {
            let (key, value) = row.into_inner().map_err(|it| self.unreadable(it))?;
            let text = std::str::from_utf8(&value).ok().map(UserId::new);
            let (Some(Ok(id)), Ok(number)) = (text, u32::try_from(self.index.users())) else {
                return Err(self.damaged("a user row is not one"));
            };
            if *key != number.to_be_bytes() || self.index.user(&id).is_some() {
                return Err(self.damaged("a user is missing or twice there"));
            }
            self.old.add_user(number, id.as_str());
            self.new.add_user(number, id.as_str());
            self.index.add_user(id.as_str());
        }
        Ok(())
    }

    fn edges(&mut self, rows: &Keyspace, state: &OldState) -> Result<(), GraphOpenError> {
        for row in rows.iter() {
            let (key, value) = row.into_inner().map_err(|it| self.unreadable(it))?;
            let (edge, number) =
                decode_edge(&key, &value).ok_or_else(|| self.damaged("an edge row is not one"))?;
            let users = self.index.users();
            if edge.source as usize >= users || edge.target as usize >= users {
                return Err(self.damaged("an edge has an end that is no user"));
            }
            self.old.add_hash(hash_numbered(&edge, number));
            self.new.add_edge(&edge);
            self.index.add(&edge);
            if self.index.active_changes() >= EDGES_AT_A_TIME {
                settle(&mut self.index);
                let (read, of) = (self.index.stats().follows, state.follows);
                tracing::info!(read, of, "follows of the earlier format are read");
            }
        }
        settle(&mut self.index);
        Ok(())
    }
}

/// Reads everything, and proves that it is what was committed, all of it.
pub(super) fn load(path: &Path) -> Result<(Index, State), GraphOpenError> {
    let mut reader =
        Reader { path, index: Index::default(), old: Digest::default(), new: Digest::default() };
    let (_db, [users, edges, state]) = open(path).map_err(|it| reader.unreadable(it))?;
    let state = reader.state(&state)?;
    tracing::info!(
        path = %path.display(), users = state.users, follows = state.follows,
        "the graph is of an earlier format and is read to be written anew"
    );
    reader.users(&users)?;
    reader.edges(&edges, &state)?;
    let stats = reader.index.stats();
    let found = OldState {
        users: stats.users,
        follows: stats.follows,
        digest: reader.old,
        blocks: stats.blocks,
        mutes: stats.mutes,
        ..state
    };
    if found != state {
        return Err(reader.damaged("its rows are not those that were committed"));
    }
    let OldState { commits, next_number, users, follows, blocks, mutes, .. } = state;
    let digest = reader.new;
    let state = State { commits, next_number, users, forgotten: 0, follows, blocks, mutes, digest };
    Ok((reader.index, state))
}

fn open(path: &Path) -> fjall::Result<(Database, [Keyspace; 3])> {
    let db = Database::builder(path).cache_size(BLOCK_CACHE_BYTES).worker_threads(1).open()?;
    let options = KeyspaceCreateOptions::default;
    let keyspaces = [
        db.keyspace("users", options)?,
        db.keyspace("edges", options)?,
        db.keyspace("state", options)?,
    ];
    Ok((db, keyspaces))
}
