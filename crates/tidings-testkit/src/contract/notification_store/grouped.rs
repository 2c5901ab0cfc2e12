//! Reading many inboxes at once.

use tidings_core::{
    ids::{Seq, UserId},
    inbox::{InboxState, Mark, Selection},
    ports::NotificationStore,
};

use crate::contract::sample::{ALL, append, assert_same, at, event, fill, has, plan, seqs, user};

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
        acked_after: Seq::ZERO,
        unread,
        forgotten_seq: Seq::ZERO,
    };
    assert_eq!(
        heads,
        [counted(1, 0, 1), InboxState::default(), counted(3, 2, 2), counted(1, 0, 1)]
    );
    assert!(store.heads(&[]).await.expect("heads").is_empty());
}

/// Each place has its own page, oldest first and at most `limit`, whatever the others ask for.
pub async fn pages_after_read_many_inboxes_at_once(store: &dyn NotificationStore) {
    let (ann, ben, nobody) = (user("ann"), user("ben"), user("nobody"));
    fill(store, &ann, &["e1", "e2", "e3", "e4", "e5"]).await;
    fill(store, &ben, &["e2", "e6"]).await;
    let pages = async |places: &[(&UserId, u64)], limit: usize| {
        let places: Vec<_> =
            places.iter().map(|(user, seq)| ((*user).clone(), Seq(*seq))).collect();
        let pages = store.pages_after(&places, limit).await.expect("pages_after");
        let pages = pages.iter().map(|page| (page.inbox.last_seq.0, seqs(&page.notifications)));
        pages.collect::<Vec<_>>()
    };
    assert_eq!(
        pages(&[(&ben, 0), (&ann, 1), (&nobody, 0), (&ann, 3), (&ann, 5)], 2).await,
        [(2, vec![1, 2]), (5, vec![2, 3]), (0, vec![]), (5, vec![4, 5]), (5, vec![])]
    );
    assert_eq!(
        pages(&[(&ann, 0), (&ben, u64::MAX), (&ann, u64::MAX)], ALL).await,
        [(5, vec![1, 2, 3, 4, 5]), (2, vec![]), (5, vec![])]
    );
    assert_eq!(pages(&[(&ann, 0)], 0).await, [(5, vec![])]);
    assert_eq!(pages(&[], 2).await, []);
}

/// What a grouped read gives is what single reads give, field by field.
pub async fn grouped_reads_agree_with_single_ones(store: &dyn NotificationStore) {
    let users: Vec<_> = (0..40).map(|number| user(&format!("u{number}"))).collect();
    for (number, to) in users.iter().enumerate() {
        // Everyone has another number of notifications, the first ones have none; events are shared.
        let events = (0..number % 7).map(|at| plan(&event(&format!("e{at}")), [to])).collect();
        append(store, events).await;
    }
    store.mark(&users[6], Mark::Seen, Selection::UpTo(Seq(2)), at(7)).await.expect("mark");
    store.mark(&users[6], Mark::Archived, Selection::UpTo(Seq(1)), at(8)).await.expect("mark");
    let places: Vec<_> = users.iter().map(|user| (user.clone(), Seq(1))).collect();
    let pages = store.pages_after(&places, 3).await.expect("pages_after");
    let heads = store.heads(&users).await.expect("heads");
    assert_eq!((pages.len(), heads.len()), (users.len(), users.len()));
    for ((user, page), head) in users.iter().zip(&pages).zip(&heads) {
        let single = store.list_after(user, Seq(1), 3).await.expect("list_after");
        assert_same(&page.notifications, &single);
        assert_eq!(page.inbox, store.inbox(user).await.expect("inbox"));
        assert_eq!(page.inbox, *head);
    }
}

/// While notifications are being stored, a page that is not full reaches exactly to the head that it
/// shows, without a hole.
pub async fn pages_after_reach_to_the_head_they_show(store: &dyn NotificationStore) {
    let ann = user("ann");
    let storing = async {
        for number in 0..60 {
            append(store, vec![plan(&event(&format!("e{number}")), [&ann])]).await;
        }
    };
    let reading = async {
        let mut last = Seq::ZERO;
        while last < Seq(60) {
            let places = [(ann.clone(), Seq::ZERO), (ann.clone(), last)];
            let pages = store.pages_after(&places, ALL).await.expect("pages_after");
            for (page, (_, after)) in pages.iter().zip(&places) {
                let expected: Vec<u64> = (after.next().0..=page.inbox.last_seq.0).collect();
                assert_eq!(seqs(&page.notifications), expected);
            }
            last = pages[1].inbox.last_seq;
        }
    };
    tokio::join!(storing, reading);
}
