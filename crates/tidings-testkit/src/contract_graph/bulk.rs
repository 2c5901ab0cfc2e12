//! Rules about imports of all kinds, exports, erasing and the size of the graph.

use std::cell::Cell;

use tidings_core::{
    follow::{Edge, EdgeKind, FollowCounts, GraphStats},
    ports::{Cursor, GraphError, SocialGraphStore},
};

use super::{
    LISTS, List, MOST_PAGES, add, at,
    aversions::{AVERSIONS, Aversion},
    hidden::hidden,
    intersections::Shared,
    names, remove, user, whole,
};

pub(super) fn edge(kind: EdgeKind, source: &str, target: &str, millis: i64) -> Edge {
    Edge { kind, source: user(source), target: user(target), at: at(millis) }
}

/// Reads the whole graph, `limit` edges at a time.
pub(super) async fn export(store: &dyn SocialGraphStore, limit: usize) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut cursor: Option<Cursor> = None;
    for _ in 0..MOST_PAGES * 100 {
        let page = store.export_edges(cursor.as_ref(), limit).await.expect("edges are exported");
        assert!(page.items.len() <= limit, "a page has at most what was asked for");
        edges.extend(page.items);
        let Some(next) = page.next else { return edges };
        cursor = Some(next);
    }
    panic!("the export does not end");
}

/// The edges of one kind and source: targets and times, the oldest first.
pub(super) type SourceEdges = (EdgeKind, String, Vec<(String, i64)>);

/// The edges of each kind and source, in the order of the export; panics if they are not together.
pub(super) fn by_source(edges: Vec<Edge>) -> Vec<SourceEdges> {
    let mut lists: Vec<SourceEdges> = Vec::new();
    for Edge { kind, source, target, at } in edges {
        let target = (target.to_string(), at.as_millis());
        let is_it = |it: &SourceEdges| it.0 == kind && it.1 == source.as_str();
        if let Some(last) = lists.last_mut().filter(|last| is_it(last)) {
            last.2.push(target);
        } else {
            lists.push((kind, source.to_string(), vec![target]));
        }
    }
    let rank = |kind: EdgeKind| match kind {
        EdgeKind::Follow => 0,
        EdgeKind::Block => 1,
        EdgeKind::Mute => 2,
    };
    lists.sort_by(|a, b| (rank(a.0), &a.1).cmp(&(rank(b.0), &b.1)));
    let is_twice = |pair: &[SourceEdges]| pair[0].0 == pair[1].0 && pair[0].1 == pair[1].1;
    assert!(!lists.windows(2).any(is_twice), "edges of one kind and source are apart");
    lists
}

/// Edges of all kinds, in the order in which they are made: their times grow.
const GRAPH: [(EdgeKind, &str, &str); 14] = [
    (EdgeKind::Follow, "ann", "ben"),
    (EdgeKind::Follow, "cem", "ben"),
    (EdgeKind::Follow, "ben", "ann"),
    (EdgeKind::Mute, "ann", "dot"),
    (EdgeKind::Follow, "ann", "cem"),
    (EdgeKind::Block, "eva", "ann"),
    (EdgeKind::Follow, "dot", "ben"),
    (EdgeKind::Mute, "dot", "ben"),
    (EdgeKind::Block, "eva", "fay"),
    (EdgeKind::Follow, "dot", "cem"),
    (EdgeKind::Follow, "fay", "ben"),
    (EdgeKind::Block, "fay", "gus"),
    (EdgeKind::Follow, "ann", "dot"),
    (EdgeKind::Mute, "ann", "gus"),
];
const USERS: [&str; 7] = ["ann", "ben", "cem", "dot", "eva", "fay", "gus"];

fn graph() -> Vec<Edge> {
    let edge = |(n, (kind, source, target)): (i64, (EdgeKind, &str, &str))| {
        edge(kind, source, target, 10 * n)
    };
    (0..).zip(GRAPH).map(edge).collect()
}

/// These lists and all others that are not lists of follows, of all users of the sample graph.
async fn all_lists(store: &dyn SocialGraphStore, lists: &[List]) -> Vec<String> {
    let mut all = Vec::new();
    for of in USERS {
        for list in lists {
            all.push(format!("{list:?} {of} {:?}", whole(store, *list, of, 5).await));
        }
        for kind in AVERSIONS {
            all.push(format!("{kind:?} {of} {:?}", kind.whole(store, of, 5).await));
        }
        for other in USERS {
            let common = Shared::Common.whole(store, [of, other], 5).await;
            let known = Shared::Known.whole(store, [of, other], 5).await;
            all.push(format!("{of} {other} {common:?} {known:?}"));
        }
        let counts = store.counts(&user(of)).await.unwrap();
        all.push(format!("{of} {counts:?} {:?}", hidden(store, of, &USERS).await));
    }
    all
}

/// Edges of all kinds do in an import what they do one by one, in their order.
pub async fn an_import_takes_blocks_and_mutes(store: &dyn SocialGraphStore) {
    use EdgeKind::{Block, Follow, Mute};
    let edges = vec![
        edge(Follow, "ann", "ben", 1),
        edge(Follow, "ben", "ann", 2),
        edge(Mute, "ben", "ann", 3),
        edge(Block, "ann", "ben", 4),
        edge(Follow, "ben", "ann", 5),
        edge(Follow, "ann", "ben", 6),
        edge(Block, "ann", "ben", 7),
        edge(Mute, "ben", "ann", 8),
        edge(Block, "cem", "cem", 9),
        edge(Mute, "cem", "cem", 9),
        edge(Follow, "cem", "ben", 10),
        edge(Block, "ben", "ann", 11),
        edge(Mute, "ben", "cem", 12),
    ];
    assert_eq!(store.import_edges(edges.clone()).await.unwrap(), 7);
    assert_eq!(names(store, List::Following, "ann").await, [""; 0]);
    assert_eq!(names(store, List::Following, "ben").await, [""; 0]);
    assert_eq!(names(store, List::Followers, "ben").await, ["cem"]);
    let listed = [
        Aversion::Block.whole(store, "ann", 9).await,
        Aversion::Block.whole(store, "ben", 9).await,
        Aversion::Block.whole(store, "cem", 9).await,
    ];
    assert_eq!(listed, [vec![("ben".into(), Some(4))], vec![("ann".into(), Some(11))], vec![]]);
    let mutes = [("cem".to_owned(), Some(12)), ("ann".to_owned(), Some(3))];
    assert_eq!(Aversion::Mute.whole(store, "ben", 9).await, mutes);
    let refused = store.add_follow(&user("ann"), &user("ben"), at(13)).await;
    assert!(matches!(refused, Err(GraphError::Blocked)), "{refused:?}");
    assert_eq!(hidden(store, "ann", &["ben", "cem"]).await, [true, false]);
    assert_eq!(store.import_edges(edges).await.unwrap(), 0, "again nothing is new");
}

/// An export has every edge of every kind, those of one source together, the oldest first.
pub async fn an_export_has_every_edge_once(store: &dyn SocialGraphStore) {
    assert_eq!(export(store, 5).await, []);
    let edges = graph();
    assert_eq!(store.import_edges(edges.clone()).await.unwrap(), 14);
    let mut grouped = edges;
    // Stable: within a kind and source it stays the order in which they were made.
    grouped.sort_by(|a, b| a.source.cmp(&b.source));
    grouped.sort_by_key(|edge| match edge.kind {
        EdgeKind::Follow => 0,
        EdgeKind::Block => 1,
        EdgeKind::Mute => 2,
    });
    let expected = by_source(grouped);
    for limit in [1, 2, 3, 13, 14, 15, 1_000, usize::MAX] {
        assert_eq!(by_source(export(store, limit).await), expected, "{limit} at a time");
    }
    // The last page may be empty, but it says that it is the last.
    assert_eq!(store.export_edges(None, 15).await.unwrap().next, None);
    remove(store, "dot", "ben").await;
    assert!(Aversion::Block.remove(store, "fay", "gus").await.unwrap());
    assert_eq!(export(store, 4).await.len(), 12);
}

/// A graph that is exported, erased and imported again is as it was.
///
/// In the order of the export, all lists come out as they were but those of followers, whose order is
/// over many sources; in the order of time, these too.
pub async fn an_export_can_be_imported_again(store: &dyn SocialGraphStore) {
    store.import_edges(graph()).await.unwrap();
    // An edge that came back is newer than its place in the sample says.
    remove(store, "ann", "ben").await;
    add(store, "ann", "ben", 1_000).await;
    let before = all_lists(store, &LISTS).await;
    let but_followers = all_lists(store, &[List::Following, List::Friends]).await;
    let mut edges = export(store, 3).await;
    for of in USERS {
        store.erase_user(&user(of)).await.unwrap();
    }
    assert_eq!(export(store, 3).await, [], "nothing is left");
    let count = edges.len() as u64;
    assert_eq!(store.import_edges(edges.clone()).await.unwrap(), count);
    assert_eq!(all_lists(store, &[List::Following, List::Friends]).await, but_followers);
    let exported = by_source(export(store, 3).await);
    assert_eq!(exported, by_source(edges.clone()));
    for of in USERS {
        store.erase_user(&user(of)).await.unwrap();
    }
    edges.sort_by_key(|edge| edge.at);
    assert_eq!(store.import_edges(edges).await.unwrap(), count);
    assert_eq!(all_lists(store, &LISTS).await, before);
}

/// While edges come and go, an export has those that stay exactly once.
pub async fn an_export_is_exact_while_edges_come_and_go(store: &dyn SocialGraphStore) {
    let names: Vec<_> = (0..30).map(|n| format!("u{n:02}")).collect();
    let mut edges = Vec::new();
    for (millis, source) in (0..).zip(&names) {
        for target in ["stays-a", "moves-a", "stays-b", "moves-b"] {
            edges.push(edge(EdgeKind::Follow, source, target, millis));
        }
        edges.push(edge(EdgeKind::Block, source, "stays-c", millis));
        edges.push(edge(EdgeKind::Mute, source, "stays-d", millis));
    }
    assert_eq!(store.import_edges(edges).await.unwrap(), 180);
    let writing = Cell::new(true);
    let write = async {
        for source in &names {
            for target in ["moves-a", "moves-b"] {
                remove(store, source, target).await;
                add(store, source, target, 100).await;
                add(store, target, source, 100).await;
                remove(store, target, source).await;
            }
            let newcomer = format!("newcomer-{source}");
            add(store, &newcomer, source, 1).await;
            assert!(Aversion::Mute.add(store, source, &newcomer, 1).await.unwrap());
            assert_eq!(store.erase_user(&user(&newcomer)).await.unwrap(), 2);
        }
        writing.set(false);
    };
    let read = async |limit: usize| {
        while writing.get() {
            let mut edges = export(store, limit).await;
            edges.retain(|edge| edge.target.as_str().starts_with("stays"));
            let mut pairs: Vec<_> =
                edges.iter().map(|it| (it.source.as_str(), it.target.as_str())).collect();
            pairs.sort_unstable();
            let targets = ["stays-a", "stays-b", "stays-c", "stays-d"];
            let expected = names.iter().flat_map(|it| targets.map(|target| (it.as_str(), target)));
            assert!(pairs.iter().copied().eq(expected), "an edge is missing or twice: {pairs:?}");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read(3), read(50));
    assert_eq!(export(store, 7).await.len(), 180);
}

/// A cursor of a list is none of an export, nor the other way round.
pub async fn an_export_refuses_what_is_not_its_cursor(store: &dyn SocialGraphStore) {
    store.import_edges(graph()).await.unwrap();
    let cursor = store.export_edges(None, 3).await.unwrap().next.expect("there is more");
    let again = store.export_edges(Some(&cursor), 3).await.unwrap();
    assert_eq!(store.export_edges(Some(&cursor), 3).await.unwrap(), again, "it may be used twice");
    let of_list = store.get_following(&user("ann"), None, 1).await.unwrap().next;
    let of_list = of_list.expect("there is more").to_string();
    let mut texts = vec!["0".to_owned(), "-".into(), "A".repeat(256), of_list];
    texts.push(format!("0{cursor}"));
    for text in texts {
        let refused = store.export_edges(Some(&Cursor::new(text.clone()).unwrap()), 3).await.err();
        assert!(matches!(refused, Some(GraphError::BadCursor)), "{text}: {refused:?}");
    }
    let refused = store.get_following(&user("ann"), Some(&cursor), 3).await.err();
    assert!(matches!(refused, Some(GraphError::BadCursor)), "{refused:?}");
}

/// Nothing of an erased user is left, at either end and of any kind; what others have stays.
pub async fn an_erased_user_is_gone_from_every_list(store: &dyn SocialGraphStore) {
    store.import_edges(graph()).await.unwrap();
    // Ann has follows of and by others, a mute of two, and is blocked by Eva.
    assert_eq!(store.erase_user(&user("ann")).await.unwrap(), 7);
    for list in LISTS {
        assert_eq!(names(store, list, "ann").await, [""; 0], "{list:?}");
        for other in USERS {
            let listed = names(store, list, other).await;
            assert!(!listed.contains(&"ann".to_owned()), "{list:?} of {other}");
        }
    }
    for kind in AVERSIONS {
        assert_eq!(kind.whole(store, "ann", 9).await, [], "{kind:?}");
    }
    assert_eq!(Aversion::Block.whole(store, "eva", 9).await, [("fay".to_owned(), Some(80))]);
    assert_eq!(hidden(store, "ann", &USERS).await, [false; 7]);
    assert_eq!(hidden(store, "gus", &["ann", "fay"]).await, [false, true]);
    assert_eq!(store.counts(&user("ann")).await.unwrap(), FollowCounts::default());
    assert_eq!(names(store, List::Followers, "ben").await, ["fay", "dot", "cem"]);
    let edges = export(store, 3).await;
    assert_eq!(edges.len(), 7);
    assert!(!edges.iter().any(|it| it.source == user("ann") || it.target == user("ann")));
    assert_eq!(store.erase_user(&user("ann")).await.unwrap(), 0, "again there is nothing");
    assert_eq!(store.erase_user(&user("nobody")).await.unwrap(), 0);
}

/// Whoever comes back after being erased has no history: no block stands, no list goes on.
pub async fn an_erased_user_starts_anew(store: &dyn SocialGraphStore) {
    for _ in 0..3 {
        assert!(Aversion::Block.add(store, "eva", "ann", 1).await.unwrap());
        assert!(Aversion::Block.add(store, "ann", "fay", 2).await.unwrap());
        assert!(Aversion::Mute.add(store, "cem", "ann", 3).await.unwrap());
        add(store, "ann", "ben", 4).await;
        add(store, "ben", "ann", 5).await;
        assert_eq!(store.erase_user(&user("ann")).await.unwrap(), 5);
        add(store, "ann", "eva", 6).await;
        add(store, "fay", "ann", 7).await;
        add(store, "ann", "fay", 8).await;
        assert_eq!(hidden(store, "ann", &["cem", "eva", "fay"]).await, [false; 3]);
        let following = [("fay".to_owned(), Some(8)), ("eva".to_owned(), Some(6))];
        assert_eq!(whole(store, List::Following, "ann", 1).await, following);
        let followers = [("fay".to_owned(), Some(7))];
        assert_eq!(whole(store, List::Followers, "ann", 1).await, followers);
        assert_eq!(names(store, List::Friends, "ann").await, ["fay"]);
        assert_eq!(store.erase_user(&user("ann")).await.unwrap(), 3);
    }
}

/// Long lists are erased whole.
pub async fn a_user_with_many_edges_is_erased_whole(store: &dyn SocialGraphStore) {
    let mut edges = Vec::new();
    for n in 0..9_000 {
        edges.push(edge(EdgeKind::Follow, &format!("u{n}"), "hub", n));
    }
    for n in 0..500 {
        edges.push(edge(EdgeKind::Follow, "hub", &format!("u{n}"), n));
        edges.push(edge(EdgeKind::Mute, &format!("u{n}"), "hub", n));
        edges.push(edge(EdgeKind::Block, &format!("b{n}"), "hub", n));
        edges.push(edge(EdgeKind::Follow, &format!("u{n}"), &format!("u{}", n + 1), n));
    }
    assert_eq!(store.import_edges(edges).await.unwrap(), 11_000);
    assert_eq!(store.erase_user(&user("hub")).await.unwrap(), 10_500);
    for list in LISTS {
        assert_eq!(names(store, list, "hub").await, [""; 0], "{list:?}");
    }
    let left = store.counts(&user("u7")).await.unwrap();
    assert_eq!(left, FollowCounts { followers: 1, following: 1 });
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.follows, stats.blocks, stats.mutes), (500, 0, 0));
    assert_eq!(export(store, 1_000).await.len(), 500);
}

/// The size of the graph is right after every change, also those that change nothing.
pub async fn stats_follow_every_change(store: &dyn SocialGraphStore) {
    let sizes = |users, follows, blocks, mutes| GraphStats { users, follows, blocks, mutes };
    let expect = async |expected: GraphStats| {
        assert_eq!(store.stats().await.unwrap(), expected);
    };
    expect(sizes(0, 0, 0, 0)).await;
    add(store, "ann", "ben", 1).await;
    expect(sizes(2, 1, 0, 0)).await;
    store.add_follow(&user("ann"), &user("ben"), at(2)).await.unwrap();
    assert!(store.add_follow(&user("dot"), &user("dot"), at(2)).await.is_err());
    assert!(!store.is_following(&user("eva"), &user("fay")).await.unwrap());
    assert!(!store.remove_follow(&user("eva"), &user("fay")).await.unwrap());
    expect(sizes(2, 1, 0, 0)).await;
    add(store, "ben", "ann", 3).await;
    assert!(Aversion::Mute.add(store, "cem", "ann", 4).await.unwrap());
    expect(sizes(3, 2, 0, 1)).await;
    assert!(Aversion::Block.add(store, "ann", "ben", 5).await.unwrap());
    expect(sizes(3, 0, 1, 1)).await;
    assert!(Aversion::Block.remove(store, "ann", "ben").await.unwrap());
    assert!(Aversion::Mute.remove(store, "cem", "ann").await.unwrap());
    expect(sizes(3, 0, 0, 0)).await;
}

/// The size of the graph does not count a user who was erased.
pub async fn an_erased_user_is_not_counted(store: &dyn SocialGraphStore) {
    store.import_edges(graph()).await.unwrap();
    assert_eq!(store.stats().await.unwrap().users, 7);
    store.erase_user(&user("ann")).await.unwrap();
    let left = GraphStats { users: 6, follows: 4, blocks: 2, mutes: 1 };
    assert_eq!(store.stats().await.unwrap(), left);
    add(store, "ann", "ben", 1).await;
    assert_eq!(store.stats().await.unwrap(), GraphStats { users: 7, follows: 5, ..left });
}
