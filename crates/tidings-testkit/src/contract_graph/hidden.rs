//! Rules about who must not be told what someone does.

use tidings_core::{follow::Hidden, ids::UserId, ports::SocialGraphStore};

use super::{add, aversions::Aversion, user};

/// Asks about many users at once.
pub(super) async fn hidden(store: &dyn SocialGraphStore, actor: &str, users: &[&str]) -> Vec<bool> {
    let ids: Vec<UserId> = users.iter().map(|id| user(id)).collect();
    let hidden = store.hidden_from(&user(actor), &ids).await.expect("the store answers");
    (0..users.len()).map(|place| hidden.contains(place)).collect()
}

async fn turn_away(store: &dyn SocialGraphStore, kind: Aversion, source: &str, target: &str) {
    assert!(kind.add(store, source, target, 1).await.expect("the edge is made"), "it is new");
}

/// A block hides each from the other, until it is removed.
pub async fn a_block_hides_both_from_each_other(store: &dyn SocialGraphStore) {
    turn_away(store, Aversion::Block, "ann", "ben").await;
    assert_eq!(hidden(store, "ann", &["cem", "ben"]).await, [false, true]);
    assert_eq!(hidden(store, "ben", &["ann", "cem"]).await, [true, false]);
    assert!(Aversion::Block.remove(store, "ann", "ben").await.unwrap());
    assert_eq!(hidden(store, "ann", &["ben"]).await, [false]);
    assert_eq!(hidden(store, "ben", &["ann"]).await, [false]);
}

/// A mute hides the muted from the muter, and not the muter from the muted.
pub async fn a_mute_hides_the_muted_from_the_muter_only(store: &dyn SocialGraphStore) {
    add(store, "ann", "ben", 1).await;
    turn_away(store, Aversion::Mute, "ann", "ben").await;
    assert_eq!(hidden(store, "ben", &["ann", "cem"]).await, [true, false]);
    assert_eq!(hidden(store, "ann", &["ben", "cem"]).await, [false, false]);
    assert!(Aversion::Mute.remove(store, "ann", "ben").await.unwrap());
    assert_eq!(hidden(store, "ben", &["ann"]).await, [false]);
}

/// One of several reasons is enough, and goes without the others.
pub async fn whoever_has_two_reasons_stays_hidden_when_one_goes(store: &dyn SocialGraphStore) {
    turn_away(store, Aversion::Block, "ann", "ben").await;
    turn_away(store, Aversion::Block, "ben", "ann").await;
    turn_away(store, Aversion::Mute, "ann", "ben").await;
    assert!(Aversion::Block.remove(store, "ben", "ann").await.unwrap());
    assert_eq!(hidden(store, "ben", &["ann"]).await, [true]);
    assert!(Aversion::Block.remove(store, "ann", "ben").await.unwrap());
    assert_eq!(hidden(store, "ben", &["ann"]).await, [true], "the mute stands");
    assert_eq!(hidden(store, "ann", &["ben"]).await, [false]);
}

/// An actor from whom nobody has turned away is hidden from nobody, whoever asks.
pub async fn nobody_is_hidden_where_nobody_turned_away(store: &dyn SocialGraphStore) {
    let users = [user("ann"), user("nobody")];
    assert_eq!(store.hidden_from(&user("ann"), &users).await.unwrap(), Hidden::Nobody);
    add(store, "ann", "ben", 1).await;
    turn_away(store, Aversion::Block, "cem", "dot").await;
    turn_away(store, Aversion::Mute, "ann", "dot").await;
    for actor in ["ann", "ben", "nobody"] {
        let hidden = store.hidden_from(&user(actor), &users).await.unwrap();
        assert_eq!(hidden, Hidden::Nobody, "{actor}");
    }
    // Someone has turned away from dot, but nobody of those asked about.
    let others = [user("ben"), user("nobody")];
    assert_eq!(store.hidden_from(&user("dot"), &others).await.unwrap(), Hidden::Nobody);
    assert_eq!(store.hidden_from(&user("dot"), &[]).await.unwrap(), Hidden::Nobody);
}

/// Each user gets their own answer, in the order of the question, however long it is.
pub async fn a_long_question_is_answered_in_its_order(store: &dyn SocialGraphStore) {
    let names: Vec<_> = (0..5_000).map(|n| format!("u{n}")).collect();
    for n in (0..5_000).step_by(250) {
        let kind = if n % 500 == 0 { Aversion::Block } else { Aversion::Mute };
        turn_away(store, kind, &names[n], "star").await;
    }
    let mut question: Vec<_> = names.iter().map(String::as_str).collect();
    question.extend(["u250", "star", "u251", "u250"]);
    let answers = hidden(store, "star", &question).await;
    let expected = (0..5_000).map(|n| n % 250 == 0).chain([true, false, false, true]);
    assert!(answers.iter().copied().eq(expected), "an answer is out of place");
}
