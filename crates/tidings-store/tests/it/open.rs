//! Stores in directories of their own.

use std::{ops::Deref, path::Path, sync::Arc};

use tempfile::TempDir;
use tidings_store::{SqliteConfig, SqliteStore};
use tidings_testkit::contract::{Store, dead_letter_store::DEAD_LETTERS_MAX};

/// A store and the directory that goes with it.
pub(crate) struct TestStore {
    // Before the directory: closed, then deleted.
    store: SqliteStore,
    _dir: TempDir,
}

impl Deref for TestStore {
    type Target = SqliteStore;
    fn deref(&self) -> &SqliteStore {
        &self.store
    }
}

pub(crate) fn open_at(path: &Path) -> SqliteStore {
    SqliteStore::open(SqliteConfig::new(path)).unwrap()
}

pub(crate) async fn open_sqlite() -> TestStore {
    open_with(|_| {})
}

/// A store whose queues, caches and commits are as small as they can be: what is said of any size
/// holds at the edge.
pub(crate) async fn open_tiny_sqlite() -> TestStore {
    open_with(|config| {
        config.reader_connections = 1;
        config.reader_queue = 1;
        config.writer_queue = 1;
        config.commit_commands = 2;
        config.commit_rows = 1;
        config.inbox_cache = 1;
    })
}

fn open_with(change: impl FnOnce(&mut SqliteConfig)) -> TestStore {
    let dir = tempfile::tempdir().unwrap();
    let mut config = SqliteConfig::new(dir.path().join("data"));
    config.dead_letters_max = DEAD_LETTERS_MAX;
    change(&mut config);
    TestStore { store: SqliteStore::open(config).unwrap(), _dir: dir }
}

/// The store of one node, for every node.
pub(crate) struct TestNodes {
    stores: Vec<Arc<dyn Store>>,
    _dir: TempDir,
}

impl Deref for TestNodes {
    type Target = [Arc<dyn Store>];
    fn deref(&self) -> &[Arc<dyn Store>] {
        &self.stores
    }
}

pub(crate) async fn open_nodes() -> TestNodes {
    let TestStore { store, _dir } = open_with(|_| {});
    let store: Arc<dyn Store> = Arc::new(store);
    TestNodes { stores: vec![store; 3], _dir }
}
