//! Snapshots: the whole graph as of one commit, in one file.
//!
//! A file begins with a head that names its format and goes on in chunks: the segments in their order,
//! the ids in pages of the same users, blocks and mutes, and at last the state. Each chunk has a checksum
//! over its content, its kind and its place in the file. A file is written under another name, made
//! durable, and only then gets its own: one with that name is whole unless the disk lost something, and
//! then its checksums say so.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_core::follow::EdgeKind;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    aversions::{Aversions, decode_shard},
    bits::to_usize,
    commit::{STATE_BYTES, State},
    index::Index,
    interner::Interner,
    segment::{Direction, SEGMENT_USERS, Segment},
};

/// The format that this program writes, and the oldest that it reads as a snapshot.
pub(super) const FORMAT: u32 = 3;
const MAGIC: &[u8; 8] = b"TIDGRAPH";
const HEAD_BYTES: usize = 20;
const CHUNK_HEAD_BYTES: usize = 24;
const BUFFER_BYTES: usize = 256 * 1024;
const EXTENSION: &str = "graph";
/// The extension of one that is damaged and was not needed.
const DAMAGED: &str = "damaged";

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment = 1,
    Ids = 2,
    Blocks = 3,
    Mutes = 4,
    End = 5,
}

const KINDS: [Kind; 5] = [Kind::Segment, Kind::Ids, Kind::Blocks, Kind::Mutes, Kind::End];

/// Why a snapshot is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("the snapshot cannot be read")]
    Unreadable(#[from] io::Error),
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    #[error("the snapshot is of format {0}")]
    Newer(u32),
}

/// The place of a snapshot among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) path: PathBuf,
    /// The last commit that it holds.
    pub(super) commits: u64,
    /// The generation of the log that begins behind it.
    pub(super) generation: u64,
}

impl Snapshot {
    fn new(directory: &Path, commits: u64, generation: u64) -> Self {
        let name = format!("snapshot-{commits:016x}-{generation:08x}.{EXTENSION}");
        Self { path: directory.join(name), commits, generation }
    }

    /// Where it is put if it is damaged.
    pub(super) fn aside(&self) -> PathBuf {
        self.path.with_extension(DAMAGED)
    }

    /// The snapshot of this path, if it is the path of one with this extension.
    fn of_path(path: PathBuf, extension: &str) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_prefix("snapshot-")?.strip_suffix(extension)?.strip_suffix('.')?;
        let (commits, generation) = name.split_once('-')?;
        let commits = u64::from_str_radix(commits, 16).ok()?;
        let generation = u64::from_str_radix(generation, 16).ok()?;
        Some(Self { path, commits, generation })
    }
}

/// The snapshots of a directory, the newest first, whole or not.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Snapshot>> {
    list_with(directory, EXTENSION)
}

/// Those that were put aside because they are damaged, the newest first.
pub(super) fn list_damaged(directory: &Path) -> io::Result<Vec<Snapshot>> {
    list_with(directory, DAMAGED)
}

fn list_with(directory: &Path, extension: &str) -> io::Result<Vec<Snapshot>> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(directory)? {
        snapshots.extend(Snapshot::of_path(entry?.path(), extension));
    }
    snapshots.sort_unstable_by_key(|it| std::cmp::Reverse((it.commits, it.generation)));
    Ok(snapshots)
}

/// Removes what a crash left half written.
pub(super) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        if name.starts_with("snapshot-") && path.extension().is_some_and(|it| it == "new") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Makes what was done to the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Writes a snapshot. One that is not finished is removed when this is dropped.
#[derive(Debug)]
pub(super) struct SnapshotWriter {
    directory: PathBuf,
    snapshot: Snapshot,
    unfinished: PathBuf,
    file: BufWriter<File>,
    chunks: u64,
    bytes: u64,
    is_finished: bool,
}

impl SnapshotWriter {
    /// Begins the snapshot of so many commits, after which this generation of the log goes on.
    pub(super) fn create(directory: &Path, commits: u64, generation: u64) -> io::Result<Self> {
        let snapshot = Snapshot::new(directory, commits, generation);
        let unfinished = snapshot.path.with_extension("new");
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&unfinished)?);
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        let check = xxh3_64_with_seed(&head[..12], 0);
        head[12..].copy_from_slice(&check.to_le_bytes());
        file.write_all(&head)?;
        let directory = directory.to_owned();
        let bytes = HEAD_BYTES as u64;
        Ok(Self { directory, snapshot, unfinished, file, chunks: 0, bytes, is_finished: false })
    }

    fn chunk(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let mut head = [0; CHUNK_HEAD_BYTES];
        head[..8].copy_from_slice(&(kind as u64).to_le_bytes());
        head[8..16].copy_from_slice(&(content.len() as u64).to_le_bytes());
        head[16..].copy_from_slice(&check(kind, self.chunks, content).to_le_bytes());
        self.file.write_all(&head)?;
        self.file.write_all(content)?;
        self.chunks += 1;
        self.bytes += (CHUNK_HEAD_BYTES + content.len()) as u64;
        Ok(())
    }

    /// Writes the next segment.
    pub(super) fn segment(&mut self, segment: &Segment) -> io::Result<()> {
        self.chunk(Kind::Segment, segment.bytes())
    }

    /// Writes the next page of ids.
    pub(super) fn ids(&mut self, page: &[u8]) -> io::Result<()> {
        self.chunk(Kind::Ids, page)
    }

    /// Writes a shard of the blocks or mutes.
    pub(super) fn aversions(&mut self, kind: EdgeKind, shard: &[u8]) -> io::Result<()> {
        let kind = if kind == EdgeKind::Block { Kind::Blocks } else { Kind::Mutes };
        self.chunk(kind, shard)
    }

    /// Writes the state, makes the file durable, and gives it its name; says how long it is.
    pub(super) fn finish(mut self, state: &State) -> io::Result<(Snapshot, u64)> {
        let mut end = state.encode().to_vec();
        end.extend_from_slice(&self.snapshot.generation.to_be_bytes());
        self.chunk(Kind::End, &end)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.unfinished, &self.snapshot.path)?;
        self.is_finished = true;
        sync_directory(&self.directory)?;
        Ok((self.snapshot.clone(), self.bytes))
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // It may be large, and the disk full; what cannot be removed now is removed at the next start.
        if !self.is_finished {
            let _left = fs::remove_file(&self.unfinished);
        }
    }
}

fn check(kind: Kind, place: u64, content: &[u8]) -> u64 {
    xxh3_64_with_seed(content, place << 8 | kind as u64)
}

/// What a snapshot holds.
pub(super) struct Loaded {
    pub(super) index: Index,
    pub(super) state: State,
}

/// Reads a snapshot and proves that it is whole.
pub(super) fn load(snapshot: &Snapshot) -> Result<Loaded, SnapshotError> {
    let file = File::open(&snapshot.path)?;
    let mut left = file.metadata()?.len();
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut head = [0; HEAD_BYTES];
    read(&mut file, &mut head)?;
    left = left.saturating_sub(HEAD_BYTES as u64);
    let check = u64::from_le_bytes(*head[12..].first_chunk().unwrap_or(&[0; 8]));
    if !head.starts_with(MAGIC) || check != xxh3_64_with_seed(&head[..12], 0) {
        return Err(SnapshotError::Damaged("its head is not one"));
    }
    let format = u32::from_le_bytes(*head[8..].first_chunk().unwrap_or(&[0; 4]));
    if format > FORMAT {
        return Err(SnapshotError::Newer(format));
    }
    let mut content = Content::default();
    for place in 0.. {
        let (kind, bytes) = read_chunk(&mut file, place, &mut left)?;
        if kind == Kind::End {
            if left > 0 {
                return Err(SnapshotError::Damaged("it goes on behind its end"));
            }
            return content.finish(snapshot, &bytes);
        }
        content.take(kind, bytes)?;
    }
    Err(SnapshotError::Damaged("it has no end"))
}

fn read_chunk(
    file: &mut impl Read,
    place: u64,
    left: &mut u64,
) -> Result<(Kind, Vec<u8>), SnapshotError> {
    let mut head = [0; CHUNK_HEAD_BYTES];
    read(file, &mut head)?;
    *left = left.saturating_sub(CHUNK_HEAD_BYTES as u64);
    let mut fields = [0; 3];
    for (field, bytes) in fields.iter_mut().zip(head.chunks_exact(8)) {
        *field = u64::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 8]));
    }
    let [kind, length, expected] = fields;
    let kind = KINDS.into_iter().find(|it| *it as u64 == kind);
    let kind = kind.ok_or(SnapshotError::Damaged("a chunk is of no kind"))?;
    if length > *left {
        return Err(SnapshotError::Damaged("it ends too early"));
    }
    *left -= length;
    let mut bytes = vec![0; to_usize(length)];
    read(file, &mut bytes)?;
    if check(kind, place, &bytes) != expected {
        return Err(SnapshotError::Damaged("a checksum does not fit"));
    }
    Ok((kind, bytes))
}

fn read(file: &mut impl Read, bytes: &mut [u8]) -> Result<(), SnapshotError> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => SnapshotError::Damaged("it ends too early"),
        _ => SnapshotError::Unreadable(error),
    })
}

/// What the chunks before the end hold.
#[derive(Default)]
struct Content {
    segments: Vec<Arc<Segment>>,
    ids: Interner,
    blocks: Aversions,
    mutes: Aversions,
}

impl Content {
    fn take(&mut self, kind: Kind, bytes: Vec<u8>) -> Result<(), SnapshotError> {
        match kind {
            Kind::Segment => {
                let segment = Segment::new(bytes);
                let segment = segment.ok_or(SnapshotError::Damaged("a segment is not one"))?;
                self.segments.push(Arc::new(segment));
            }
            Kind::Ids => {
                if !self.ids.decode_page(&bytes) {
                    return Err(SnapshotError::Damaged("an id is not one, or is there twice"));
                }
            }
            Kind::Blocks | Kind::Mutes => {
                let (kind, aversions) = match kind {
                    Kind::Blocks => (EdgeKind::Block, &mut self.blocks),
                    _ => (EdgeKind::Mute, &mut self.mutes),
                };
                let edges = decode_shard(kind, &bytes);
                let edges = edges.ok_or(SnapshotError::Damaged("a block or mute is not one"))?;
                edges.iter().for_each(|edge| aversions.add(edge));
            }
            Kind::End => {}
        }
        Ok(())
    }

    fn finish(self, snapshot: &Snapshot, end: &[u8]) -> Result<Loaded, SnapshotError> {
        let end = end.split_at_checked(STATE_BYTES);
        let end = end.and_then(|(state, generation)| {
            Some((State::decode(state)?, u64::from_be_bytes(generation.try_into().ok()?)))
        });
        let (state, generation) = end.ok_or(SnapshotError::Damaged("its state is not one"))?;
        let Self { segments, ids, blocks, mutes } = self;
        let found = State {
            users: ids.users() as u64,
            follows: count(&segments, Direction::Following),
            blocks: blocks.len(),
            mutes: mutes.len(),
            ..state
        };
        let users: usize = segments.iter().map(|it| it.users()).sum();
        let is_full = |it: &Arc<Segment>| it.users() == SEGMENT_USERS;
        let are_full = segments.split_last().is_none_or(|(_, it)| it.iter().all(is_full));
        // Ids are written last: those of users who were erased meanwhile are gone, too. The log says who.
        let forgotten = (ids.users() - ids.known()) as u64;
        if found != state
            || forgotten < state.forgotten
            || users != ids.users()
            || !are_full
            || count(&segments, Direction::Followers) != state.follows
        {
            return Err(SnapshotError::Damaged("it does not hold what it says"));
        }
        if (state.commits, generation) != (snapshot.commits, snapshot.generation) {
            return Err(SnapshotError::Damaged("it has the name of another"));
        }
        let index = Index::new(segments, ids, state.follows, [blocks, mutes]);
        Ok(Loaded { index, state })
    }
}

fn count(segments: &[Arc<Segment>], direction: Direction) -> u64 {
    let lists = segments
        .iter()
        .flat_map(|segment| (0..segment.users()).map(|user| segment.list(user, direction).len()));
    lists.sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{
        digest::Digest,
        index::{Edge, EdgeKind},
        merge::settle,
    };
    use tidings_core::clock::Timestamp;

    fn write(directory: &Path) -> (Snapshot, State) {
        let mut index = Index::default();
        for user in 0..50 {
            index.add_user(&format!("u{user}"));
        }
        let edges = [(EdgeKind::Follow, 600), (EdgeKind::Block, 9), (EdgeKind::Mute, 9)];
        for (kind, count) in edges {
            for n in 0..count {
                let (source, target) = (n / 49, (n / 49 + 1 + n % 49) % 50);
                let at = Timestamp::from_millis(i64::from(n) * 77);
                let numbers = if kind == EdgeKind::Follow { [0; 2] } else { [u64::from(n), 0] };
                index.add(&Edge { kind, source, target, at, numbers });
            }
        }
        settle(&mut index);
        let state = State {
            commits: 7,
            next_number: 9,
            users: 50,
            forgotten: 0,
            follows: 600,
            blocks: 9,
            mutes: 9,
            digest: Digest(5),
        };
        let mut writer = SnapshotWriter::create(directory, 7, 3).unwrap();
        writer.segment(&index.segment(0).unwrap()).unwrap();
        writer.ids(&index.ids().encode_page(0, 50).unwrap()).unwrap();
        for kind in [EdgeKind::Block, EdgeKind::Mute] {
            for shard in index.aversions(kind).unwrap().shards() {
                writer.aversions(kind, &shard.encode()).unwrap();
            }
        }
        (writer.finish(&state).unwrap().0, state)
    }

    #[test]
    fn a_flipped_or_missing_byte_of_a_snapshot_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let (snapshot, state) = write(directory.path());
        assert_eq!(list(directory.path()).unwrap(), std::slice::from_ref(&snapshot));
        assert_eq!(load(&snapshot).unwrap().state, state);
        let whole = fs::read(&snapshot.path).unwrap();
        // All of the heads at the front, and some of each part behind them.
        for at in (0..64).chain((64..whole.len()).step_by(11)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&snapshot.path, &bytes).unwrap();
            assert!(load(&snapshot).is_err(), "byte {at}");
        }
        for length in (0..whole.len()).step_by(61) {
            fs::write(&snapshot.path, &whole[..length]).unwrap();
            assert!(matches!(load(&snapshot), Err(SnapshotError::Damaged(_))), "{length} bytes");
        }
        fs::write(&snapshot.path, [&whole[..], b"x"].concat()).unwrap();
        assert!(load(&snapshot).is_err());
        let other = Snapshot::new(directory.path(), 8, 3);
        fs::write(&other.path, &whole).unwrap();
        assert!(load(&other).is_err(), "it has the name of another");
    }

    #[test]
    fn a_snapshot_that_is_not_finished_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let writer = SnapshotWriter::create(directory.path(), 7, 3).unwrap();
        assert!(list(directory.path()).unwrap().is_empty());
        drop(writer);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
