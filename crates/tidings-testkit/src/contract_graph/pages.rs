//! Rules about lists, their order, their pages and their cursors.

use std::cell::Cell;

use tidings_core::ports::{Cursor, GraphError, SocialGraphStore};

use super::{LISTS, List, Listed, MOST_PAGES, add, names, page, remove, user, whole};

/// Both ends list an edge with its time, the newest first.
pub async fn lists_are_newest_first_with_their_times(store: &dyn SocialGraphStore) {
    for (millis, fan) in [(30, "ben"), (10, "cem"), (20, "dot")] {
        add(store, fan, "ann", millis).await;
        add(store, "ann", fan, millis + 1).await;
    }
    let followers = [("dot", 20), ("cem", 10), ("ben", 30)];
    let followers = followers.map(|(id, at)| (id.to_owned(), Some(at)));
    assert_eq!(whole(store, List::Followers, "ann", 10).await, followers);
    let following = followers.map(|(id, at)| (id, at.map(|at| at + 1)));
    assert_eq!(whole(store, List::Following, "ann", 10).await, following);
}

/// Friends follow each other; their order is that in which the user followed them.
pub async fn friends_are_those_who_follow_back_newest_follow_first(store: &dyn SocialGraphStore) {
    for followee in ["ben", "cem", "dot", "eva", "fay"] {
        add(store, "ann", followee, 1).await;
    }
    for follower in ["fay", "dot", "cem", "gus"] {
        add(store, follower, "ann", 2).await;
    }
    for limit in [1, 2, 3, 10] {
        let friends = whole(store, List::Friends, "ann", limit).await;
        let friends: Vec<_> = friends.into_iter().map(|(name, _)| name).collect();
        assert_eq!(friends, ["fay", "dot", "cem"], "{limit} at a time");
    }
    remove(store, "dot", "ann").await;
    remove(store, "ann", "cem").await;
    assert_eq!(names(store, List::Friends, "ann").await, ["fay"]);
    assert_eq!(names(store, List::Friends, "fay").await, ["ann"]);
    assert_eq!(names(store, List::Friends, "gus").await, [""; 0]);
}

/// No page is longer than its limit, and the last one says that it is.
pub async fn a_page_has_at_most_what_was_asked_for(store: &dyn SocialGraphStore) {
    for n in 0..5 {
        add(store, &format!("u{n}"), "hub", n).await;
        add(store, "hub", &format!("u{n}"), n).await;
    }
    for list in LISTS {
        for limit in [1, 2, 4, 5, 6, usize::MAX] {
            assert_eq!(whole(store, list, "hub", limit).await.len(), 5, "{list:?} by {limit}");
        }
        let none = page(store, list, &user("hub"), None, 0).await;
        assert_eq!(none.items, [], "{list:?}");
        let all = page(store, list, &user("hub"), None, 5).await;
        assert_eq!((all.items.len(), all.next), (5, None), "{list:?}");
    }
}

/// Between two pages, edges come and go, on both sides of the cursor and at it.
pub async fn pages_are_exact_while_others_come_and_go(store: &dyn SocialGraphStore) {
    for n in 0..60 {
        add(store, &format!("u{n:02}"), "hub", n).await;
        add(store, "hub", &format!("u{n:02}"), n).await;
    }
    for list in LISTS {
        let mut seen = Vec::new();
        let mut cursor = None;
        for round in 0..MOST_PAGES {
            let page = page(store, list, &user("hub"), cursor.as_ref(), 7).await;
            seen.extend(page.items.into_iter().map(|(name, _)| name));
            let Some(next) = page.next else { break };
            cursor = Some(next);
            // The edge that the cursor stands at goes and comes back as the newest; a passer-by stays
            // for this round only; one from far below leaves and returns.
            let last = seen.last().cloned().unwrap();
            let passer_by = format!("passer-by-{round}");
            for name in [last.as_str(), "u03"] {
                remove(store, name, "hub").await;
                remove(store, "hub", name).await;
            }
            for name in [&passer_by, &last, "u03"] {
                add(store, name, "hub", 1_000).await;
                add(store, "hub", name, 1_000).await;
            }
            remove(store, &passer_by, "hub").await;
            remove(store, "hub", &passer_by).await;
        }
        // `u03` moved to the front before its turn came, so only the others are sure to be seen.
        let expected = 60 - 1;
        assert_eq!(seen.len(), expected, "{list:?}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), expected, "{list:?}: an edge was listed twice");
        restore(store).await;
    }
}

/// Brings the edges of the hub into the order of their names again.
async fn restore(store: &dyn SocialGraphStore) {
    for n in 0..60 {
        let name = format!("u{n:02}");
        remove(store, &name, "hub").await;
        remove(store, "hub", &name).await;
        add(store, &name, "hub", n).await;
        add(store, "hub", &name, n).await;
    }
}

/// Two tasks page through all lists while two others add and remove.
pub async fn pages_are_exact_while_writers_run(store: &dyn SocialGraphStore) {
    let stay = |n: i64| format!("stays-{n:03}");
    for n in 0..100 {
        add(store, &stay(n), "hub", n).await;
        add(store, "hub", &stay(n), n).await;
        // In between are edges that come and go.
        add(store, &format!("moves-{n:03}"), "hub", n).await;
        add(store, "hub", &format!("moves-{n:03}"), n).await;
    }
    let writers = Cell::new(2);
    let write = async |from: i64| {
        for n in (from..100).step_by(2) {
            let name = format!("moves-{n:03}");
            remove(store, &name, "hub").await;
            add(store, &name, "hub", n).await;
            remove(store, "hub", &name).await;
            add(store, "hub", &name, n).await;
        }
        writers.set(writers.get() - 1);
    };
    let read = async |limit: usize| {
        while writers.get() > 0 {
            for list in LISTS {
                let listed = whole(store, list, "hub", limit).await;
                assert_stayed(list, listed);
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(write(0), write(1), read(3), read(17));
    for list in LISTS {
        assert_eq!(whole(store, list, "hub", 9).await.len(), 200, "{list:?}");
    }
}

/// Of the edges that were there throughout, each has to be listed once, the newest first.
fn assert_stayed(list: List, listed: Vec<Listed>) {
    let stayed = listed.into_iter().map(|(name, _)| name).filter(|it| it.starts_with("stays"));
    let expected = (0..100).rev().map(|n| format!("stays-{n:03}"));
    assert!(stayed.eq(expected), "{list:?} misses an edge, repeats one, or is out of order");
}

/// A cursor stands between two edges, whether these exist or not.
pub async fn a_cursor_outlives_the_edges_around_it(store: &dyn SocialGraphStore) {
    for name in ["a", "b", "c", "d"] {
        add(store, name, "hub", 1).await;
        add(store, "hub", name, 1).await;
    }
    for list in LISTS {
        let first = page(store, list, &user("hub"), None, 2).await;
        let next = first.next.expect("there is more");
        let rest = page(store, list, &user("hub"), Some(&next), 9).await;
        assert_eq!(rest.items.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a"]);
        let again = page(store, list, &user("hub"), Some(&next), 9).await;
        assert_eq!(again, rest, "a cursor may be used twice");
    }
    let mut cursors = Vec::new();
    for list in LISTS {
        let first = page(store, list, &user("hub"), None, 2).await;
        cursors.push(first.next.expect("there is more"));
    }
    for name in ["a", "b", "c", "d"] {
        remove(store, name, "hub").await;
        remove(store, "hub", name).await;
    }
    add(store, "e", "hub", 1).await;
    add(store, "hub", "e", 1).await;
    for (list, cursor) in LISTS.into_iter().zip(&cursors) {
        let rest = page(store, list, &user("hub"), Some(cursor), 9).await;
        assert_eq!((rest.items, rest.next), (Vec::new(), None), "{list:?}");
    }
}

/// A cursor is good for the list of the user that it was given for, and for no other.
pub async fn a_cursor_of_another_list_is_refused(store: &dyn SocialGraphStore) {
    for name in ["a", "b", "c"] {
        for hub in ["hub", "bub"] {
            add(store, name, hub, 1).await;
            add(store, hub, name, 1).await;
        }
    }
    for list in LISTS {
        let first = page(store, list, &user("hub"), None, 1).await;
        let cursor = first.next.expect("there is more");
        for other in LISTS.into_iter().filter(|other| *other != list) {
            assert_refused(store, other, "hub", &cursor).await;
        }
        assert_refused(store, list, "bub", &cursor).await;
        assert_refused(store, list, "nobody", &cursor).await;
    }
}

/// Text that no list gave is refused, also with the list's own cursor in it.
pub async fn what_is_not_a_cursor_is_refused(store: &dyn SocialGraphStore) {
    for name in ["a", "b", "c"] {
        add(store, name, "hub", 1).await;
        add(store, "hub", name, 1).await;
    }
    for list in LISTS {
        let first = page(store, list, &user("hub"), None, 1).await;
        let cursor = first.next.expect("there is more").to_string();
        let mut texts = vec!["0".to_owned(), "-".into(), "_".into(), "A".repeat(256)];
        texts.push(format!("{cursor}0"));
        texts.push(format!("0{cursor}"));
        texts.push(cursor[1..].to_owned());
        texts.push(cursor[..cursor.len() - 1].to_owned());
        texts.retain(|text| !text.is_empty());
        for text in texts {
            let cursor = Cursor::new(text).expect("the text could be a cursor");
            assert_refused(store, list, "hub", &cursor).await;
        }
    }
}

async fn assert_refused(store: &dyn SocialGraphStore, list: List, of: &str, cursor: &Cursor) {
    let of = user(of);
    let refused = match list {
        List::Followers => store.get_followers(&of, Some(cursor), 5).await.err(),
        List::Following => store.get_following(&of, Some(cursor), 5).await.err(),
        List::Friends => store.get_mutual_follows(&of, Some(cursor), 5).await.err(),
    };
    assert!(matches!(refused, Some(GraphError::BadCursor)), "{list:?} of {of} took {cursor}");
}

/// A store that is open answers its check.
pub async fn the_store_gives_a_sign_of_life(store: &dyn SocialGraphStore) {
    store.check().await.unwrap();
}
