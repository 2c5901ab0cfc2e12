//! Reading many inboxes at once.

use tidings_core::{
    ids::Seq,
    inbox::{InboxState, Mark, Selection},
    ports::NotificationStore,
};

use crate::contract::sample::{at, fill, has, user};

/// Heads are in the order of the question, also of users who are asked for twice or have no inbox.
pub async fn heads_come_in_the_order_of_the_question(store: &dyn NotificationStore) {
    let (ann, ben, nobody) = (user("ann"), user("ben"), user("nobody"));
    fill(store, &ann, &["e1", "e2", "e3"]).await;
    fill(store, &ben, &["e1"]).await;
    store.mark(&ann, Mark::Read, Selection::UpTo(Seq(1)), at(1)).await.expect("mark");
    store.acknowledge(has(&ann, 2)).await.expect("acknowledge");
    let asked = [ben.clone(), nobody.clone(), ann.clone(), ben.clone()];
    let heads = store.heads(&asked).await.expect("heads");
    let counted = |last: u64, acked: u64, unread: u64| InboxState {
        last_seq: Seq(last),
        acked_seq: Seq(acked),
        unread,
        forgotten_seq: Seq::ZERO,
    };
    assert_eq!(
        heads,
        [counted(1, 0, 1), InboxState::default(), counted(3, 2, 2), counted(1, 0, 1)]
    );
    assert!(store.heads(&[]).await.expect("heads").is_empty());
}
