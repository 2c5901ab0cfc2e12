//! Rules about single edges, counts and imports.

use tidings_core::{
    follow::FollowCounts,
    ports::{GraphError, SocialGraphStore},
};

use super::{LISTS, List, add, at, follow, import, names, remove, user, whole};

fn counts(followers: u64, following: u64) -> FollowCounts {
    FollowCounts { followers, following }
}

/// An edge that exists keeps its time and its place.
pub async fn following_twice_is_following_once_with_the_first_time(store: &dyn SocialGraphStore) {
    add(store, "ann", "ben", 10).await;
    add(store, "ann", "cem", 11).await;
    let again = store.add_follow(&user("ann"), &user("ben"), at(99)).await.unwrap();
    assert!(!again, "the edge is not new");
    let expected = [("cem".to_owned(), Some(11)), ("ben".to_owned(), Some(10))];
    assert_eq!(whole(store, List::Following, "ann", 10).await, expected);
    let expected = [("ann".to_owned(), Some(10))];
    assert_eq!(whole(store, List::Followers, "ben", 10).await, expected);
    assert_eq!(store.counts(&user("ben")).await.unwrap(), counts(1, 0));
}

/// A follow of oneself is an error and leaves nothing.
pub async fn a_user_cannot_follow_themself(store: &dyn SocialGraphStore) {
    let refused = store.add_follow(&user("ann"), &user("ann"), at(1)).await;
    assert!(matches!(refused, Err(GraphError::SelfFollow)), "{refused:?}");
    assert_eq!(store.counts(&user("ann")).await.unwrap(), counts(0, 0));
    assert!(!store.is_following(&user("ann"), &user("ann")).await.unwrap());
    assert!(!store.remove_follow(&user("ann"), &user("ann")).await.unwrap());
}

/// Removing says whether there was an edge, and only the first time there was.
pub async fn unfollowing_is_idempotent(store: &dyn SocialGraphStore) {
    add(store, "ann", "ben", 1).await;
    assert!(!store.remove_follow(&user("ben"), &user("ann")).await.unwrap(), "the other direction");
    remove(store, "ann", "ben").await;
    assert!(!store.remove_follow(&user("ann"), &user("ben")).await.unwrap());
    assert!(!store.is_following(&user("ann"), &user("ben")).await.unwrap());
    assert_eq!(names(store, List::Following, "ann").await, [""; 0]);
    assert_eq!(names(store, List::Followers, "ben").await, [""; 0]);
}

/// An edge that was removed and added again has its new time and is first.
pub async fn an_edge_that_comes_back_is_the_newest(store: &dyn SocialGraphStore) {
    for (millis, followee) in [(1, "ben"), (2, "cem"), (3, "dot")] {
        add(store, "ann", followee, millis).await;
    }
    remove(store, "ann", "ben").await;
    // An older time: the order is that of the edges' making here, not of what the clock said.
    add(store, "ann", "ben", 0).await;
    let expected = [("ben", 0), ("dot", 3), ("cem", 2)].map(|(id, at)| (id.to_owned(), Some(at)));
    assert_eq!(whole(store, List::Following, "ann", 2).await, expected);
    assert_eq!(store.counts(&user("ann")).await.unwrap(), counts(0, 3));
}

/// `is_following` tells follower from followee.
pub async fn is_following_knows_the_direction(store: &dyn SocialGraphStore) {
    add(store, "ann", "ben", 1).await;
    assert!(store.is_following(&user("ann"), &user("ben")).await.unwrap());
    assert!(!store.is_following(&user("ben"), &user("ann")).await.unwrap());
    assert!(!store.is_following(&user("ann"), &user("cem")).await.unwrap());
}

/// Counts are right after every add and remove, also those that change nothing.
pub async fn counts_follow_every_change(store: &dyn SocialGraphStore) {
    for (index, fan) in ["ben", "cem", "dot"].into_iter().enumerate() {
        add(store, fan, "ann", 1).await;
        let followers = u64::try_from(index).unwrap() + 1;
        assert_eq!(store.counts(&user("ann")).await.unwrap(), counts(followers, 0));
    }
    add(store, "ann", "ben", 2).await;
    store.add_follow(&user("ann"), &user("ben"), at(3)).await.unwrap();
    assert_eq!(store.counts(&user("ann")).await.unwrap(), counts(3, 1));
    remove(store, "cem", "ann").await;
    store.remove_follow(&user("cem"), &user("ann")).await.unwrap();
    assert_eq!(store.counts(&user("ann")).await.unwrap(), counts(2, 1));
    assert_eq!(store.counts(&user("cem")).await.unwrap(), counts(0, 0));
}

/// Whoever was never named has nothing, and asking makes nothing.
pub async fn unknown_users_have_no_edges(store: &dyn SocialGraphStore) {
    add(store, "ann", "ben", 1).await;
    for list in LISTS {
        assert_eq!(names(store, list, "nobody").await, [""; 0], "{list:?}");
    }
    assert_eq!(store.counts(&user("nobody")).await.unwrap(), counts(0, 0));
    assert!(!store.is_following(&user("nobody"), &user("ann")).await.unwrap());
    assert!(!store.is_following(&user("ann"), &user("nobody")).await.unwrap());
    assert!(!store.remove_follow(&user("ann"), &user("nobody")).await.unwrap());
    assert!(!store.remove_follow(&user("nobody"), &user("ann")).await.unwrap());
}

/// Ids are opaque: length, script, case, white space, numbers and the letters of other encodings.
pub async fn ids_of_128_bytes_and_of_any_script_are_kept_apart(store: &dyn SocialGraphStore) {
    let long = "x".repeat(128);
    let almost = format!("{}y", "x".repeat(127));
    let ids = [
        &long,
        &almost,
        "x",
        "1",
        "01",
        "Ann",
        "ann",
        "ann ",
        "a/b?c=d&e#f%20",
        "u:1",
        "'\"`\\;--",
        "žluťoučký",
        "é",
        "e\u{301}",
        "用户",
        "🦀",
        "🦀🦀",
        "مستخدم",
        "\u{200d}",
        "$1",
        "{}",
        "null",
    ];
    for (index, id) in ids.into_iter().enumerate() {
        let millis = i64::try_from(index).unwrap();
        add(store, id, "hub", millis).await;
        add(store, "hub", id, millis).await;
    }
    let expected: Vec<_> = ids.into_iter().rev().map(str::to_owned).collect();
    for list in LISTS {
        assert_eq!(names(store, list, "hub").await, expected, "{list:?}");
    }
    for id in ids {
        assert_eq!(store.counts(&user(id)).await.unwrap(), counts(1, 1), "{id:?}");
    }
}

/// An import counts what is new, whether it was there before or twice in the import.
pub async fn an_import_leaves_self_follows_out_and_is_idempotent(store: &dyn SocialGraphStore) {
    let follows = vec![
        follow("ann", "ben", 1),
        follow("ann", "ann", 2),
        follow("ben", "ann", 3),
        follow("ann", "ben", 4),
        follow("dot", "dot", 5),
    ];
    assert_eq!(import(store, follows.clone()).await.unwrap(), 2);
    assert_eq!(import(store, follows).await.unwrap(), 0);
    let expected = [("ben".to_owned(), Some(1))];
    assert_eq!(whole(store, List::Following, "ann", 10).await, expected);
    assert_eq!(store.counts(&user("ann")).await.unwrap(), counts(1, 1));
    assert_eq!(store.counts(&user("dot")).await.unwrap(), counts(0, 0));
}

/// Edges are as new as their place in the import; those that exist keep theirs.
pub async fn an_import_keeps_its_order_and_the_edges_that_exist(store: &dyn SocialGraphStore) {
    add(store, "u7", "hub", 1_000).await;
    let follows: Vec<_> = (0..3_000).map(|n| follow(&format!("u{n}"), "hub", 5_000 - n)).collect();
    assert_eq!(import(store, follows).await.unwrap(), 2_999);
    add(store, "last", "hub", 1).await;
    let listed = whole(store, List::Followers, "hub", 700).await;
    let newest = [("last".to_owned(), Some(1))];
    let imported = (0..3_000).rev().filter(|n| *n != 7);
    let imported = imported.map(|n| (format!("u{n}"), Some(5_000 - n)));
    let oldest = [("u7".to_owned(), Some(1_000))];
    let expected: Vec<_> = newest.into_iter().chain(imported).chain(oldest).collect();
    assert_eq!(listed, expected);
    assert_eq!(store.counts(&user("hub")).await.unwrap(), counts(3_001, 0));
}

/// An empty import is fine.
pub async fn an_import_of_nothing_adds_nothing(store: &dyn SocialGraphStore) {
    assert_eq!(import(store, Vec::new()).await.unwrap(), 0);
    assert_eq!(import(store, vec![follow("ann", "ann", 1)]).await.unwrap(), 0);
}
