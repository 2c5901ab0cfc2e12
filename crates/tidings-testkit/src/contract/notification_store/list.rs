//! Reading.

use tidings_core::{
    ids::{InboxNumber, NotificationId, Seq},
    inbox::{InboxState, Mark, Selection},
    ports::NotificationStore,
};

use crate::contract::sample::{ALL, at, event_ids, fill, has, read_all, seqs, user};

/// A user who was never told of anything has nothing, and counters of zero.
pub async fn an_unknown_user_has_an_empty_inbox(store: &dyn NotificationStore) {
    let ann = user("ann");
    assert_eq!(store.inbox(&ann).await.expect("inbox"), InboxState::default());
    assert!(read_all(store, &ann).await.is_empty());
    let newest = store.list_newest(&ann, None, ALL).await.expect("list_newest");
    assert!(newest.is_empty());
    let marked = store.mark(&ann, Mark::Read, Selection::UpTo(Seq(9)), at(0)).await.expect("mark");
    assert_eq!(marked, InboxState::default());
    store.acknowledge(has(&ann, 9)).await.expect("acknowledge");
    assert_eq!(store.inbox(&ann).await.expect("inbox"), InboxState::default());
}

/// `list_after` gives the next ones, oldest first, and nothing at limit 0 or beyond the end.
pub async fn list_after_pages_to_the_end(store: &dyn NotificationStore) {
    let ann = user("ann");
    fill(store, &ann, &["e1", "e2", "e3", "e4", "e5"]).await;
    let page = async |after: u64, limit: usize| {
        let listed = store.list_after(&ann, Seq(after), limit).await;
        seqs(&listed.expect("list_after"))
    };
    assert_eq!(page(0, 2).await, [1, 2]);
    assert_eq!(page(2, 2).await, [3, 4]);
    assert_eq!(page(4, 2).await, [5]);
    assert_eq!(page(5, 2).await, [0u64; 0]);
    assert_eq!(page(0, 0).await, [0u64; 0]);
    assert_eq!(page(u64::MAX, 2).await, [0u64; 0]);
    assert_eq!(page(3, usize::MAX).await, [4, 5]);
}

/// `list_newest` gives the ones before, newest first, and nothing at limit 0 or before the first.
pub async fn list_newest_pages_to_the_beginning(store: &dyn NotificationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    fill(store, &ann, &["e1", "e2", "e3", "e4", "e5"]).await;
    fill(store, &ben, &["e1"]).await;
    let page = async |before: Option<u64>, limit: usize| {
        let listed = store.list_newest(&ann, before.map(Seq), limit).await;
        seqs(&listed.expect("list_newest"))
    };
    assert_eq!(page(None, 2).await, [5, 4]);
    assert_eq!(page(Some(4), 2).await, [3, 2]);
    assert_eq!(page(Some(2), 2).await, [1]);
    assert_eq!(page(Some(1), 2).await, [0u64; 0]);
    assert_eq!(page(Some(0), 2).await, [0u64; 0]);
    assert_eq!(page(None, 0).await, [0u64; 0]);
    assert_eq!(page(Some(u64::MAX), usize::MAX).await, [5, 4, 3, 2, 1]);
}

/// What is archived is out of sight in `list_newest`, and in its place in `list_after`.
pub async fn archived_notifications_leave_newest_and_stay_in_after(store: &dyn NotificationStore) {
    let ann = user("ann");
    let ids = fill(store, &ann, &["e1", "e2", "e3", "e4", "e5"]).await;
    let newest = async || {
        let listed = store.list_newest(&ann, None, 2).await;
        seqs(&listed.expect("list_newest"))
    };
    let archive = async |selection: Selection| {
        let marked = store.mark(&ann, Mark::Archived, selection, at(1)).await;
        marked.expect("mark");
    };
    archive(Selection::Ids(vec![ids[3]])).await;
    assert_eq!(newest().await, [5, 3]);
    archive(Selection::UpTo(Seq(2))).await;
    assert_eq!(newest().await, [5, 3]);
    archive(Selection::UpTo(Seq(5))).await;
    assert_eq!(newest().await, [0u64; 0]);
    fill(store, &ann, &["e6"]).await;
    assert_eq!(newest().await, [6]);
    let all = read_all(store, &ann).await;
    assert_eq!(event_ids(&all), ["e1", "e2", "e3", "e4", "e5", "e6"]);
    let archived = all.iter().filter(|it| it.state.archived_at == Some(at(1)));
    assert_eq!(archived.count(), 5);
}

/// `find` gives what an id names, and nothing for an id that names nothing.
pub async fn find_gives_a_notification_by_its_id(store: &dyn NotificationStore) {
    let ids = fill(store, &user("ann"), &["e1", "e2"]).await;
    let found = store.find(ids[1]).await.expect("find").expect("a notification");
    assert_eq!((found.id, found.event.id.as_str()), (ids[1], "e2"));
    let inbox = ids[0].inbox;
    let none = [
        NotificationId { inbox, seq: Seq(3) },
        NotificationId { inbox, seq: Seq(0) },
        NotificationId { inbox, seq: Seq(u64::MAX) },
        NotificationId { inbox: InboxNumber(inbox.0 + 1), seq: Seq(1) },
    ];
    for id in none {
        assert!(store.find(id).await.expect("find").is_none(), "{id:?}");
    }
}
