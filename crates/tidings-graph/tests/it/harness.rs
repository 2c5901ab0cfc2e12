//! Graphs in directories of their own.

use std::{ops::Deref, path::Path};

use tempfile::TempDir;
use tidings_core::{
    clock::Timestamp,
    follow::{Block, Follow, Mute},
    ids::UserId,
    ports::{Page, SocialGraphStore},
};
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore};

/// A graph that is gone with the value.
pub(crate) struct TemporaryGraph {
    // Before the directory: it is closed when dropped.
    store: EmbeddedGraphStore,
    _directory: TempDir,
}

impl Deref for TemporaryGraph {
    type Target = EmbeddedGraphStore;
    fn deref(&self) -> &EmbeddedGraphStore {
        &self.store
    }
}

/// An empty graph.
pub(crate) async fn open_temporary() -> TemporaryGraph {
    let directory = tempfile::tempdir().unwrap();
    TemporaryGraph { store: open(directory.path()), _directory: directory }
}

/// Small files, so that a short test has all kinds of them.
pub(crate) fn config(path: &Path) -> EmbeddedGraphConfig {
    EmbeddedGraphConfig { memtable_bytes: 0, ..EmbeddedGraphConfig::new(path) }
}

/// A snapshot after so many changes, so that a short test has some.
pub(crate) fn checkpointing(path: &Path, changes: usize) -> EmbeddedGraphConfig {
    EmbeddedGraphConfig { checkpoint_changes: changes, ..config(path) }
}

/// An empty graph that makes one snapshot after the other.
pub(crate) async fn open_checkpointing() -> TemporaryGraph {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 1)).unwrap();
    TemporaryGraph { store, _directory: directory }
}

pub(crate) fn open(path: &Path) -> EmbeddedGraphStore {
    EmbeddedGraphStore::open(config(path)).unwrap()
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// Edge number `n` of the tests: all are different.
pub(crate) fn edge(n: u32) -> Follow {
    let [follower, followee] = [n / 40, 1 + n / 40 + n % 40].map(|it| user(&format!("u{it}")));
    Follow { follower, followee, at: Timestamp::from_millis(i64::from(n)) }
}

/// All follows of the users that occur in edges 0 to `edges`, by user, newest first, from both ends.
pub(crate) async fn everything(store: &EmbeddedGraphStore, edges: u32) -> Vec<Vec<Follow>> {
    let mut lists = Vec::new();
    for n in 0..=edges / 40 + 41 {
        let of = user(&format!("u{n}"));
        for page in [
            store.get_following(&of, None, usize::MAX).await.unwrap(),
            store.get_followers(&of, None, usize::MAX).await.unwrap(),
        ] {
            let Page { items, next } = page;
            assert_eq!(next, None);
            lists.push(items);
        }
    }
    lists
}

/// All blocks and mutes of the users that occur in edges 0 to `edges`, by user, newest first.
pub(crate) async fn aversions(store: &EmbeddedGraphStore, edges: u32) -> (Vec<Block>, Vec<Mute>) {
    let (mut blocks, mut mutes) = (Vec::new(), Vec::new());
    for n in 0..=edges / 40 + 41 {
        let of = user(&format!("u{n}"));
        blocks.extend(store.list_blocks(&of, None, usize::MAX).await.unwrap().items);
        mutes.extend(store.list_mutes(&of, None, usize::MAX).await.unwrap().items);
    }
    (blocks, mutes)
}

/// Makes the follower of edge `n` mute the followee.
pub(crate) async fn mute(store: &EmbeddedGraphStore, n: u32) -> bool {
    let Follow { follower, followee, at } = edge(n);
    store.add_mute(&follower, &followee, at).await.unwrap()
}

/// Makes the followee of edge `n` block the follower.
pub(crate) async fn block(store: &EmbeddedGraphStore, n: u32) -> bool {
    let Follow { follower, followee, at } = edge(n);
    store.add_block(&followee, &follower, at).await.unwrap()
}
