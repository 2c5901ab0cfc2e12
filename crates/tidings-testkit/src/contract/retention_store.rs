//! The rules of `RetentionStore`.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    batch::PlannedEvent,
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    ids::{NotificationId, Seq, UserId},
    inbox::{InboxState, Mark, Selection},
    ports::{Cutoffs, Forgotten, KeptAnswer, RequestKey},
};

use super::{
    Store,
    delivery_log::whole_log_of,
    fan_out_store,
    sample::{
        ALL, acknowledgement, at, batch, device, event, event_from, event_ids, has, plan,
        plan_push, read_all, seqs, user,
    },
};

const CALLS_MAX: usize = 1_000;

/// Tells `user` of `id` at `now`, and says what it became.
async fn tell(store: &dyn Store, user: &UserId, id: &str, now: Timestamp) -> Vec<NotificationId> {
    append(store, plan(&event(id), [user]), now).await
}

async fn append(store: &dyn Store, planned: PlannedEvent, now: Timestamp) -> Vec<NotificationId> {
    let appended = store.append(batch(vec![planned]).into(), now).await.expect("append");
    appended[0].stored.iter().map(|it| it.id).collect()
}

/// Forgets until everything has been looked at.
async fn forget(store: &dyn Store, cutoffs: Cutoffs, limit: usize) -> Forgotten {
    let mut sum = Forgotten::default();
    for _ in 0..CALLS_MAX {
        let piece = store.forget(cutoffs, limit).await.expect("forget");
        let removed = piece.notifications + piece.events + piece.deliveries + piece.devices;
        // A piece is small: a little more than was asked for, not all.
        assert!(removed <= 4 * limit as u64, "{removed} rows at a limit of {limit}");
        sum.notifications += piece.notifications;
        sum.events += piece.events;
        sum.deliveries += piece.deliveries;
        sum.devices += piece.devices;
        sum.complete = piece.complete;
        if sum.complete {
            return sum;
        }
    }
    panic!("not complete after {CALLS_MAX} calls: {sum:?}");
}

fn told_before(cutoff: Timestamp) -> Cutoffs {
    Cutoffs { notifications: Some(cutoff), ..Cutoffs::default() }
}

fn removed(forgotten: Forgotten) -> (u64, u64, u64) {
    (forgotten.notifications, forgotten.events, forgotten.deliveries)
}

/// Without a cut-off everything stays.
pub async fn without_a_cutoff_nothing_is_forgotten(store: &dyn Store) {
    let ann = user("ann");
    tell(store, &ann, "e1", at(0)).await;
    assert_eq!(removed(forget(store, Cutoffs::default(), 10).await), (0, 0, 0));
    assert_eq!(removed(forget(store, told_before(at(0)), 10).await), (0, 0, 0));
    assert_eq!(seqs(&read_all(store, &ann).await), [1]);
    assert_eq!(store.inbox(&ann).await.expect("inbox").forgotten_seq, Seq::ZERO);
}

/// What was stored before the cut-off goes, and the inbox says up to where; what is left is counted
/// and numbered as before.
pub async fn old_notifications_are_forgotten(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    let mut ids = Vec::new();
    for (id, now) in [("e1", 0), ("e2", 10), ("e3", 20), ("e4", 30)] {
        ids.extend(tell(store, &ann, id, at(now)).await);
    }
    tell(store, &ben, "e9", at(30)).await;
    let read = Selection::Ids(vec![ids[0], ids[2]]);
    store.mark(&ann, Mark::Read, read, at(31)).await.expect("mark");
    store.acknowledge(has(&ann, 1)).await.expect("acknowledge");

    assert_eq!(removed(forget(store, told_before(at(20)), 10).await), (2, 2, 0));
    let state = store.inbox(&ann).await.expect("inbox");
    let expected = InboxState {
        last_seq: Seq(4),
        acked_seq: Seq(1),
        acked_after: Seq::ZERO,
        unread: 1,
        forgotten_seq: Seq(2),
    };
    assert_eq!(state, expected);
    // Who asks from below what is forgotten gets all that is kept.
    assert_eq!(seqs(&read_all(store, &ann).await), [3, 4]);
    let page = store.list_after(&ann, Seq(1), 1).await.expect("list_after");
    assert_eq!(seqs(&page), [3]);
    let newest = store.list_newest(&ann, None, ALL).await.expect("list_newest");
    assert_eq!(seqs(&newest), [4, 3]);
    assert!(store.find(ids[1]).await.expect("find").is_none());
    assert!(store.find(ids[2]).await.expect("find").is_some());
    assert_eq!(seqs(&read_all(store, &ben).await), [1]);

    // Marks go on over it, and so does counting.
    let gone = Selection::Ids(vec![ids[0], ids[1]]);
    let marked = store.mark(&ann, Mark::Archived, gone, at(40)).await.expect("mark");
    assert_eq!(marked, expected);
    let marked = store.mark(&ann, Mark::Read, Selection::UpTo(Seq(4)), at(40)).await.expect("mark");
    assert_eq!((marked.unread, marked.forgotten_seq), (0, Seq(2)));
    assert_eq!(tell(store, &ann, "e5", at(50)).await[0].seq, Seq(5));

    // An inbox of which nothing is left keeps its numbers.
    forget(store, told_before(at(99)), 10).await;
    let state = store.inbox(&ann).await.expect("inbox");
    assert_eq!((state.last_seq, state.unread, state.forgotten_seq), (Seq(5), 0, Seq(5)));
    assert!(read_all(store, &ann).await.is_empty());
    assert_eq!(tell(store, &ann, "e6", at(100)).await[0].seq, Seq(6));
}

/// Of an inbox only the oldest go: one that is kept keeps all that come after it.
pub async fn an_inbox_is_forgotten_from_its_beginning(store: &dyn Store) {
    let ann = user("ann");
    // The clock of the node that stored the third was behind.
    for (id, now) in [("e1", 0), ("e2", 100), ("e3", 50)] {
        tell(store, &ann, id, at(now)).await;
    }
    assert_eq!(forget(store, told_before(at(60)), 10).await.notifications, 1);
    assert_eq!(event_ids(&read_all(store, &ann).await), ["e2", "e3"]);
    assert_eq!(store.inbox(&ann).await.expect("inbox").forgotten_seq, Seq(1));
    assert_eq!(forget(store, told_before(at(101)), 10).await.notifications, 2);
    assert_eq!(store.inbox(&ann).await.expect("inbox").forgotten_seq, Seq(3));
}

/// What has expired goes when its turn in the inbox has come, whatever its age.
pub async fn expired_notifications_are_forgotten(store: &dyn Store) {
    let ann = user("ann");
    let lasting = |id: &str, secs: Option<u64>| {
        let mut json = serde_json::json!({"id": id, "source": "test", "type": "t"});
        json["time"] = at(0).to_string().into();
        if let Some(secs) = secs {
            json["ttl_seconds"] = secs.into();
        }
        event_from(&json)
    };
    let events = [("e1", Some(1)), ("e2", Some(2)), ("e3", None), ("e4", Some(1))];
    for (id, secs) in events {
        append(store, plan(&lasting(id, secs), [&ann]), at(0)).await;
    }
    let expired = |millis| Cutoffs { expired: Some(at(millis)), ..Cutoffs::default() };
    assert_eq!(forget(store, expired(1_000), 10).await.notifications, 0, "at its very end");
    assert_eq!(forget(store, expired(1_001), 10).await.notifications, 1);
    assert_eq!(event_ids(&read_all(store, &ann).await), ["e2", "e3", "e4"]);
    assert_eq!(forget(store, expired(999_999), 10).await.notifications, 1);
    assert_eq!(event_ids(&read_all(store, &ann).await), ["e3", "e4"]);
    // Together with age, which takes the one that never expires.
    let both = Cutoffs { notifications: Some(at(1)), ..expired(999_999) };
    assert_eq!(forget(store, both, 10).await.notifications, 2);
}

/// An event stays while a notification refers to it; when it goes, it may be told anew.
pub async fn an_event_goes_with_its_last_notification(store: &dyn Store) {
    let (ann, ben, cat) = (user("ann"), user("ben"), user("cat"));
    tell(store, &ben, "keeps", at(100)).await;
    append(store, plan(&event("shared"), [&ann, &ben]), at(0)).await;
    append(store, plan(&event("nobody's"), []), at(0)).await;
    // Ann's goes; Ben's is kept by the one before it, and so is the event.
    assert_eq!(removed(forget(store, told_before(at(50)), 10).await), (1, 1, 0));
    let listed = read_all(store, &ben).await;
    assert_eq!(event_ids(&listed), ["keeps", "shared"]);
    let appended =
        store.append(batch(vec![plan(&event("shared"), [&ben, &cat])]).into(), at(60)).await;
    let appended = appended.expect("append");
    assert_eq!((appended[0].stored.len(), appended[0].duplicates), (1, 1));
    assert_eq!(forget(store, told_before(at(101)), 10).await.notifications, 3);
    for user in [&ann, &ben, &cat] {
        assert!(read_all(store, user).await.is_empty());
    }
    forget(store, told_before(at(101)), 10).await;
    let appended = store.append(batch(vec![plan(&event("shared"), [&ann])]).into(), at(200)).await;
    assert_eq!(appended.expect("append")[0].stored.len(), 1);
}

/// An event that is on its way to followers stays until the last of them was told.
pub async fn an_event_on_its_way_stays(store: &dyn Store) {
    fan_out_store::begin(store, "e1", at(0)).await;
    assert_eq!(forget(store, told_before(at(50)), 10).await.events, 0);
    let claimed = fan_out_store::claim(store, at(51), ALL).await;
    assert_eq!(claimed.len(), 1);
    fan_out_store::end(store, &claimed[0]).await;
    assert_eq!(forget(store, told_before(at(50)), 10).await.events, 1);
    assert!(fan_out_store::claim(store, at(99_999_999), ALL).await.is_empty());
}

/// What waits for a push goes with its notification, leased or not.
pub async fn pushes_of_forgotten_notifications_go(store: &dyn Store) {
    let ann = user("ann");
    store.put_device(device(&ann, "phone", "token", at(0))).await.expect("put_device");
    for (id, now) in [("e1", 0), ("e2", 10), ("e3", 20)] {
        append(store, plan_push(&event(id), &ann, at(now + 1_000)), at(now)).await;
    }
    let lease = Duration::from_secs(60);
    let leased = store.claim_due(at(1_000), lease, ALL).await.expect("claim_due");
    assert_eq!(leased.len(), 1);
    assert_eq!(forget(store, told_before(at(20)), 10).await.notifications, 2);
    assert_eq!(store.next_due().await.expect("next_due"), Some(at(1_020)));
    let due = store.claim_due(at(999_999), lease, ALL).await.expect("claim_due");
    let due: Vec<_> = due.iter().map(|it| it.notification.event.id.as_str()).collect();
    assert_eq!(due, ["e3"]);
}

/// Old rows of the delivery log and old answers go, in whatever order they were written.
pub async fn old_deliveries_and_answers_are_forgotten(store: &dyn Store) {
    let ann = user("ann");
    let id = tell(store, &ann, "e1", at(0)).await[0];
    let log = |millis| Delivery {
        notification: id,
        user: ann.clone(),
        channel: Channel::WebSocket,
        target: String::new(),
        attempt: 1,
        at: at(millis),
        latency_ms: millis,
        outcome: Outcome::Delivered,
        reason: None,
        provider_id: None,
    };
    let rows = [30, 10, 20, 40, 5].map(log);
    store
        .acknowledge(Arc::new([acknowledgement(&ann, (0, 1), rows.to_vec())]))
        .await
        .expect("acknowledge");
    let key = |name: &str| RequestKey { sender: "s".to_owned(), key: name.to_owned() };
    for (name, millis) in [("young", 30), ("old", 10)] {
        let answer =
            KeptAnswer { request_digest: [0; 32], status: 200, body: vec![], at: at(millis) };
        store.put_answer(&key(name), answer).await.expect("put_answer");
    }
    let deliveries = Cutoffs { deliveries: Some(at(20)), ..Cutoffs::default() };
    assert_eq!(removed(forget(store, deliveries, 1).await), (0, 0, 2));
    assert_eq!(whole_log_of(store, id).await, [30, 20, 40].map(log));
    let find = async |name| store.find_answer(&key(name)).await.expect("find_answer");
    assert!(find("old").await.is_some());
    forget(store, Cutoffs { answers: Some(at(30)), ..Cutoffs::default() }, 1).await;
    assert!(find("old").await.is_none());
    assert!(find("young").await.is_some());
}

/// Devices that were last registered before the cut-off go, and their users are pushed to no more.
pub async fn devices_that_were_not_registered_for_long_are_forgotten(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    let young = [device(&ann, "new", "t1", at(20)), device(&ann, "refreshed", "t2", at(30))];
    for old in ["a", "b", "refreshed"] {
        store.put_device(device(&ann, old, old, at(10))).await.expect("put_device");
    }
    for it in &young {
        store.put_device(it.clone()).await.expect("put_device");
    }
    store.put_device(device(&ben, "a", "t3", at(19))).await.expect("put_device");
    let registered_before = |millis| Cutoffs { devices: Some(at(millis)), ..Cutoffs::default() };
    assert_eq!(forget(store, registered_before(10), 10).await.devices, 0);
    assert_eq!(forget(store, Cutoffs::default(), 10).await.devices, 0);
    assert_eq!(forget(store, registered_before(20), 1).await.devices, 3);
    assert_eq!(store.list_devices(&ann).await.expect("list_devices"), young);
    assert!(store.list_devices(&ben).await.expect("list_devices").is_empty());
    assert_eq!(store.count_other_devices(&ann, &young[0].id).await.expect("count"), 1);
    append(store, plan_push(&event("e1"), &ben, at(30)), at(30)).await;
    assert_eq!(store.next_due().await.expect("next_due"), None, "nobody to push to");
    append(store, plan_push(&event("e2"), &ann, at(30)), at(30)).await;
    assert_eq!(store.next_due().await.expect("next_due"), Some(at(30)));
}

/// However small the pieces, in the end all is gone that has to go, and nothing else.
pub async fn small_pieces_add_up(store: &dyn Store) {
    let users: Vec<_> = (0..7).map(|n| user(&format!("u{n}"))).collect();
    for round in 0..10u64 {
        let told = users.iter().filter(|it| !round.is_multiple_of(3) || it.as_str() != "u3");
        append(store, plan(&event(&format!("e{round}")), told), at(round)).await;
    }
    assert_eq!(removed(forget(store, told_before(at(6)), 3).await), (6 * 7 - 2, 6, 0));
    for user in &users {
        let last = if user.as_str() == "u3" { 6 } else { 10 };
        let state = store.inbox(user).await.expect("inbox");
        assert_eq!(state.last_seq, Seq(last));
        let kept: Vec<_> = (state.forgotten_seq.0 + 1..=last).collect();
        let listed = read_all(store, user).await;
        assert_eq!(seqs(&listed), kept);
        assert_eq!(state.unread, kept.len() as u64);
        assert!(listed.iter().all(|it| it.created_at >= at(6)));
    }
    assert_eq!(removed(forget(store, told_before(at(6)), 3).await), (0, 0, 0));
}
