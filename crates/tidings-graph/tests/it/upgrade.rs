//! Directories of earlier formats.

use std::{fs, path::Path};

use tidings_core::{
    follow::Hidden,
    ports::{Cursor, GraphError, SocialGraphStore},
};
use tidings_graph::{EmbeddedGraphStore, GraphOpenError};

use crate::harness::{aversions, block, config, edge, everything, mute, open};

/// Written by the last program that knew follows only: edges 0 to 119, of which 3 and 50 were removed
/// and 3 came back.
const FOLLOWS_ONLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/format-1");

/// Written by the last program that gave follows numbers of the whole graph: edges 0 to 239, of which 3,
/// 50 and 100 were removed and 3 and 50 came back; mutes for 200 to 209 and blocks for 210 to 214, of
/// which the first was taken back.
const NUMBERED_THROUGHOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/format-2");
/// A cursor of that program, into those whom the follower of edge 210 follows.
const OLD_CURSOR: &str = "gee-741da93daa106ac0";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::write(to, fs::read(&path).unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_without_blocks_and_mutes_opens_whole_and_takes_them() {
    let directory = tempfile::tempdir().unwrap();
    copy(Path::new(FOLLOWS_ONLY), directory.path());
    assert!(!directory.path().join("graph.id").exists(), "it is older than ids");
    let store = open(directory.path());
    let id = store.id();
    let follows = everything(&store, 120).await;
    assert_eq!(follows.iter().map(Vec::len).sum::<usize>(), 2 * 119, "each edge is listed twice");
    let newest = edge(3);
    let page = store.get_following(&newest.follower, None, 1).await.unwrap();
    assert_eq!(page.items, [newest]);
    assert!(!store.is_following(&edge(50).follower, &edge(50).followee).await.unwrap());
    assert_eq!(aversions(&store, 120).await, (Vec::new(), Vec::new()));
    // Opened and closed without a change, it is as it was.
    store.close().await;
    drop(store);

    let store = open(directory.path());
    assert_eq!(store.id(), id);
    assert_eq!(everything(&store, 120).await, follows);
    assert!(mute(&store, 7).await && block(&store, 8).await);
    let before = (everything(&store, 120).await, aversions(&store, 120).await);
    store.close().await;
    drop(store);
    let store = open(directory.path());
    assert_eq!((everything(&store, 120).await, aversions(&store, 120).await), before);
    let [seven, eight] = [7, 8].map(edge);
    assert!(store.is_following(&seven.follower, &seven.followee).await.unwrap());
    assert!(!store.is_following(&eight.follower, &eight.followee).await.unwrap());
    let hidden = store.hidden_from(&seven.followee, &[seven.follower]).await.unwrap();
    assert_eq!(hidden, Hidden::Those(vec![true]));
}

#[tokio::test]
async fn a_directory_of_format_2_opens_whole_and_its_cursors_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    copy(Path::new(NUMBERED_THROUGHOUT), directory.path());
    let id = fs::read_to_string(directory.path().join("graph.id")).unwrap();
    let store = open(directory.path());
    assert_eq!(store.id().to_string(), id.trim_end());
    assert!(!directory.path().join("edges").exists(), "it is replaced");
    let lists = everything(&store, 240).await;
    assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), 2 * 234);
    let first = store.get_following(&edge(3).follower, None, 2).await.unwrap();
    assert_eq!(first.items, [edge(3), edge(39)]);
    let (blocks, mutes) = aversions(&store, 240).await;
    assert_eq!((blocks.len(), mutes.len()), (4, 10));
    let newest = mutes.iter().map(|it| it.at).max();
    assert_eq!(newest, Some(edge(209).at));
    let old = Cursor::new(OLD_CURSOR.to_owned()).unwrap();
    let refused = store.get_following(&edge(210).follower, Some(&old), 5).await;
    assert!(matches!(refused, Err(GraphError::BadCursor)), "{refused:?}");
    // What comes now is newer than all before.
    assert!(mute(&store, 215).await && block(&store, 216).await);
    let [muted, _] = [215, 216].map(edge);
    let page = store.list_mutes(&muted.follower, None, 1).await.unwrap();
    assert_eq!(page.items[0].muted, muted.followee);
    let before = (everything(&store, 240).await, aversions(&store, 240).await);
    store.close().await;
    drop(store);
    let store = open(directory.path());
    assert!((everything(&store, 240).await, aversions(&store, 240).await) == before);
}

#[tokio::test]
async fn an_upgrade_that_a_crash_ended_is_done_again_or_is_done() {
    let directory = tempfile::tempdir().unwrap();
    copy(Path::new(NUMBERED_THROUGHOUT), directory.path());
    let store = open(directory.path());
    let lists = everything(&store, 240).await;
    store.close().await;
    drop(store);
    // Before the snapshot had its name.
    let half = tempfile::tempdir().unwrap();
    copy(Path::new(NUMBERED_THROUGHOUT), half.path());
    fs::write(half.path().join("snapshot-0000000000000001-00000001.new"), b"TIDGRAPH").unwrap();
    assert!(everything(&open(half.path()), 240).await == lists);
    // Before what it replaces was removed, or when half of that was.
    for keyspaces in [true, false] {
        copy(Path::new(NUMBERED_THROUGHOUT), directory.path());
        if !keyspaces {
            fs::remove_dir_all(directory.path().join("edges/keyspaces")).unwrap();
        }
        let store = open(directory.path());
        assert!(everything(&store, 240).await == lists);
        assert!(!directory.path().join("edges").exists());
        store.close().await;
    }
}

#[tokio::test]
async fn a_directory_of_a_format_to_come_is_refused_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    copy(Path::new(NUMBERED_THROUGHOUT), directory.path());
    open(directory.path()).close().await;
    let snapshot = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path());
    let snapshot = snapshot.into_iter().find(|it| it.extension().is_some_and(|it| it == "graph"));
    let snapshot = snapshot.unwrap();
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[8] = 9;
    let check = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[..12], 0);
    bytes[12..20].copy_from_slice(&check.to_le_bytes());
    fs::write(&snapshot, bytes).unwrap();
    let error = EmbeddedGraphStore::open(config(directory.path())).unwrap_err();
    assert!(matches!(error, GraphOpenError::Newer { found: 9, known: 3, .. }), "{error:?}");
    assert!(error.to_string().contains(snapshot.to_str().unwrap()), "{error}");
}
