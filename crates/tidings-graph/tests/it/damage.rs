//! Files that were overwritten, cut off or removed.
//!
//! The promise: a graph that opens holds everything that was acknowledged; otherwise it does not open,
//! and the error names the path.

use std::{
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::Write,
    path::{Path, PathBuf},
};

use tidings_core::{
    follow::{Block, Edge, Follow, Mute},
    ports::SocialGraphStore,
};
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore, GraphOpenError};

use crate::harness::{aversions, block, checkpointing, config, edge, everything, mute, open};

const EDGES: u32 = 6_000;

/// A file as it was, without the zeros that the store keeps behind its journal.
struct SavedFile {
    path: PathBuf,
    bytes: Vec<u8>,
    size_bytes: u64,
}

type Content = (Vec<Vec<Follow>>, (Vec<Block>, Vec<Mute>));

async fn content(store: &EmbeddedGraphStore) -> Content {
    (everything(store, EDGES).await, aversions(store, EDGES).await)
}

/// All files of a graph that was closed, and what was in it.
struct Saved {
    files: Vec<SavedFile>,
    content: Content,
}

impl Saved {
    async fn new(config: impl Fn(&Path) -> EmbeddedGraphConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedGraphStore::open(config(directory.path())).unwrap();
        for from in (0..EDGES).step_by(500) {
            store
                .import_edges((from..from + 500).map(edge).map(Edge::from).collect())
                .await
                .unwrap();
            for n in from + 10..from + 20 {
                assert!(mute(&store, n).await && block(&store, n + 10).await);
            }
            for n in from..from + 10 {
                store.remove_follow(&edge(n).follower, &edge(n).followee).await.unwrap();
            }
        }
        let content = content(&store).await;
        store.close().await;
        drop(store);
        let mut files = Vec::new();
        save(directory.path(), directory.path(), &mut files);
        Self { files, content }
    }

    fn restore(&self, to: &Path) {
        for SavedFile { path, bytes, size_bytes } in &self.files {
            let path = to.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = File::create(path).unwrap();
            file.write_all(bytes).unwrap();
            file.set_len(*size_bytes).unwrap();
        }
    }

    /// Opens the graph; says whether it could be. One that opens has to hold everything, also when
    /// it could not be opened at first: that start must not have mended it into something smaller.
    async fn opens_whole_or_not_at_all(&self, directory: &Path, context: &str) -> bool {
        let first = self.opens_whole_or_fails(directory, context).await;
        self.opens_whole_or_fails(directory, &format!("{context}, the second time")).await;
        first
    }

    async fn opens_whole_or_fails(&self, directory: &Path, context: &str) -> bool {
        match EmbeddedGraphStore::open(config(directory)) {
            Ok(store) => {
                let content = content(&store).await;
                assert!(content == self.content, "{context}: it opened, and something is missing");
                true
            }
            Err(error) => {
                let says = error.to_string();
                assert!(says.contains(directory.to_str().unwrap()), "{context}: {says}");
                let is_about_damage = matches!(
                    error,
                    GraphOpenError::Unreadable { .. }
                        | GraphOpenError::Damaged { .. }
                        | GraphOpenError::Lost { .. }
                        | GraphOpenError::Newer { .. }
                );
                assert!(is_about_damage, "{context}: {error:?}");
                false
            }
        }
    }
}

fn save(root: &Path, directory: &Path, files: &mut Vec<SavedFile>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            save(root, &path, files);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let size_bytes = bytes.len() as u64;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        files.push(SavedFile {
            path: path.strip_prefix(root).unwrap().to_owned(),
            bytes,
            size_bytes,
        });
    }
}

/// Numbers that look random, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[tokio::test]
async fn a_flipped_or_torn_byte_anywhere_is_noticed_or_harmless() {
    let saved = Saved::new(config).await;
    let tables =
        saved.files.iter().filter(|it| it.path.to_str().unwrap().contains("tables")).count();
    assert!(tables > 0, "the test has to reach the sorted files as well");
    let seed = RandomState::new().hash_one("damage");
    let mut numbers = Numbers(seed);
    let (mut whole, mut refused) = (0, 0);
    for file in saved.files.iter().filter(|file| !file.bytes.is_empty()) {
        let is_journal = file.path.extension().is_some_and(|it| it == "jnl");
        for round in 0..if is_journal { 24 } else { 4 } {
            let directory = tempfile::tempdir().unwrap();
            saved.restore(directory.path());
            let path = directory.path().join(&file.path);
            let at = numbers.below(file.bytes.len());
            let mut bytes = file.bytes.clone();
            if round % 4 == 3 {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << numbers.below(8);
            }
            fs::write(&path, bytes).unwrap();
            let context =
                format!("seed {seed}, {} at byte {at}, round {round}", file.path.display());
            let opened = saved.opens_whole_or_not_at_all(directory.path(), &context).await;
            *if opened { &mut whole } else { &mut refused } += 1;
        }
    }
    assert!(refused > 0, "no damage was noticed, {whole} graphs opened");
}

fn is_snapshot(file: &SavedFile) -> bool {
    file.path.extension().is_some_and(|it| it == "graph")
}

#[tokio::test]
async fn one_damaged_snapshot_is_made_up_for_and_two_are_not() {
    let saved = Saved::new(|path| checkpointing(path, 1_000)).await;
    let mut snapshots: Vec<_> = saved.files.iter().filter(|file| is_snapshot(file)).collect();
    snapshots.sort_by(|a, b| b.path.cmp(&a.path));
    assert_eq!(snapshots.len(), 2);
    let seed = RandomState::new().hash_one("snapshots");
    let mut numbers = Numbers(seed);
    let mut spoil = |directory: &Path, file: &SavedFile, round: usize| {
        let at = numbers.below(file.bytes.len());
        let mut bytes = file.bytes.clone();
        if round.is_multiple_of(3) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << numbers.below(8);
        }
        fs::write(directory.join(&file.path), bytes).unwrap();
        format!("seed {seed}, {} at byte {at}, round {round}", file.path.display())
    };
    for round in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        saved.restore(directory.path());
        let context = spoil(directory.path(), snapshots[0], round);
        assert!(saved.opens_whole_or_not_at_all(directory.path(), &context).await, "{context}");
        let aside = directory.path().join(&snapshots[0].path).with_extension("damaged");
        assert!(aside.exists(), "{context}: a person may want to look at it");
        spoil(directory.path(), snapshots[1], round);
        let error = EmbeddedGraphStore::open(config(directory.path())).unwrap_err();
        assert!(error.to_string().contains("backup"), "{context}: {error}");
    }
    // Both in the same night.
    let directory = tempfile::tempdir().unwrap();
    saved.restore(directory.path());
    for file in &snapshots {
        spoil(directory.path(), file, 1);
    }
    let before = fs::read_dir(directory.path()).unwrap().count();
    assert!(!saved.opens_whole_or_not_at_all(directory.path(), "both snapshots").await);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), before, "nothing is tidied away");
}

fn damaged_files(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|it| it.unwrap().path());
    files.filter(|it| it.extension().is_some_and(|it| it == "damaged")).collect()
}

#[tokio::test]
async fn one_damaged_snapshot_is_kept_until_there_are_two_newer_ones() {
    let saved = Saved::new(|path| checkpointing(path, 1_000)).await;
    let directory = tempfile::tempdir().unwrap();
    saved.restore(directory.path());
    let newest = saved.files.iter().filter(|it| is_snapshot(it)).max_by_key(|it| &it.path).unwrap();
    let path = directory.path().join(&newest.path);
    fs::write(directory.path().join("snapshot-0000000000000001-00000002.damaged"), b"x").unwrap();
    fs::write(&path, &newest.bytes[..newest.bytes.len() / 2]).unwrap();
    open(directory.path()).close().await;
    assert_eq!(damaged_files(directory.path()), [path.with_extension("damaged")]);
    for round in 0..2 {
        let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 1_000)).unwrap();
        let first = EDGES + round * 2_000;
        let edges = (first..first + 2_000).map(edge).map(Edge::from).collect();
        assert_eq!(store.import_edges(edges).await.unwrap(), 2_000);
        store.close().await;
    }
    assert_eq!(damaged_files(directory.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_log_behind_a_snapshot_that_is_gone_is_noticed_whatever_the_head_file_knows() {
    let directory = tempfile::tempdir().unwrap();
    // The snapshot that is made at the end holds everything.
    let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 10_000)).unwrap();
    store.import_edges((0..EDGES).map(edge).map(Edge::from).collect()).await.unwrap();
    let whole = content(&store).await;
    store.close().await;
    drop(store);
    let is_log = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("log-");
    let logs = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path());
    let logs: Vec<_> = logs.filter(is_log).collect();
    assert!(logs.len() > 1);
    for log in logs {
        fs::remove_dir_all(log).unwrap();
    }
    for _ in 0..2 {
        let error = EmbeddedGraphStore::open(config(directory.path())).unwrap_err();
        let GraphOpenError::Lost { held, acknowledged, .. } = error else { panic!("{error:?}") };
        assert_eq!(held, acknowledged, "all are in the snapshot, which nobody can know");
    }
    // A person may accept the loss.
    fs::remove_file(directory.path().join("graph.head")).unwrap();
    let store = open(directory.path());
    assert!(content(&store).await == whole);
}

#[tokio::test]
async fn damage_beside_snapshots_is_noticed_or_harmless() {
    let saved = Saved::new(|path| checkpointing(path, 2_500)).await;
    let seed = RandomState::new().hash_one("beside");
    let mut numbers = Numbers(seed);
    for file in saved.files.iter().filter(|file| !file.bytes.is_empty()) {
        for round in 0..6 {
            let directory = tempfile::tempdir().unwrap();
            saved.restore(directory.path());
            let path = directory.path().join(&file.path);
            let at = numbers.below(file.bytes.len());
            let context =
                format!("seed {seed}, {} at byte {at}, round {round}", file.path.display());
            match round {
                0 => fs::remove_file(&path).unwrap(),
                1 => fs::write(&path, &file.bytes[..at]).unwrap(),
                _ => {
                    let mut bytes = file.bytes.clone();
                    bytes[at] ^= 1 << numbers.below(8);
                    fs::write(&path, bytes).unwrap();
                }
            }
            saved.opens_whole_or_not_at_all(directory.path(), &context).await;
        }
    }
}

#[tokio::test]
async fn a_journal_that_lost_its_end_is_noticed_and_says_how_to_go_on() {
    // All of it is in the journal: no sorted file remembers more than is left of that.
    let saved = Saved::new(|path| EmbeddedGraphConfig::new(path)).await;
    let directory = tempfile::tempdir().unwrap();
    saved.restore(directory.path());
    let journal = saved.files.iter().filter(|it| it.path.extension().is_some_and(|it| it == "jnl"));
    let journal = journal.max_by_key(|it| it.bytes.len()).unwrap();
    let cut = &journal.bytes[..journal.bytes.len() - 40];
    fs::write(directory.path().join(&journal.path), cut).unwrap();
    let error = EmbeddedGraphStore::open(config(directory.path())).unwrap_err();
    let GraphOpenError::Lost { head, held, acknowledged, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(held + 1, *acknowledged);
    assert!(error.to_string().contains(head.to_str().unwrap()), "{error}");
    // A person may accept the loss, as the message says.
    fs::remove_file(head).unwrap();
    let store = open(directory.path());
    let last = edge(EDGES - 500 + 9);
    assert!(
        store.is_following(&last.follower, &last.followee).await.unwrap(),
        "its removal is lost"
    );
    store.close().await;
    drop(open(directory.path()));
}

#[tokio::test]
async fn a_file_that_is_gone_is_noticed_or_harmless() {
    let saved = Saved::new(config).await;
    for file in &saved.files {
        let directory = tempfile::tempdir().unwrap();
        saved.restore(directory.path());
        fs::remove_file(directory.path().join(&file.path)).unwrap();
        let context = format!("without {}", file.path.display());
        saved.opens_whole_or_not_at_all(directory.path(), &context).await;
    }
}
