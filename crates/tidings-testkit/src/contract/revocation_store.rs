//! The rules of `RevocationStore`.

use tidings_core::{
    clock::Timestamp,
    ids::UserId,
    ports::{Revocation, RevocationStore},
};

use super::sample::{ALL, at, user};

async fn put(store: &dyn RevocationStore, user: &UserId, before: u64) -> Timestamp {
    store.put_revocation(user, at(before)).await.expect("put_revocation")
}

async fn list(store: &dyn RevocationStore, after: u64, limit: usize) -> Vec<Revocation> {
    store.list_revocations(after, limit).await.expect("list_revocations")
}

fn named(listed: &[Revocation]) -> Vec<(&str, Timestamp)> {
    listed.iter().map(|it| (it.user.as_str(), it.before)).collect()
}

/// Revocations are listed in the order in which they were made, page by page, none twice.
pub async fn revocations_are_listed_in_their_order(store: &dyn RevocationStore) {
    assert!(list(store, 0, ALL).await.is_empty());
    for (name, before) in [("zoe", 5), ("ann", 9), ("é 🦀", 1)] {
        assert_eq!(put(store, &user(name), before).await, at(before));
    }
    let all = list(store, 0, ALL).await;
    assert_eq!(named(&all), [("zoe", at(5)), ("ann", at(9)), ("é 🦀", at(1))]);
    assert!(all.is_sorted_by(|a, b| a.change < b.change), "{all:?}");
    let first = list(store, 0, 2).await;
    assert_eq!(first, all[..2]);
    assert_eq!(list(store, first[1].change, 2).await, all[2..]);
    assert!(list(store, all[2].change, ALL).await.is_empty());
}

/// The latest time that was given stands, and a change is listed again only if it changed something.
pub async fn the_latest_revocation_of_a_user_stands(store: &dyn RevocationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    put(store, &ann, 10).await;
    put(store, &ben, 10).await;
    let seen = list(store, 0, ALL).await[1].change;
    assert_eq!(put(store, &ann, 9).await, at(10));
    assert_eq!(put(store, &ann, 10).await, at(10));
    assert!(list(store, seen, ALL).await.is_empty());
    assert_eq!(put(store, &ann, 11).await, at(11));
    assert_eq!(named(&list(store, seen, ALL).await), [("ann", at(11))]);
    assert_eq!(named(&list(store, 0, ALL).await), [("ben", at(10)), ("ann", at(11))]);
}

/// What is forgotten is gone, and its change is not used again.
pub async fn old_revocations_are_forgotten(store: &dyn RevocationStore) {
    for (name, before) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
        put(store, &user(name), before).await;
    }
    let last = list(store, 0, ALL).await[3].change;
    let forget = async |cutoff: u64, limit| {
        store.forget_revocations(at(cutoff), limit).await.expect("forget_revocations")
    };
    assert_eq!(forget(10, ALL).await, 0, "at its very time");
    assert_eq!(forget(30, 1).await, 1);
    assert_eq!(forget(30, ALL).await, 1);
    assert_eq!(named(&list(store, 0, ALL).await), [("a", at(30)), ("d", at(40))]);
    assert_eq!(forget(99, ALL).await, 2);
    put(store, &user("e"), 50).await;
    let listed = list(store, last, ALL).await;
    assert_eq!(named(&listed), [("e", at(50))], "whoever has read the last misses this one");
}

/// Whoever reads on from the last change while others revoke sees everyone.
pub async fn a_reader_misses_none_that_are_made_meanwhile(store: &dyn RevocationStore) {
    const USERS: usize = 40;
    let write = async |part: usize| {
        for number in (part..USERS).step_by(4) {
            put(store, &user(&format!("u{number}")), 1).await;
        }
    };
    let read = async {
        let (mut seen, mut users) = (0, std::collections::HashSet::new());
        // Each page that is not empty has someone new, so this ends.
        while users.len() < USERS {
            for it in list(store, seen, 3).await {
                assert!(it.change > seen);
                seen = it.change;
                assert!(users.insert(it.user), "twice");
            }
            tokio::task::yield_now().await;
        }
    };
    let reading = tokio::time::timeout(std::time::Duration::from_secs(60), read);
    let (.., seen) = tokio::join!(write(0), write(1), write(2), write(3), reading);
    seen.expect("someone was passed over");
}
