//! Closing, opening again, and opening twice.

use tidings_core::{
    follow::{Edge, EdgeKind, FollowCounts},
    ports::{GraphError, SocialGraphStore},
};
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore, GraphOpenError};

use crate::harness::{aversions, block, checkpointing, config, edge, everything, mute, open, user};

#[tokio::test]
async fn a_graph_that_is_opened_again_has_everything_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let edges = 20_000;
    store.import_edges((0..edges).map(edge).map(Edge::from).collect()).await.unwrap();
    for n in (0..edges).step_by(500) {
        assert!(store.remove_follow(&edge(n).follower, &edge(n).followee).await.unwrap());
    }
    for n in (0..edges).step_by(1_000) {
        let edge = edge(n);
        assert!(store.add_follow(&edge.follower, &edge.followee, edge.at).await.unwrap());
    }
    let page = store.get_followers(&user("u77"), None, 3).await.unwrap();
    let before = everything(&store, edges).await;
    store.close().await;
    drop(store);

    let store = open(directory.path());
    assert_eq!(everything(&store, edges).await, before);
    let rest = store.get_followers(&user("u77"), page.next.as_ref(), usize::MAX).await.unwrap();
    let all = store.get_followers(&user("u77"), None, usize::MAX).await.unwrap();
    assert_eq!([page.items, rest.items].concat(), all.items, "a cursor outlives the process");
    // Edge 0 was the last but one to come back; what comes now is newer than all before.
    let newest = edge(edges);
    assert!(store.add_follow(&user("u0"), &newest.followee, newest.at).await.unwrap());
    let page = store.get_following(&user("u0"), None, 1).await.unwrap();
    assert_eq!(page.items[0].followee, newest.followee);
}

#[tokio::test]
async fn blocks_and_mutes_are_there_again_with_what_they_do() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let edges = 2_000;
    store.import_edges((0..edges).map(edge).map(Edge::from).collect()).await.unwrap();
    for n in 0..edges {
        match n % 10 {
            0 => assert!(mute(&store, n).await),
            1 => assert!(block(&store, n).await),
            _ => {}
        }
    }
    for n in (0..edges).step_by(100) {
        assert!(store.remove_mute(&edge(n).follower, &edge(n).followee).await.unwrap());
        let blocked = edge(n + 1);
        assert!(store.remove_block(&blocked.followee, &blocked.follower).await.unwrap());
        assert!(store.add_follow(&blocked.follower, &blocked.followee, blocked.at).await.unwrap());
    }
    // It comes back as the newest.
    assert!(mute(&store, 0).await);
    let lists = (everything(&store, edges).await, aversions(&store, edges).await);
    let first = store.list_mutes(&user("u0"), None, 1).await.unwrap();
    assert_eq!((lists.1.0.len(), lists.1.1.len()), (180, 181));
    store.close().await;
    drop(store);

    let store = open(directory.path());
    assert_eq!((everything(&store, edges).await, aversions(&store, edges).await), lists);
    let rest = store.list_mutes(&user("u0"), first.next.as_ref(), usize::MAX).await.unwrap();
    let all = store.list_mutes(&user("u0"), None, usize::MAX).await.unwrap();
    assert_eq!([first.items, rest.items].concat(), all.items, "a cursor outlives the process");
    let [muted, blocked] = [10, 11].map(edge);
    let hidden = store.hidden_from(&muted.followee, &[muted.follower]).await.unwrap();
    assert!(hidden.contains(0));
    let refused = store.add_follow(&blocked.follower, &blocked.followee, blocked.at).await;
    assert!(matches!(refused, Err(GraphError::Blocked)), "{refused:?}");
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_has_closed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let refused = EmbeddedGraphStore::open(config(directory.path())).unwrap_err();
    assert!(matches!(refused, GraphOpenError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains(directory.path().to_str().unwrap()), "{refused}");
    store.close().await;
    let second = open(directory.path());
    store.close().await;
    second.check().await.unwrap();
}

#[tokio::test]
async fn a_closed_graph_refuses_writes_and_still_answers_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = edge(0);
    store.add_follow(&first.follower, &first.followee, first.at).await.unwrap();
    store.close().await;
    let refused = store.remove_follow(&first.follower, &first.followee).await.unwrap_err();
    assert!(matches!(refused, GraphError::Unavailable { .. }) && refused.is_transient());
    assert!(matches!(store.check().await, Err(GraphError::Unavailable { .. })));
    assert!(store.is_following(&first.follower, &first.followee).await.unwrap());
}

#[tokio::test]
async fn a_full_graph_says_so_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let config = EmbeddedGraphConfig { max_users: 3, ..config(directory.path()) };
    let store = EmbeddedGraphStore::open(config.clone()).unwrap();
    let [first, second, third] = [0, 1, 2].map(edge);
    store.add_follow(&first.follower, &first.followee, first.at).await.unwrap();
    let full = store.import_edges(vec![second.clone().into(), third.into()]).await.unwrap_err();
    assert!(matches!(full, GraphError::Full { limit: 3 }), "{full:?}");
    drop(store);
    let store = EmbeddedGraphStore::open(config).unwrap();
    assert_eq!(store.counts(&first.follower).await.unwrap().following, 2);
    assert!(store.is_following(&second.follower, &second.followee).await.unwrap());
    assert!(store.add_follow(&second.followee, &first.followee, first.at).await.unwrap());
}

#[test]
fn a_store_that_was_never_finished_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let unfinished = directory.path().join("log-00000001.new");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("0.jnl"), b"").unwrap();
    let snapshot = directory.path().join("snapshot-0000000000000001-00000001.new");
    std::fs::write(&snapshot, b"half").unwrap();
    drop(open(directory.path()));
    assert!(!unfinished.exists() && !snapshot.exists());
}

#[tokio::test]
async fn snapshots_keep_every_list_its_order_and_its_cursors() {
    let directory = tempfile::tempdir().unwrap();
    let edges = 8_000;
    let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 700)).unwrap();
    let mut cursors = Vec::new();
    for from in (0..edges).step_by(400) {
        let piece = (from..from + 400).map(edge).map(Edge::from).collect();
        store.import_edges(piece).await.unwrap();
        for n in (from..from + 400).step_by(9) {
            let edge = edge(n);
            assert!(store.remove_follow(&edge.follower, &edge.followee).await.unwrap());
            if n % 2 == 0 {
                assert!(store.add_follow(&edge.follower, &edge.followee, edge.at).await.unwrap());
            }
            if n % 5 == 0 {
                assert!(mute(&store, n + 1).await && block(&store, n + 2).await);
            }
        }
        let of = edge(from).follower;
        let page = store.get_following(&of, None, 7).await.unwrap();
        let all = store.get_following(&of, None, usize::MAX).await.unwrap();
        cursors.push((of, page.next, all.items[7..].to_vec()));
    }
    let before = (everything(&store, edges).await, aversions(&store, edges).await);
    let snapshots = || {
        let files = std::fs::read_dir(directory.path()).unwrap();
        let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.filter(|it| it.starts_with("snapshot-")).count()
    };
    assert!(snapshots() > 0);
    store.close().await;
    drop(store);
    assert_eq!(snapshots(), 2, "the newest and the one before it");
    for _ in 0..2 {
        let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 700)).unwrap();
        let content = (everything(&store, edges).await, aversions(&store, edges).await);
        assert!(content == before);
        for (of, next, expected) in &cursors {
            let rest = store.get_following(of, next.as_ref(), usize::MAX).await.unwrap();
            assert_eq!(&rest.items, expected);
        }
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_muted_and_unmuted_again_and_again_does_not_stay_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 100)).unwrap();
    let (ann, ben) = (user("ann"), user("ben"));
    for _ in 0..500 {
        assert!(store.add_mute(&ann, &ben, edge(0).at).await.unwrap());
        assert!(store.remove_mute(&ann, &ben).await.unwrap());
    }
    store.close().await;
    let files = std::fs::read_dir(directory.path()).unwrap();
    let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|it| it.starts_with("snapshot-")).count(), 2);
}

#[tokio::test]
async fn an_erased_id_is_on_the_disk_no_more_after_two_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 200)).unwrap();
    let name = "a-name-that-must-go";
    let (gone, other) = (user(name), user("other"));
    for n in 0..1_500 {
        let follow = edge(n);
        store.add_follow(&gone, &follow.follower, follow.at).await.unwrap();
        store.add_mute(&follow.followee, &gone, follow.at).await.unwrap();
    }
    store.add_block(&gone, &other, edge(0).at).await.unwrap();
    let erased = store.erase_user(&gone).await.unwrap();
    assert_eq!(store.erase_user(&gone).await.unwrap(), 0);
    assert!(erased > 70, "{erased}");
    assert_eq!(store.counts(&gone).await.unwrap(), FollowCounts::default());
    let mut n = 0;
    // Each close makes a snapshot of what has changed.
    let mut store = store;
    for _ in 0..3 {
        store.import_edges((n..n + 300).map(edge).map(Edge::from).collect()).await.unwrap();
        n += 300;
        store.close().await;
        drop(store);
        store = EmbeddedGraphStore::open(checkpointing(directory.path(), 200)).unwrap();
    }
    store.close().await;
    let mut files = vec![directory.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|it| it.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(name.len()).any(|it| it == name.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

#[tokio::test]
async fn snapshots_are_whole_although_users_are_erased_while_they_are_made() {
    let directory = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 300)).unwrap();
        let from = life * 6_000;
        // Snapshots are under way nearly all the time.
        let import = async {
            for first in (from..from + 6_000).step_by(100) {
                let edges = (first..first + 100).map(edge).map(Edge::from).collect();
                store.import_edges(edges).await.unwrap();
            }
        };
        let erase = async {
            for n in 0..300 {
                let name = user(&format!("gone-{life}-{n}"));
                store.add_follow(&name, &user("hub"), edge(0).at).await.unwrap();
                store.erase_user(&name).await.unwrap();
            }
        };
        tokio::join!(import, erase);
        let before = everything(&store, from + 6_000).await;
        let stats = store.stats().await.unwrap();
        store.close().await;
        drop(store);
        let store = EmbeddedGraphStore::open(checkpointing(directory.path(), 300)).unwrap();
        assert!(everything(&store, from + 6_000).await == before, "life {life}");
        assert_eq!(store.stats().await.unwrap(), stats);
        store.close().await;
        let mut files = std::fs::read_dir(directory.path()).unwrap();
        let is_damaged = |it: std::io::Result<std::fs::DirEntry>| {
            it.unwrap().file_name().to_string_lossy().contains("damaged")
        };
        assert!(!files.any(is_damaged), "a snapshot was taken for damaged");
    }
}

#[tokio::test]
async fn two_who_erase_a_user_at_once_are_both_answered_when_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedGraphStore::open(config(directory.path())).unwrap();
    for round in 0..20 {
        let gone = user(&format!("gone-{round}"));
        let follow = |n: u32| Edge {
            kind: EdgeKind::Follow,
            source: user(&format!("fan-{n}")),
            target: gone.clone(),
            at: edge(0).at,
        };
        store.import_edges((0..700).map(follow).collect()).await.unwrap();
        let erase = async {
            store.erase_user(&gone).await.unwrap();
            let page = store.get_followers(&gone, None, 10).await.unwrap();
            assert!(page.items.is_empty(), "round {round}: it was answered too early");
        };
        let again = async {
            store.erase_user(&gone).await.unwrap();
            let counts = store.counts(&gone).await.unwrap();
            assert_eq!(counts, FollowCounts::default(), "round {round}");
        };
        tokio::join!(erase, again);
    }
    store.close().await;
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("graph");
    let error = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(&path)).unwrap_err();
    assert!(matches!(error, GraphOpenError::Directory { .. }), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}
