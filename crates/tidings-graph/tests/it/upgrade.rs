//! Directories of earlier formats.

use std::{fs, path::Path};

use tidings_core::{follow::Hidden, ports::SocialGraphStore};

use crate::harness::{aversions, block, edge, everything, mute, open};

/// Written by the last program that knew follows only: edges 0 to 119, of which 3 and 50 were removed
/// and 3 came back.
const FOLLOWS_ONLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/format-1");

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
