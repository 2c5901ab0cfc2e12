//! Rules about what two users have in common, and about many questions at once.

use tidings_core::{
    follow::{NeighbourSide, Neighbours},
    ids::UserId,
    ports::{Cursor, GraphError, Page, SocialGraphStore},
};

use super::{List, MOST_PAGES, add, follow, import, names, remove, user};

/// A list of what two users have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// Whom both follow.
    Common,
    /// Whom the one follows and who follow the other.
    Known,
}

pub(super) const SHARED: [Shared; 2] = [Shared::Common, Shared::Known];

impl Shared {
    pub(super) async fn page(
        self,
        store: &dyn SocialGraphStore,
        [one, other]: [&str; 2],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<UserId>, GraphError> {
        let (one, other) = (user(one), user(other));
        match self {
            Self::Common => store.get_common_follows(&one, &other, cursor, limit).await,
            Self::Known => store.get_followers_you_know(&one, &other, cursor, limit).await,
        }
    }

    /// Reads the list to its end, `limit` at a time.
    pub(super) async fn whole(
        self,
        store: &dyn SocialGraphStore,
        of: [&str; 2],
        limit: usize,
    ) -> Vec<String> {
        self.rest(store, of, None, limit).await
    }

    /// Reads the list from `cursor` to its end, `limit` at a time.
    async fn rest(
        self,
        store: &dyn SocialGraphStore,
        of: [&str; 2],
        mut cursor: Option<Cursor>,
        limit: usize,
    ) -> Vec<String> {
        let mut items = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = self.page(store, of, cursor.as_ref(), limit).await.expect("it is listed");
            assert!(page.items.len() <= limit, "a page has at most what was asked for");
            items.extend(page.items.iter().map(UserId::to_string));
            let Some(next) = page.next else { return items };
            cursor = Some(next);
        }
        panic!("what {of:?} have in common does not end");
    }

    /// The cursor behind the first of the list: pages before it may be empty.
    async fn behind_first(self, store: &dyn SocialGraphStore, of: [&str; 2]) -> Cursor {
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            let page = self.page(store, of, cursor.as_ref(), 1).await.expect("it is listed");
            let next = page.next.expect("there is more");
            if !page.items.is_empty() {
                return next;
            }
            cursor = Some(next);
        }
        panic!("what {of:?} have in common does not begin");
    }

    /// Makes `friend` one of this list of `of`, as the newest.
    async fn link(self, store: &dyn SocialGraphStore, [one, other]: [&str; 2], friend: &str) {
        add(store, one, friend, 1).await;
        match self {
            Self::Common => add(store, other, friend, 1).await,
            Self::Known => add(store, friend, other, 1).await,
        }
    }

    async fn unlink(self, store: &dyn SocialGraphStore, [one, other]: [&str; 2], friend: &str) {
        remove(store, one, friend).await;
        match self {
            Self::Common => remove(store, other, friend).await,
            Self::Known => remove(store, friend, other).await,
        }
    }
}

/// Common follows are those whom both follow, in the order in which the first followed them.
pub async fn common_follows_are_those_whom_both_follow(store: &dyn SocialGraphStore) {
    for followee in ["cem", "dot", "eva", "fay", "gus"] {
        add(store, "ann", followee, 1).await;
    }
    for followee in ["gus", "cem", "hal", "eva"] {
        add(store, "ben", followee, 2).await;
    }
    // Who follows only one of the two, or is followed by them, is nothing in common.
    add(store, "dot", "ben", 3).await;
    add(store, "ann", "ben", 3).await;
    for limit in [1, 2, 3, 100] {
        let common = Shared::Common.whole(store, ["ann", "ben"], limit).await;
        assert_eq!(common, ["gus", "eva", "cem"], "{limit} at a time");
        let common = Shared::Common.whole(store, ["ben", "ann"], limit).await;
        assert_eq!(common, ["eva", "cem", "gus"], "{limit} at a time");
    }
    remove(store, "ben", "eva").await;
    remove(store, "ann", "gus").await;
    assert_eq!(Shared::Common.whole(store, ["ann", "ben"], 9).await, ["cem"]);
    let itself = Shared::Common.whole(store, ["ann", "ann"], 2).await;
    assert_eq!(itself, names(store, List::Following, "ann").await);
    for of in [["ann", "nobody"], ["nobody", "ann"], ["nobody", "none"], ["ann", "hal"]] {
        assert_eq!(Shared::Common.whole(store, of, 9).await, [""; 0], "{of:?}");
    }
}

/// Followers one knows are followed by the one and follow the other.
pub async fn followers_you_know_are_followed_by_you(store: &dyn SocialGraphStore) {
    for followee in ["cem", "dot", "eva", "fay", "star"] {
        add(store, "ann", followee, 1).await;
    }
    for follower in ["fay", "hal", "cem", "eva"] {
        add(store, follower, "star", 2).await;
    }
    add(store, "star", "dot", 3).await;
    for limit in [1, 2, 3, 100] {
        let known = Shared::Known.whole(store, ["ann", "star"], limit).await;
        assert_eq!(known, ["fay", "eva", "cem"], "{limit} at a time");
    }
    remove(store, "eva", "star").await;
    remove(store, "ann", "cem").await;
    assert_eq!(Shared::Known.whole(store, ["ann", "star"], 9).await, ["fay"]);
    assert_eq!(Shared::Known.whole(store, ["star", "ann"], 9).await, [""; 0]);
    add(store, "fay", "ann", 4).await;
    let itself = Shared::Known.whole(store, ["ann", "ann"], 9).await;
    assert_eq!(itself, names(store, List::Friends, "ann").await);
    assert_eq!(itself, ["fay"]);
    for of in [["ann", "nobody"], ["nobody", "star"], ["hal", "star"]] {
        assert_eq!(Shared::Known.whole(store, of, 9).await, [""; 0], "{of:?}");
    }
}

/// Between two pages, edges come and go, on both sides of the cursor and at it.
pub async fn intersections_are_exact_while_others_come_and_go(store: &dyn SocialGraphStore) {
    for list in SHARED {
        let (one, other) = (format!("one-{list:?}"), format!("other-{list:?}"));
        let of = [one.as_str(), other.as_str()];
        for n in 0..40 {
            list.link(store, of, &format!("u{n:02}")).await;
        }
        let mut seen = Vec::new();
        let mut cursor = None;
        for round in 0..MOST_PAGES {
            let page = list.page(store, of, cursor.as_ref(), 7).await.unwrap();
            seen.extend(page.items.iter().map(UserId::to_string));
            let Some(next) = page.next else { break };
            cursor = Some(next);
            // The last that was seen goes and comes back as the newest; a passer-by stays away after
            // this round; one from far below leaves and returns.
            let Some(last) = seen.last().cloned() else { continue };
            let passer_by = format!("passer-by-{round}");
            for name in [last.as_str(), "u03"] {
                list.unlink(store, of, name).await;
            }
            for name in [passer_by.as_str(), last.as_str(), "u03"] {
                list.link(store, of, name).await;
            }
            list.unlink(store, of, &passer_by).await;
        }
        // `u03` moved to the front before its turn came.
        seen.retain(|name| name != "u03");
        let expected = (0..40).rev().filter(|n| *n != 3).map(|n| format!("u{n:02}"));
        assert!(seen.iter().cloned().eq(expected), "{list:?}: {seen:?}");
    }
}

/// Long lists with little in common come to their end, with all of it.
pub async fn what_is_rare_among_many_is_found(store: &dyn SocialGraphStore) {
    let mut follows = Vec::new();
    for n in 0..3_000 {
        follows.push(follow("ann", &format!("a{n}"), n));
        follows.push(follow("ben", &format!("b{n}"), n));
        follows.push(follow(&format!("c{n}"), "ben", n));
        if n % 1_000 == 7 {
            follows.push(follow("ann", &format!("both{n}"), n));
            follows.push(follow("ben", &format!("both{n}"), n));
            follows.push(follow(&format!("both{n}"), "ben", n));
        }
    }
    assert_eq!(import(store, follows).await.unwrap(), 9_009);
    let expected = ["both2007", "both1007", "both7"];
    for list in SHARED {
        for limit in [1, 2, 50] {
            let found = list.whole(store, ["ann", "ben"], limit).await;
            assert_eq!(found, expected, "{list:?} by {limit}");
        }
    }
}

/// A cursor is good for the list of the two users that it was given for, and for no other.
pub async fn a_cursor_of_another_intersection_is_refused(store: &dyn SocialGraphStore) {
    for name in ["a", "b", "c"] {
        for of in [["ann", "ben"], ["ben", "ann"], ["ann", "cem"]] {
            for (follower, followee) in [(of[0], name), (name, of[1])] {
                store.add_follow(&user(follower), &user(followee), super::at(1)).await.unwrap();
            }
        }
    }
    add(store, "cem", "a", 1).await;
    add(store, "cem", "b", 1).await;
    for (list, another) in [(Shared::Common, Shared::Known), (Shared::Known, Shared::Common)] {
        let cursor = list.behind_first(store, ["ann", "ben"]).await;
        let refused = [
            another.page(store, ["ann", "ben"], Some(&cursor), 5).await.err(),
            list.page(store, ["ben", "ann"], Some(&cursor), 5).await.err(),
            list.page(store, ["ann", "cem"], Some(&cursor), 5).await.err(),
            list.page(store, ["ann", "nobody"], Some(&cursor), 5).await.err(),
            list.page(store, ["nobody", "ben"], Some(&cursor), 5).await.err(),
            store.get_following(&user("ann"), Some(&cursor), 5).await.err(),
            store.get_mutual_follows(&user("ann"), Some(&cursor), 5).await.err(),
        ];
        for (place, refused) in refused.into_iter().enumerate() {
            assert!(
                matches!(refused, Some(GraphError::BadCursor)),
                "{list:?} {place}: {refused:?}"
            );
        }
        let rest = list.rest(store, ["ann", "ben"], Some(cursor), 5).await;
        assert_eq!(rest, ["b", "a"], "{list:?}");
        let following = store.get_following(&user("ann"), None, 1).await.unwrap().next;
        for text in ["0".to_owned(), "-".into(), following.expect("there is more").to_string()] {
            let cursor = Cursor::new(text).expect("the text could be a cursor");
            let refused = list.page(store, ["ann", "ben"], Some(&cursor), 5).await.err();
            assert!(matches!(refused, Some(GraphError::BadCursor)), "{list:?}: {refused:?}");
        }
    }
}

/// Each question gets its own answer, in the order of the questions, however many they are.
pub async fn many_questions_are_answered_in_their_order(store: &dyn SocialGraphStore) {
    assert_eq!(store.are_following(&user("ann"), &[]).await.unwrap(), [false; 0]);
    assert_eq!(store.are_following(&user("ann"), &[user("ben")]).await.unwrap(), [false]);
    let follows = (0..2_000).step_by(3).map(|n| follow("ann", &format!("u{n}"), n)).collect();
    import(store, follows).await.unwrap();
    add(store, "u1", "ann", 1).await;
    let mut followees: Vec<_> = (0..2_000).map(|n| user(&format!("u{n}"))).collect();
    followees.extend([user("u3"), user("ann"), user("nobody"), user("u3"), user("u4")]);
    let answers = store.are_following(&user("ann"), &followees).await.unwrap();
    let expected = (0..2_000).map(|n| n % 3 == 0).chain([true, false, false, true, false]);
    assert!(answers.iter().copied().eq(expected), "an answer is out of place");
    remove(store, "ann", "u3").await;
    let answers = store.are_following(&user("ann"), &[user("u0"), user("u3")]).await.unwrap();
    assert_eq!(answers, [true, false]);
}

/// The neighbours of each user come newest first, as many as were asked for, with the number of all.
pub async fn neighbours_of_many_are_answered_in_their_order(store: &dyn SocialGraphStore) {
    let sides = [NeighbourSide::Following, NeighbourSide::Followers];
    for side in sides {
        assert_eq!(store.get_neighbours(&[], side, 5).await.unwrap(), []);
    }
    let follows = (0..2_500).map(|n| follow("ann", &format!("u{n}"), n)).collect();
    import(store, follows).await.unwrap();
    for (n, follower) in ["ben", "cat", "dan"].into_iter().enumerate() {
        add(store, follower, "u7", i64::try_from(n).unwrap()).await;
    }
    let asked: Vec<_> = ["u7", "nobody", "ann", "u7"].map(user).into();
    let [following, followers] = sides;
    let answers = store.get_neighbours(&asked, following, 3).await.unwrap();
    let newest = Neighbours { total: 2_500, users: ["u2499", "u2498", "u2497"].map(user).into() };
    assert_eq!(
        answers,
        [Neighbours::default(), Neighbours::default(), newest, Neighbours::default()]
    );
    let answers = store.get_neighbours(&asked, followers, 3).await.unwrap();
    let newest = Neighbours { total: 4, users: ["dan", "cat", "ben"].map(user).into() };
    assert_eq!(answers, [newest.clone(), Neighbours::default(), Neighbours::default(), newest]);
    let many: Vec<_> = (0..2_500).map(|n| user(&format!("u{n}"))).collect();
    let answers = store.get_neighbours(&many, followers, 0).await.unwrap();
    assert!(answers.iter().all(|it| it.users.is_empty()), "nobody was asked for");
    assert!(answers.iter().enumerate().all(|(n, it)| it.total == if n == 7 { 4 } else { 1 }));
}

/// Those whom the most follow come first, each with the number of their followers; who lost them all is
/// not among them.
pub async fn the_most_followed_come_first(store: &dyn SocialGraphStore) {
    // A store may be shared with other rules: these have more followers than anyone there.
    let mut follows = Vec::new();
    for (star, fans) in [("star_a", 3_700), ("star_b", 3_900), ("star_c", 3_800), ("star_d", 3_600)]
    {
        follows.extend((0..fans).map(|n| follow(&format!("fan{n}"), star, n)));
    }
    import(store, follows).await.unwrap();
    let expected = [("star_b", 3_900), ("star_c", 3_800), ("star_a", 3_700)];
    let found = store.get_most_followed(3).await.unwrap();
    assert_eq!(found, expected.map(|(star, fans)| (user(star), fans)));
    store.erase_user(&user("star_c")).await.unwrap();
    remove(store, "fan7", "star_b").await;
    let expected = [("star_b", 3_899), ("star_a", 3_700), ("star_d", 3_600)];
    let found = store.get_most_followed(3).await.unwrap();
    assert_eq!(found, expected.map(|(star, fans)| (user(star), fans)));
    assert_eq!(store.get_most_followed(0).await.unwrap(), []);
}
