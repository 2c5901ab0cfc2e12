//! The rules of `RecommendationFeedbackStore`.

use std::collections::HashSet;

use tidings_core::{
    clock::Timestamp,
    ids::UserId,
    ports::{
        Cutoffs, MAX_FEEDBACK, RecommendationFeedbackStore, StoreError, UnrecommendableChange,
    },
    recommendation::{Feedback, Impressions},
};

use super::{
    Store,
    sample::{ALL, at, user},
};

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

async fn dismiss(
    store: &dyn RecommendationFeedbackStore,
    owner: &UserId,
    others: &[&str],
    now: Timestamp,
) {
    store.dismiss(owner, &users(others), now).await.expect("dismiss");
}

async fn show(
    store: &dyn RecommendationFeedbackStore,
    owner: &UserId,
    shown: &[&str],
    now: Timestamp,
) {
    store.add_impressions(owner, &users(shown), now).await.expect("add_impressions");
}

async fn feedback(store: &dyn RecommendationFeedbackStore, owner: &UserId) -> Feedback {
    store.feedback(owner).await.expect("feedback")
}

fn impressions(shown: &str, times: u32, last: u64) -> Impressions {
    Impressions { shown: user(shown), times, last_at: at(last) }
}

async fn list(
    store: &dyn RecommendationFeedbackStore,
    after: u64,
    limit: usize,
) -> Vec<UnrecommendableChange> {
    store.list_unrecommendable(after, limit).await.expect("list_unrecommendable")
}

fn named(listed: &[UnrecommendableChange]) -> Vec<(&str, bool)> {
    listed.iter().map(|it| (it.user.as_str(), it.is_unrecommendable)).collect()
}

/// Dismissals come newest first, each once, and each user has their own; one that is taken back is gone.
pub async fn dismissals_are_kept_until_they_are_taken_back(
    store: &dyn RecommendationFeedbackStore,
) {
    let (ann, ben) = (user("ann"), user("ben"));
    assert_eq!(feedback(store, &ann).await, Feedback::default());
    dismiss(store, &ann, &["zoe", "é 🦀", "zoe"], at(10)).await;
    dismiss(store, &ann, &["carl"], at(20)).await;
    dismiss(store, &ben, &["ann"], at(30)).await;
    assert_eq!(feedback(store, &ann).await.dismissed, users(&["carl", "zoe", "é 🦀"]));
    // Again moves it to the front, and an earlier time does not move it back.
    dismiss(store, &ann, &["zoe"], at(40)).await;
    dismiss(store, &ann, &["zoe"], at(5)).await;
    assert_eq!(feedback(store, &ann).await.dismissed, users(&["zoe", "carl", "é 🦀"]));
    for _ in 0..2 {
        store.undismiss(&ann, &user("carl")).await.expect("undismiss");
    }
    store.undismiss(&user("nobody"), &user("carl")).await.expect("undismiss");
    assert_eq!(feedback(store, &ann).await.dismissed, users(&["zoe", "é 🦀"]));
    assert_eq!(feedback(store, &ben).await.dismissed, users(&["ann"]));
}

/// Every call counts once for everyone whom it names, and the last time stands.
pub async fn impressions_are_counted(store: &dyn RecommendationFeedbackStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    show(store, &ann, &["b", "a", "b"], at(10)).await;
    show(store, &ann, &["c", "a"], at(30)).await;
    show(store, &ann, &["a"], at(20)).await;
    show(store, &ben, &["a"], at(50)).await;
    let expected = [impressions("a", 3, 30), impressions("c", 1, 30), impressions("b", 1, 10)];
    assert_eq!(feedback(store, &ann).await.impressions, expected);
    assert_eq!(feedback(store, &ben).await.impressions, [impressions("a", 1, 50)]);
    assert!(feedback(store, &ann).await.dismissed.is_empty());
}

/// No more than [`MAX_FEEDBACK`] of each are kept of a user, the newest; another user's are not touched.
pub async fn the_newest_feedback_is_kept(store: &dyn RecommendationFeedbackStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    dismiss(store, &ben, &["x"], at(0)).await;
    show(store, &ben, &["x"], at(0)).await;
    let first: Vec<_> = (0..MAX_FEEDBACK).map(|n| user(&format!("u{n:04}"))).collect();
    store.dismiss(&ann, &first, at(10)).await.expect("dismiss");
    store.add_impressions(&ann, &first, at(10)).await.expect("add_impressions");
    dismiss(store, &ann, &["u1999", "new"], at(20)).await;
    show(store, &ann, &["u1999", "new"], at(20)).await;
    let kept = feedback(store, &ann).await;
    // Of those of the same time the last by id goes.
    let mut expected = users(&["new", "u1999"]);
    expected.extend_from_slice(&first[..MAX_FEEDBACK - 2]);
    assert_eq!(kept.dismissed, expected);
    let shown: Vec<_> = kept.impressions.iter().map(|it| it.shown.clone()).collect();
    assert_eq!(shown, expected);
    assert_eq!((kept.impressions[0].times, kept.impressions[1].times), (1, 2));
    // What is older than all that are kept is not kept.
    dismiss(store, &ann, &["late"], at(1)).await;
    assert_eq!(feedback(store, &ann).await.dismissed, expected);
    assert_eq!(feedback(store, &ben).await.dismissed, users(&["x"]));
    assert_eq!(feedback(store, &ben).await.impressions, [impressions("x", 1, 0)]);

    // However an adapter drops them: what is gone begins anew.
    let more: Vec<_> = (0..300).map(|n| user(&format!("v{n:03}"))).collect();
    store.dismiss(&ann, &more, at(30)).await.expect("dismiss");
    store.add_impressions(&ann, &more, at(30)).await.expect("add_impressions");
    show(store, &ann, &["u1998"], at(40)).await;
    let mut expected = [&more[..], &users(&["new", "u1999"])].concat();
    expected.extend_from_slice(&first[..MAX_FEEDBACK - 302]);
    let kept = feedback(store, &ann).await;
    assert_eq!(kept.dismissed, expected);
    assert_eq!(kept.impressions[0], impressions("u1998", 1, 40));
    let shown: Vec<_> = kept.impressions[1..].iter().map(|it| it.shown.clone()).collect();
    assert_eq!(shown, expected[..MAX_FEEDBACK - 1]);

    let many: Vec<_> = (0..=MAX_FEEDBACK).map(|n| user(&format!("m{n}"))).collect();
    for error in [
        store.dismiss(&ben, &many, at(1)).await.expect_err("too many"),
        store.add_impressions(&ben, &many, at(1)).await.expect_err("too many"),
    ] {
        assert!(matches!(error, StoreError::BatchTooLarge { .. }), "{error}");
    }
    assert_eq!(feedback(store, &ben).await.dismissed, users(&["x"]));
}

/// Writers of one user at once lose nothing.
pub async fn impressions_at_once_are_all_counted(store: &dyn RecommendationFeedbackStore) {
    const ROUNDS: u32 = 10;
    let ann = user("ann");
    let write = async |names: [&str; 3]| {
        for _ in 0..ROUNDS {
            show(store, &ann, &names, at(1)).await;
            dismiss(store, &ann, &names, at(1)).await;
        }
    };
    tokio::join!(write(["a", "b", "c"]), write(["c", "b", "a"]), write(["b", "c", "d"]));
    let kept = feedback(store, &ann).await;
    let times: Vec<_> = kept.impressions.iter().map(|it| it.times).collect();
    assert_eq!(times, [2 * ROUNDS, 3 * ROUNDS, 3 * ROUNDS, ROUNDS]);
    assert_eq!(kept.dismissed, users(&["a", "b", "c", "d"]));
}

/// Who is not to be recommended is listed in the order of changes, page by page; who may be again is
/// listed as a change, and what changes nothing makes none.
pub async fn the_unrecommendable_are_listed_in_their_order(
    store: &dyn RecommendationFeedbackStore,
) {
    let put = async |name| store.put_unrecommendable(&user(name)).await.expect("put");
    let remove = async |name| store.remove_unrecommendable(&user(name)).await.expect("remove");
    assert!(list(store, 0, ALL).await.is_empty());
    for name in ["zoe", "ann", "é 🦀", "zoe"] {
        put(name).await;
    }
    remove("nobody").await;
    let all = list(store, 0, ALL).await;
    assert_eq!(named(&all), [("zoe", true), ("ann", true), ("é 🦀", true)]);
    assert!(all.is_sorted_by(|a, b| a.change < b.change), "{all:?}");
    assert_eq!(list(store, 0, 2).await, all[..2]);
    assert_eq!(list(store, all[1].change, 2).await, all[2..]);
    let seen = all[2].change;
    remove("zoe").await;
    remove("zoe").await;
    let after = list(store, seen, ALL).await;
    assert_eq!(named(&after), [("zoe", false)]);
    put("zoe").await;
    assert_eq!(named(&list(store, after[0].change, ALL).await), [("zoe", true)]);
    assert_eq!(list(store, 0, ALL).await.len(), 3);
}

/// Whoever reads on from the last change while others make changes sees everyone.
pub async fn a_reader_misses_none_that_change_meanwhile(store: &dyn RecommendationFeedbackStore) {
    const USERS: usize = 40;
    let write = async |part: usize| {
        for number in (part..USERS).step_by(4) {
            let user = user(&format!("u{number}"));
            store.put_unrecommendable(&user).await.expect("put_unrecommendable");
        }
    };
    let read = async {
        let (mut seen, mut users) = (0, HashSet::new());
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

/// Erasing a user takes what they did and where others met them, and nothing else.
pub async fn an_erased_user_is_gone_from_both_sides(store: &dyn RecommendationFeedbackStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    for (owner, others) in [(&ann, ["ben", "carl"]), (&ben, ["ann", "carl"])] {
        dismiss(store, owner, &others, at(1)).await;
        show(store, owner, &others, at(1)).await;
    }
    for user in [&ann, &ben] {
        store.put_unrecommendable(user).await.expect("put_unrecommendable");
    }
    for _ in 0..2 {
        store.erase_feedback(&ann).await.expect("erase_feedback");
    }
    assert_eq!(feedback(store, &ann).await, Feedback::default());
    let expected =
        Feedback { dismissed: users(&["carl"]), impressions: vec![impressions("carl", 1, 1)] };
    assert_eq!(feedback(store, &ben).await, expected);
    assert_eq!(named(&list(store, 0, ALL).await), [("ben", true)]);
}

/// Impressions of before the cut-off go, in small pieces, too; what was shown again stays.
pub async fn old_impressions_are_forgotten(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    show(store, &ann, &["a", "b", "c"], at(10)).await;
    show(store, &ann, &["b"], at(20)).await;
    show(store, &ben, &["a"], at(19)).await;
    dismiss(store, &ann, &["a"], at(1)).await;
    let forget = async |cutoff: Option<u64>| {
        let cutoffs = Cutoffs { impressions: cutoff.map(at), ..Cutoffs::default() };
        let mut sum = 0;
        loop {
            let piece = store.forget(cutoffs, 1).await.expect("forget");
            sum += piece.impressions;
            if piece.complete {
                return sum;
            }
        }
    };
    assert_eq!(forget(None).await, 0);
    assert_eq!(forget(Some(10)).await, 0, "at its very time");
    assert_eq!(forget(Some(20)).await, 3);
    let kept = feedback(store, &ann).await;
    assert_eq!(kept.impressions, [impressions("b", 2, 20)]);
    assert_eq!(kept.dismissed, users(&["a"]));
    assert!(feedback(store, &ben).await.impressions.is_empty());
}
