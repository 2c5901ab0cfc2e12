//! The graph on disk: snapshots, the log since them, and the head file.
//!
//! Two snapshots are kept, and the log since the older one. A start reads the newest and what the log
//! holds behind it; if the newest is damaged, the older one with more of the log gives the same graph,
//! and the damaged file is set aside.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    checkpoint::Frozen,
    commit::{Commit, State},
    config::EmbeddedGraphConfig,
    error::{GraphOpenError, SharedCause},
    format_2,
    head::Head,
    index::Index,
    log::{self, Log, LogError},
    merge::settle,
    snapshot::{self, Snapshot, SnapshotError, sync_directory},
};

/// Snapshots that are kept.
const KEPT: usize = 2;
/// Changes after which the lists are packed during a start.
const CHANGES_AT_A_TIME: usize = 4_000_000;
/// The generation of the log that begins with the graph.
const FIRST_GENERATION: u64 = 1;

/// The open store. The writer owns it.
pub(super) struct Disk {
    directory: PathBuf,
    log: Log,
    spare: Option<Log>,
    memtable_bytes: u64,
    head: Head,
    state: State,
    /// Whole ones, the newest first.
    snapshots: Vec<Snapshot>,
}

impl Disk {
    /// Opens or makes the store in the directory of `config`, which is locked, and reads it.
    pub(super) fn open(config: &EmbeddedGraphConfig) -> Result<(Self, Index), GraphOpenError> {
        let (head, acknowledged) = Head::open(&config.path)?;
        // Over damaged files fjall may panic where it should fail. Nothing of it outlives the panic.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Start { directory: &config.path, memtable_bytes: config.memtable_bytes }
                .open(head, acknowledged)
        }));
        opened.unwrap_or_else(|panic| {
            let source = panic_message(panic.as_ref()).into();
            Err(GraphOpenError::Unreadable { path: config.path.clone(), source })
        })
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a commit durable. After an error nobody knows whether it is, and nothing more may be
    /// written: the file system may have dropped what it could not sync.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<(), SharedCause> {
        let state = self.state.after(commit);
        let bytes = commit.encode(&state);
        let shared = |error: fjall::Error| -> SharedCause { Arc::new(error) };
        self.log.append(state.commits, &bytes).map_err(shared)?;
        let noted = self.head.note(state.commits);
        noted.map_err(|error| -> SharedCause { Arc::new(error) })?;
        self.state = state;
        Ok(())
    }

    /// Has the log go on in a new generation, so that the present one can go when a snapshot holds what
    /// is in it; gives the present one, to be closed.
    pub(super) fn begin_generation(&mut self) -> Result<Log, LogError> {
        let next = match self.spare.take() {
            Some(spare) => spare,
            None => self.next_log().create()?,
        };
        Ok(std::mem::replace(&mut self.log, next))
    }

    /// The generation that the log is in.
    pub(super) fn generation(&self) -> u64 {
        self.log.generation()
    }

    /// The generation after the present one, which is yet to be made.
    pub(super) fn next_log(&self) -> NextLog {
        NextLog {
            directory: self.directory.clone(),
            generation: self.log.generation() + 1,
            memtable_bytes: self.memtable_bytes,
        }
    }

    /// Keeps the generation after the present one until it is begun: it is made while nobody waits for it.
    pub(super) fn keep_spare(&mut self, spare: Log) {
        self.spare = Some(spare);
    }

    /// Keeps a snapshot that was made, and lets go of what is no longer needed with it.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        self.snapshots.insert(0, snapshot);
        if let Err(error) = self.clean() {
            let directory = self.directory.display();
            tracing::warn!(%error, %directory, "files of the graph that are not needed stay");
        }
    }

    /// Removes the snapshots beyond those that are kept, and the log before them. With one snapshot,
    /// which may be damaged one day, the log from its beginning on is the other.
    ///
    /// Of those that are damaged the newest stays for a person to look at, until what is kept is newer:
    /// an id that was erased since is to be gone from the disk by then.
    fn clean(&mut self) -> std::io::Result<()> {
        let oldest = self.snapshots.get(KEPT - 1).cloned();
        let is_older =
            |it: &Snapshot| oldest.as_ref().is_some_and(|oldest| it.commits < oldest.commits);
        for (place, damaged) in snapshot::list_damaged(&self.directory)?.iter().enumerate() {
            if place > 0 || is_older(damaged) {
                fs::remove_file(&damaged.path)?;
            }
        }
        let Some(oldest) = oldest.map(|it| it.generation) else { return Ok(()) };
        while let Some(snapshot) = self.snapshots.get(KEPT) {
            fs::remove_file(&snapshot.path)?;
            self.snapshots.remove(KEPT);
        }
        for generation in log::generations(&self.directory)? {
            if generation < oldest {
                log::remove(&self.directory, generation)?;
            }
        }
        Ok(())
    }

    /// Closes the store. Everything is durable already; this makes the head file so too.
    pub(super) fn close(self) {
        if let Err(error) = self.head.sync() {
            tracing::warn!(%error, path = %self.head.path().display(), "the head file is not synced");
        }
    }
}

/// A generation of the log that is yet to be made.
pub(super) struct NextLog {
    directory: PathBuf,
    generation: u64,
    memtable_bytes: u64,
}

impl NextLog {
    pub(super) fn create(&self) -> Result<Log, LogError> {
        Log::create(&self.directory, self.generation, self.memtable_bytes)
    }
}

/// A start over a directory.
struct Start<'a> {
    directory: &'a Path,
    memtable_bytes: u64,
}

/// What a start begins with, before the log.
#[derive(Default)]
struct Base {
    index: Index,
    state: State,
    generation: u64,
    /// The snapshot that it is from and the older ones, which were not looked at.
    snapshots: Vec<Snapshot>,
    damaged: Vec<(Snapshot, SnapshotError)>,
}

impl Start<'_> {
    fn open(&self, head: Head, acknowledged: u64) -> Result<(Disk, Index), GraphOpenError> {
        let unusable = |source| self.unusable(source);
        snapshot::remove_unfinished(self.directory).map_err(unusable)?;
        log::remove_unfinished(self.directory).map_err(unusable)?;
        let mut base = self.base()?;
        let lost = |held| GraphOpenError::Lost {
            path: self.directory.to_owned(),
            head: head.path().to_owned(),
            held,
            acknowledged,
        };
        // The log that goes on behind a snapshot is there before the snapshot is. What it held nobody
        // knows: the head file may lag. Whoever has removed that goes on without.
        let has_log = || Ok(log::generations(self.directory)?.last() >= Some(&base.generation));
        if base.generation > FIRST_GENERATION && acknowledged > 0 && !has_log().map_err(unusable)? {
            return Err(lost(base.state.commits));
        }
        let log = self.replay(&mut base)?;
        let Base { index, state, snapshots, damaged, .. } = base;
        if state.commits < acknowledged {
            return Err(lost(state.commits));
        }
        for (snapshot, error) in damaged {
            self.set_aside(&snapshot, &error)?;
        }
        let (directory, memtable_bytes) = (self.directory.to_owned(), self.memtable_bytes);
        let spare = None;
        let mut disk = Disk { directory, log, spare, memtable_bytes, head, state, snapshots };
        if let Err(error) = disk.clean() {
            tracing::warn!(%error, "files of the graph that are not needed stay");
        }
        Ok((disk, index))
    }

    fn unusable(&self, source: std::io::Error) -> GraphOpenError {
        GraphOpenError::Directory { path: self.directory.to_owned(), source }
    }

    /// The newest snapshot that is whole; what an earlier format held; or an empty graph.
    fn base(&self) -> Result<Base, GraphOpenError> {
        let mut snapshots = snapshot::list(self.directory).map_err(|it| self.unusable(it))?;
        let mut damaged = Vec::new();
        while let Some(newest) = snapshots.first() {
            match snapshot::load(newest) {
                Ok(snapshot::Loaded { index, state }) => {
                    self.remove_old_format()?;
                    let generation = newest.generation;
                    return Ok(Base { index, state, generation, snapshots, damaged });
                }
                Err(SnapshotError::Newer(found)) => {
                    let (path, known) = (newest.path.clone(), snapshot::FORMAT);
                    return Err(GraphOpenError::Newer { path, found, known });
                }
                Err(error) => damaged.push((snapshots.remove(0), error)),
            }
        }
        let old = format_2::path_of(self.directory);
        if old.try_exists().map_err(|it| self.unusable(it))? {
            return self.upgrade(&old, damaged);
        }
        let generation = FIRST_GENERATION;
        let logs = log::generations(self.directory).map_err(|it| self.unusable(it))?;
        // Without the beginning of the log there is nothing that the rest could be put on.
        if let (Some((snapshot, error)), false) = (damaged.pop(), logs.contains(&generation)) {
            let source = error.into();
            return Err(GraphOpenError::Unreadable { path: snapshot.path, source });
        }
        Ok(Base { generation, damaged, ..Base::default() })
    }

    /// Reads a directory of an earlier format and writes it as a snapshot; a crash leaves either.
    fn upgrade(
        &self,
        old: &Path,
        damaged: Vec<(Snapshot, SnapshotError)>,
    ) -> Result<Base, GraphOpenError> {
        let (mut index, state) = format_2::load(old)?;
        let generation = FIRST_GENERATION;
        let frozen = Frozen::new(&mut index, state, generation, self.directory.to_owned());
        let index = RwLock::new(index);
        let written = frozen.settle(&index).map_err(|error| GraphOpenError::Upgrade {
            path: self.directory.to_owned(),
            source: error.into(),
        });
        let (snapshot, _) = written?;
        let index = index.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.remove_old_format()?;
        tracing::info!(path = %snapshot.path.display(), "the graph is written in the present format");
        Ok(Base { index, state, generation, snapshots: vec![snapshot], damaged })
    }

    fn remove_old_format(&self) -> Result<(), GraphOpenError> {
        let old = format_2::path_of(self.directory);
        if old.try_exists().map_err(|it| self.unusable(it))? {
            fs::remove_dir_all(old).map_err(|it| self.unusable(it))?;
        }
        Ok(())
    }

    /// Makes the commits behind the base, and opens the log where it goes on.
    fn replay(&self, base: &mut Base) -> Result<Log, GraphOpenError> {
        let generations = log::generations(self.directory).map_err(|it| self.unusable(it))?;
        let first = base.generation;
        let mut generations = generations.into_iter().filter(|it| *it >= first).peekable();
        if generations.peek().is_none() {
            return Log::create(self.directory, first, self.memtable_bytes)
                .map_err(|it| self.log_error(first, it));
        }
        let mut expected = first;
        while let Some(generation) = generations.next() {
            if generation != expected {
                let path = log::path_of(self.directory, expected);
                let what = "a generation of the log is missing";
                return Err(GraphOpenError::Damaged { path, what });
            }
            expected += 1;
            let log = Log::open(self.directory, generation, self.memtable_bytes);
            let log = log.map_err(|it| self.log_error(generation, it))?;
            let from = base.state.commits + 1;
            let replayed = log.replay(from, |bytes| base.redo(bytes));
            replayed.map_err(|it| self.log_error(generation, it))?;
            if generations.peek().is_none() {
                return Ok(log);
            }
        }
        Err(GraphOpenError::Damaged { path: self.directory.to_owned(), what: "it has no log" })
    }

    fn log_error(&self, generation: u64, error: LogError) -> GraphOpenError {
        let path = log::path_of(self.directory, generation);
        match error {
            LogError::Damaged(what) => GraphOpenError::Damaged { path, what },
            LogError::Unreadable(source) => {
                GraphOpenError::Unreadable { path, source: source.into() }
            }
        }
    }

    /// Gives a damaged snapshot, which was not needed, a name that no start looks at.
    fn set_aside(&self, snapshot: &Snapshot, error: &SnapshotError) -> Result<(), GraphOpenError> {
        let aside = snapshot.aside();
        tracing::warn!(
            path = %snapshot.path.display(), aside = %aside.display(), error = %error,
            "a snapshot of the graph is damaged and set aside; the one before it and the log hold all of it"
        );
        metrics::counter!("tidings_graph_damaged_snapshots_total").increment(1);
        fs::rename(&snapshot.path, aside)
            .and_then(|()| sync_directory(self.directory))
            .map_err(|it| self.unusable(it))
    }
}

impl Base {
    /// Makes a commit that the log holds, and proves that it leaves the state that it left then.
    fn redo(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let (commit, state) =
            Commit::decode(bytes).ok_or(LogError::Damaged("a commit is not one"))?;
        if !commit.is_about(self.index.users()) {
            return Err(LogError::Damaged("a commit names a user whom there is not"));
        }
        if self.state.after(&commit) != state {
            return Err(LogError::Damaged("a commit does not follow the one before it"));
        }
        commit.apply(&mut self.index);
        self.state = state;
        if self.index.active_changes() >= CHANGES_AT_A_TIME {
            settle(&mut self.index);
        }
        Ok(())
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the store panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use tidings_core::{clock::Timestamp, ids::UserId};

    use super::*;
    use crate::embedded::{
        group::{Command, Group},
        index::EdgeKind,
        log::row_key,
    };

    fn add(kind: EdgeKind, source: &str, target: &str) -> Command {
        let [source, target] = [source, target].map(|id| UserId::new(id).unwrap());
        Command::Add { kind, source, target, at: Timestamp::from_millis(1) }
    }

    /// Makes a store with a follow, a block and a mute, a commit each, and lets `change` spoil its rows.
    fn open_spoilt(change: impl FnOnce(&Log)) -> Result<Index, GraphOpenError> {
        let directory = tempfile::tempdir().unwrap();
        let config = EmbeddedGraphConfig::new(directory.path());
        let (mut disk, mut index) = Disk::open(&config).unwrap();
        let commands = [
            add(EdgeKind::Follow, "a", "c"),
            add(EdgeKind::Block, "a", "b"),
            add(EdgeKind::Mute, "b", "c"),
        ];
        for command in commands {
            let mut group = Group::new(disk.state().next_number, 9);
            group.plan(&index, &command).unwrap();
            let commit = group.into_commit();
            disk.commit(&commit).unwrap();
            commit.apply(&mut index);
        }
        change(&disk.log);
        disk.close();
        Disk::open(&config).map(|(_, index)| index)
    }

    #[test]
    fn a_commit_that_is_gone_or_another_is_noticed() {
        let stats = open_spoilt(|_| {}).unwrap().stats();
        assert_eq!((stats.follows, stats.blocks, stats.mutes), (1, 1, 1));
        for commit in 1..=3 {
            let error =
                open_spoilt(|it| it.rows().remove(row_key(commit, 0)).unwrap()).unwrap_err();
            // Without the last one, nothing is missing but what the head file knows of.
            let is_lost = matches!(error, GraphOpenError::Lost { held: 2, acknowledged: 3, .. });
            assert_eq!(is_lost, commit == 3, "{error:?}");
            assert!(is_lost || matches!(error, GraphOpenError::Damaged { .. }), "{error:?}");
        }
        let twice = |log: &Log| {
            let row = log.rows().get(row_key(2, 0)).unwrap().unwrap();
            log.rows().insert(row_key(3, 0), row).unwrap();
        };
        assert!(matches!(open_spoilt(twice), Err(GraphOpenError::Damaged { .. })));
        let flipped = |log: &Log| {
            let mut row = log.rows().get(row_key(2, 0)).unwrap().unwrap().to_vec();
            *row.last_mut().unwrap() ^= 1;
            log.rows().insert(row_key(2, 0), row).unwrap();
        };
        assert!(matches!(open_spoilt(flipped), Err(GraphOpenError::Damaged { .. })));
        let beyond = |log: &Log| log.rows().insert(row_key(4, 1), b"x").unwrap();
        assert!(matches!(open_spoilt(beyond), Err(GraphOpenError::Damaged { .. })));
    }

    #[test]
    fn a_long_commit_is_read_again_from_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let config = EmbeddedGraphConfig::new(directory.path());
        let (mut disk, mut index) = Disk::open(&config).unwrap();
        let mut group = Group::new(0, u32::MAX);
        for n in 0..3_000 {
            group.plan(&index, &add(EdgeKind::Follow, &format!("{n:0100}"), "hub")).unwrap();
        }
        let commit = group.into_commit();
        disk.commit(&commit).unwrap();
        commit.apply(&mut index);
        let state = disk.state();
        disk.close();
        let (disk, read) = Disk::open(&config).unwrap();
        assert_eq!((disk.state(), read.stats()), (state, index.stats()));
        let hub = UserId::new("hub").unwrap();
        assert_eq!(read.counts(read.user(&hub).unwrap()).followers, 3_000);
    }
}
