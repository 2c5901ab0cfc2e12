//! Marking and acknowledging.

use std::sync::Arc;

use tidings_core::{
    clock::Timestamp,
    ids::{InboxNumber, NotificationId, Seq, UserId},
    inbox::{InboxState, Mark, Selection},
    ports::NotificationStore,
};

use crate::contract::sample::{acknowledgement, at, fill, has, has_between, read_all, user};

async fn mark(
    store: &dyn NotificationStore,
    user: &UserId,
    mark: Mark,
    selection: Selection,
    now: Timestamp,
) -> InboxState {
    let state = store.mark(user, mark, selection, now).await.expect("mark");
    assert_eq!(state, store.inbox(user).await.expect("inbox"), "the answer is what is stored");
    state
}

/// `unread` is what a look at every notification would count, after every kind of mark.
pub async fn unread_counts_what_is_neither_read_nor_archived(store: &dyn NotificationStore) {
    let ann = user("ann");
    let ids = fill(store, &ann, &["e1", "e2", "e3", "e4", "e5", "e6"]).await;
    let up_to = |seq| Selection::UpTo(Seq(seq));
    let these = |seqs: &[usize]| Selection::Ids(seqs.iter().map(|seq| ids[seq - 1]).collect());
    let steps = [
        (Mark::Seen, up_to(6), 6),
        (Mark::Read, these(&[2]), 5),
        (Mark::Read, these(&[2, 2, 3, 3]), 4),
        (Mark::Archived, these(&[3]), 4),
        (Mark::Archived, these(&[4]), 3),
        (Mark::Read, these(&[4]), 3),
        (Mark::Read, up_to(4), 2),
        (Mark::Archived, up_to(4), 2),
        (Mark::Seen, these(&[5]), 2),
        (Mark::Read, up_to(99), 0),
        (Mark::Archived, up_to(99), 0),
    ];
    for (kind, selection, unread) in steps {
        let text = format!("{kind:?} {selection:?}");
        let state = mark(store, &ann, kind, selection, at(1)).await;
        assert_eq!(state.unread, unread, "after {text}");
        let counted = read_all(store, &ann).await;
        let counted =
            counted.iter().filter(|it| it.state.read_at.or(it.state.archived_at).is_none());
        assert_eq!(counted.count() as u64, unread, "after {text}");
    }
    fill(store, &ann, &["e7"]).await;
    assert_eq!(store.inbox(&ann).await.expect("inbox").unread, 1);
}

/// A mark that is set keeps its time; reading implies having seen, and only then.
pub async fn marks_keep_their_first_time(store: &dyn NotificationStore) {
    let ann = user("ann");
    let ids = fill(store, &ann, &["e1", "e2", "e3"]).await;
    let one = |index: usize| Selection::Ids(vec![ids[index]]);
    let all = || Selection::UpTo(Seq(3));
    mark(store, &ann, Mark::Seen, one(0), at(1)).await;
    mark(store, &ann, Mark::Read, one(1), at(2)).await;
    mark(store, &ann, Mark::Archived, one(2), at(3)).await;
    mark(store, &ann, Mark::Read, all(), at(4)).await;
    mark(store, &ann, Mark::Read, all(), at(5)).await;
    mark(store, &ann, Mark::Seen, all(), at(6)).await;
    mark(store, &ann, Mark::Archived, all(), at(7)).await;
    mark(store, &ann, Mark::Archived, one(0), at(8)).await;
    let times: Vec<_> = read_all(store, &ann)
        .await
        .iter()
        .map(|it| (it.state.seen_at, it.state.read_at, it.state.archived_at))
        .collect();
    let expected = [(1, 4, 7), (2, 2, 7), (4, 4, 3)]
        .map(|(seen, read, archived)| (Some(at(seen)), Some(at(read)), Some(at(archived))));
    assert_eq!(times, expected);
}

/// What is appended after a mark does not have it, even if the mark named a place beyond the end.
pub async fn marking_up_to_a_place_spares_what_comes_later(store: &dyn NotificationStore) {
    let ann = user("ann");
    fill(store, &ann, &["e1"]).await;
    for kind in [Mark::Seen, Mark::Read, Mark::Archived] {
        mark(store, &ann, kind, Selection::UpTo(Seq(u64::MAX)), at(1)).await;
    }
    fill(store, &ann, &["e2"]).await;
    let later = read_all(store, &ann).await[1].state;
    assert_eq!((later.seen_at, later.read_at, later.archived_at), (None, None, None));
    let state = mark(store, &ann, Mark::Read, Selection::UpTo(Seq(2)), at(2)).await;
    assert_eq!(state.unread, 0);
    assert_eq!(read_all(store, &ann).await[1].state.read_at, Some(at(2)));
}

/// A user cannot mark what is in another's inbox, nor what does not exist.
pub async fn ids_of_other_inboxes_are_ignored(store: &dyn NotificationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    let of_ann = fill(store, &ann, &["e1"]).await;
    let of_ben = fill(store, &ben, &["e1", "e2"]).await;
    let inbox = of_ann[0].inbox;
    let foreign = vec![
        of_ben[0],
        of_ben[1],
        NotificationId { inbox, seq: Seq(2) },
        NotificationId { inbox, seq: Seq(0) },
        NotificationId { inbox, seq: Seq(u64::MAX) },
        NotificationId { inbox: InboxNumber(u64::MAX), seq: Seq(1) },
    ];
    for kind in [Mark::Seen, Mark::Read, Mark::Archived] {
        let state = mark(store, &ann, kind, Selection::Ids(foreign.clone()), at(1)).await;
        assert_eq!(state.unread, 1);
    }
    for user in [&ann, &ben] {
        for it in read_all(store, user).await {
            assert_eq!(it.state, tidings_core::notification::NotificationState::default());
        }
    }
    assert_eq!(store.inbox(&ben).await.expect("inbox").unread, 2);
}

/// `acked_seq` only moves forward, and never past the newest notification.
pub async fn acknowledge_never_goes_back_or_beyond(store: &dyn NotificationStore) {
    let ann = user("ann");
    fill(store, &ann, &["e1", "e2", "e3"]).await;
    for (seq, expected) in [(0, 0), (2, 2), (1, 2), (2, 2), (99, 3), (u64::MAX, 3), (1, 3)] {
        store.acknowledge(has(&ann, seq)).await.expect("acknowledge");
        let state = store.inbox(&ann).await.expect("inbox");
        assert_eq!(state.acked_seq, Seq(expected), "after {seq}");
        assert_eq!((state.last_seq, state.unread), (Seq(3), 3));
    }
    fill(store, &ann, &["e4"]).await;
    assert_eq!(store.inbox(&ann).await.expect("inbox").acked_seq, Seq(3));
}

/// Many are acknowledged at once: the farthest of an inbox counts, and who has no inbox is no
/// matter to the others.
pub async fn many_are_acknowledged_at_once(store: &dyn NotificationStore) {
    let (ann, bob, cid) = (user("ann"), user("bob"), user("cid"));
    fill(store, &ann, &["e1", "e2", "e3"]).await;
    fill(store, &bob, &["e1", "e2"]).await;
    let said = [(&bob, 1), (&ann, 2), (&cid, 7), (&ann, 1), (&bob, 9)];
    let said = said.map(|(user, seq)| acknowledgement(user, (0, seq), vec![]));
    let said = Arc::new(said);
    store.acknowledge(said).await.expect("acknowledge");
    for (user, acked) in [(&ann, 2), (&bob, 2), (&cid, 0)] {
        assert_eq!(store.inbox(user).await.expect("inbox").acked_seq, Seq(acked), "{user}");
    }
    store.acknowledge(Arc::new([])).await.expect("acknowledge nothing");
}

/// A session that began at the newest notification says nothing of those before it: what is missing
/// between two stretches leaves the later one.
pub async fn stretches_are_joined_where_nothing_is_missing(store: &dyn NotificationStore) {
    let (ann, bob) = (user("ann"), user("bob"));
    let events: Vec<_> = (1..=9).map(|n| format!("e{n}")).collect();
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    fill(store, &ann, &events).await;
    fill(store, &bob, &events).await;
    for (said, expected) in [
        ((2, 4), (2, 4)),
        // Before it, and not up to it.
        ((0, 1), (2, 4)),
        ((4, 5), (2, 5)),
        ((3, 4), (2, 5)),
        // Nothing, wherever that begins.
        ((7, 7), (2, 5)),
        ((9, 12), (2, 5)),
        ((6, 8), (6, 8)),
        ((0, 6), (0, 8)),
        ((8, 99), (0, 9)),
    ] {
        store.acknowledge(has_between(&ann, said.0, said.1)).await.expect("acknowledge");
        let state = store.inbox(&ann).await.expect("inbox");
        assert_eq!((state.acked_after, state.acked_seq), (Seq(expected.0), Seq(expected.1)));
        let heads = store.heads(std::slice::from_ref(&ann)).await.expect("heads");
        assert_eq!(heads, [state], "after {said:?}");
    }
    // In one call, in whichever order.
    let said = [(5, 9), (1, 2), (2, 5)].map(|has| acknowledgement(&bob, has, vec![]));
    store.acknowledge(Arc::new(said)).await.expect("acknowledge");
    let state = store.inbox(&bob).await.expect("inbox");
    assert!(state.acked().contains(Seq(9)) && !state.acked().contains(Seq(1)), "{state:?}");
}

/// A store that works says so.
pub async fn the_store_gives_a_sign_of_life(store: &dyn NotificationStore) {
    store.check().await.expect("check");
}
