//! Rules about blocks and mutes: what they do, and their lists.

use tidings_core::{
    follow::FollowCounts,
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

use super::{List, Listed, MOST_PAGES, add, at, follow, import, names, user};

/// A kind of edge by which a user turns away from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aversion {
    Block,
    Mute,
}

pub(super) const AVERSIONS: [Aversion; 2] = [Aversion::Block, Aversion::Mute];

impl Aversion {
    pub(super) async fn add(
        self,
        store: &dyn SocialGraphStore,
        source: &str,
        target: &str,
        millis: i64,
    ) -> Result<bool, GraphError> {
        let (source, target) = (user(source), user(target));
        match self {
            Self::Block => store.add_block(&source, &target, at(millis)).await,
            Self::Mute => store.add_mute(&source, &target, at(millis)).await,
        }
    }

    pub(super) async fn remove(
        self,
        store: &dyn SocialGraphStore,
        source: &str,
        target: &str,
    ) -> Result<bool, GraphError> {
        let (source, target) = (user(source), user(target));
        match self {
            Self::Block => store.remove_block(&source, &target).await,
            Self::Mute => store.remove_mute(&source, &target).await,
        }
    }

    async fn page(
        self,
        store: &dyn SocialGraphStore,
        of: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Listed>, GraphError> {
        let of = user(of);
        let (items, next): (Vec<_>, _) = match self {
            Self::Block => {
                let page = store.list_blocks(&of, cursor, limit).await?;
                assert!(page.items.iter().all(|it| it.blocker == of), "others' blocks are listed");
                (page.items.into_iter().map(|it| (it.blocked, it.at)).collect(), page.next)
            }
            Self::Mute => {
                let page = store.list_mutes(&of, cursor, limit).await?;
                assert!(page.items.iter().all(|it| it.muter == of), "others' mutes are listed");
                (page.items.into_iter().map(|it| (it.muted, it.at)).collect(), page.next)
            }
        };
        let show = |(user, at): (tidings_core::ids::UserId, tidings_core::clock::Timestamp)| {
            (user.to_string(), Some(at.as_millis()))
        };
        Ok(Page { items: items.into_iter().map(show).collect(), next })
    }

    /// Reads the list to its end, `limit` at a time.
    pub(super) async fn whole(
        self,
        store: &dyn SocialGraphStore,
        of: &str,
        limit: usize,
    ) -> Vec<Listed> {
        let mut items = Vec::new();
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            let page = self.page(store, of, cursor.as_ref(), limit).await.unwrap();
            assert!(page.items.len() <= limit, "a page has at most what was asked for");
            items.extend(page.items);
            let Some(next) = page.next else { return items };
            cursor = Some(next);
        }
        panic!("the list of {of} does not end");
    }
}

async fn is_following(store: &dyn SocialGraphStore, follower: &str, followee: &str) -> bool {
    store.is_following(&user(follower), &user(followee)).await.unwrap()
}

/// A block takes the follows in both directions away, and no others.
pub async fn a_block_removes_the_follows_between_the_two(store: &dyn SocialGraphStore) {
    for (follower, followee) in
        [("ann", "ben"), ("ben", "ann"), ("ann", "cem"), ("cem", "ben"), ("ben", "cem")]
    {
        add(store, follower, followee, 1).await;
    }
    assert!(Aversion::Block.add(store, "ann", "ben", 2).await.unwrap());
    assert!(!is_following(store, "ann", "ben").await);
    assert!(!is_following(store, "ben", "ann").await);
    for of in ["ann", "ben"] {
        let counts = store.counts(&user(of)).await.unwrap();
        let followers = u64::from(of == "ben");
        assert_eq!(counts, FollowCounts { followers, following: 1 }, "{of}");
        assert_eq!(names(store, List::Following, of).await, ["cem"]);
    }
    assert_eq!(names(store, List::Friends, "ann").await, [""; 0]);
    assert_eq!(names(store, List::Friends, "ben").await, ["cem"]);
}

/// While a block stands, neither can follow the other; afterwards both can, and nothing came back.
pub async fn a_block_refuses_follows_both_ways_while_it_stands(store: &dyn SocialGraphStore) {
    add(store, "ann", "ben", 1).await;
    assert!(Aversion::Block.add(store, "ben", "ann", 2).await.unwrap());
    for (follower, followee) in [("ann", "ben"), ("ben", "ann")] {
        let refused = store.add_follow(&user(follower), &user(followee), at(3)).await;
        assert!(matches!(refused, Err(GraphError::Blocked)), "{refused:?}");
        assert!(!is_following(store, follower, followee).await);
    }
    assert!(Aversion::Block.remove(store, "ben", "ann").await.unwrap());
    assert!(!is_following(store, "ann", "ben").await, "the follow stays away");
    add(store, "ann", "ben", 4).await;
    add(store, "ben", "ann", 5).await;
}

/// Each of two may block the other; each block is the blocker's own.
pub async fn blocks_in_both_directions_stand_apart(store: &dyn SocialGraphStore) {
    assert!(Aversion::Block.add(store, "ann", "ben", 1).await.unwrap());
    assert!(!Aversion::Block.remove(store, "ben", "ann").await.unwrap(), "it is not ben's");
    assert!(Aversion::Block.add(store, "ben", "ann", 2).await.unwrap());
    assert!(Aversion::Block.remove(store, "ann", "ben").await.unwrap());
    let refused = store.add_follow(&user("ann"), &user("ben"), at(3)).await;
    assert!(matches!(refused, Err(GraphError::Blocked)), "{refused:?}");
    assert_eq!(Aversion::Block.whole(store, "ann", 9).await, []);
    assert_eq!(Aversion::Block.whole(store, "ben", 9).await, [("ann".to_owned(), Some(2))]);
}

/// A mute leaves follows as they are, and lets new ones be made.
pub async fn a_mute_leaves_follows_alone(store: &dyn SocialGraphStore) {
    add(store, "ann", "ben", 1).await;
    assert!(Aversion::Mute.add(store, "ann", "ben", 2).await.unwrap());
    assert!(is_following(store, "ann", "ben").await);
    add(store, "ben", "ann", 3).await;
    assert_eq!(names(store, List::Friends, "ann").await, ["ben"]);
    assert_eq!(Aversion::Mute.whole(store, "ben", 9).await, []);
}

/// The second time changes nothing, neither time nor place.
pub async fn blocking_and_muting_are_idempotent(store: &dyn SocialGraphStore) {
    for kind in AVERSIONS {
        assert!(kind.add(store, "ann", "ben", 10).await.unwrap());
        assert!(kind.add(store, "ann", "cem", 11).await.unwrap());
        assert!(!kind.add(store, "ann", "ben", 99).await.unwrap(), "{kind:?}");
        let expected = [("cem".to_owned(), Some(11)), ("ben".to_owned(), Some(10))];
        assert_eq!(kind.whole(store, "ann", 9).await, expected, "{kind:?}");
        assert!(!kind.remove(store, "ben", "ann").await.unwrap(), "{kind:?}: the other way");
        assert!(kind.remove(store, "ann", "ben").await.unwrap());
        assert!(!kind.remove(store, "ann", "ben").await.unwrap(), "{kind:?}");
        assert!(!kind.remove(store, "ann", "nobody").await.unwrap(), "{kind:?}");
        assert!(kind.add(store, "ann", "ben", 0).await.unwrap(), "{kind:?}: it comes back");
        let expected = [("ben".to_owned(), Some(0)), ("cem".to_owned(), Some(11))];
        assert_eq!(kind.whole(store, "ann", 9).await, expected, "{kind:?}");
    }
}

/// Blocks, mutes and follows of one pair do not take each other's place.
pub async fn a_pair_may_have_a_block_and_a_mute(store: &dyn SocialGraphStore) {
    for kind in AVERSIONS {
        assert!(kind.add(store, "ann", "ben", 1).await.unwrap(), "{kind:?}");
    }
    assert!(Aversion::Block.remove(store, "ann", "ben").await.unwrap());
    assert_eq!(Aversion::Block.whole(store, "ann", 9).await, []);
    assert_eq!(Aversion::Mute.whole(store, "ann", 9).await, [("ben".to_owned(), Some(1))]);
}

/// Turning away from oneself is an error and leaves nothing.
pub async fn a_user_cannot_block_or_mute_themself(store: &dyn SocialGraphStore) {
    let block = Aversion::Block.add(store, "ann", "ann", 1).await;
    assert!(matches!(block, Err(GraphError::SelfBlock)), "{block:?}");
    let mute = Aversion::Mute.add(store, "ann", "ann", 1).await;
    assert!(matches!(mute, Err(GraphError::SelfMute)), "{mute:?}");
    for kind in AVERSIONS {
        assert_eq!(kind.whole(store, "ann", 9).await, [], "{kind:?}");
        assert!(!kind.remove(store, "ann", "ann").await.unwrap(), "{kind:?}");
    }
}

/// An import goes on past follows that a block refuses.
pub async fn an_import_leaves_blocked_follows_out(store: &dyn SocialGraphStore) {
    assert!(Aversion::Block.add(store, "ann", "ben", 1).await.unwrap());
    let follows = vec![follow("ben", "ann", 2), follow("ben", "cem", 3), follow("ann", "ben", 4)];
    assert_eq!(import(store, follows).await.unwrap(), 1);
    assert_eq!(names(store, List::Following, "ben").await, ["cem"]);
    assert_eq!(names(store, List::Following, "ann").await, [""; 0]);
}

/// Pages hold what was asked for, and an edge that is there throughout is listed once.
pub async fn blocks_and_mutes_come_in_exact_pages(store: &dyn SocialGraphStore) {
    for kind in AVERSIONS {
        for n in 0..40 {
            assert!(kind.add(store, "hub", &format!("u{n:02}"), n).await.unwrap());
        }
        let expected: Vec<_> = (0..40).rev().map(|n| (format!("u{n:02}"), Some(n))).collect();
        for limit in [1, 7, 39, 40, 41, usize::MAX] {
            assert_eq!(kind.whole(store, "hub", limit).await, expected, "{kind:?} by {limit}");
        }
        let all = kind.page(store, "hub", None, 40).await.unwrap();
        assert_eq!(all.next, None, "{kind:?}: the last page says that it is");
        assert_eq!(kind.page(store, "hub", None, 0).await.unwrap().items, [], "{kind:?}");

        let first = kind.page(store, "hub", None, 10).await.unwrap();
        let next = first.next.expect("there is more");
        // The edge at which the cursor stands, one below it and one above go; the last comes back.
        for n in [30, 10, 35] {
            assert!(kind.remove(store, "hub", &format!("u{n:02}")).await.unwrap());
        }
        assert!(kind.add(store, "hub", "u10", 99).await.unwrap());
        let rest = kind.page(store, "hub", Some(&next), usize::MAX).await.unwrap();
        let stayed: Vec<_> = expected[10..].iter().filter(|it| it.0 != "u10").cloned().collect();
        assert_eq!((rest.items, rest.next), (stayed, None), "{kind:?}");
    }
}

/// A cursor is good for the list that it was given for, and for no other.
pub async fn a_cursor_of_other_blocks_or_mutes_is_refused(store: &dyn SocialGraphStore) {
    for name in ["a", "b", "c"] {
        add(store, "hub", &format!("friend-{name}"), 1).await;
        for kind in AVERSIONS {
            for hub in ["hub", "bub"] {
                assert!(kind.add(store, hub, name, 1).await.unwrap());
            }
        }
    }
    let follows = store.get_following(&user("hub"), None, 1).await.unwrap();
    let follows = follows.next.expect("there is more");
    for (kind, other) in [(Aversion::Block, Aversion::Mute), (Aversion::Mute, Aversion::Block)] {
        let first = kind.page(store, "hub", None, 1).await.unwrap();
        let cursor = first.next.expect("there is more");
        let refused = [
            other.page(store, "hub", Some(&cursor), 5).await.err(),
            kind.page(store, "bub", Some(&cursor), 5).await.err(),
            kind.page(store, "nobody", Some(&cursor), 5).await.err(),
            kind.page(store, "hub", Some(&follows), 5).await.err(),
            store.get_following(&user("hub"), Some(&cursor), 5).await.err(),
        ];
        for (place, refused) in refused.into_iter().enumerate() {
            assert!(matches!(refused, Some(GraphError::BadCursor)), "{kind:?} {place}");
        }
        assert_eq!(kind.page(store, "hub", Some(&cursor), 5).await.unwrap().items.len(), 2);
    }
}
