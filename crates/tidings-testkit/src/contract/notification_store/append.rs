//! Appending.

use std::collections::{BTreeSet, HashMap};

use tidings_core::{ids::Seq, inbox::InboxState, ports::NotificationStore};

use crate::contract::sample::{
    append, assert_same, at, batch, event, event_from, event_ids, plan, read_all, seqs, titled,
    user,
};

/// A batch that comes again changes nothing and says so.
pub async fn append_twice_stores_once(store: &dyn NotificationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    let planned = || vec![plan(&event("e1"), [&ann, &ben]), plan(&event("e2"), [&ben])];
    let first = append(store, planned()).await;
    assert_eq!((first[0].stored.len(), first[0].duplicates), (2, 0));
    assert_eq!((first[1].stored.len(), first[1].duplicates), (1, 0));
    let again = append(store, planned()).await;
    assert_eq!((again[0].stored.len(), again[0].duplicates), (0, 2));
    assert_eq!((again[1].stored.len(), again[1].duplicates), (0, 1));
    assert_eq!(event_ids(&read_all(store, &ben).await), ["e1", "e2"]);
    let state = store.inbox(&ben).await.expect("inbox");
    assert_eq!((state.last_seq, state.unread), (Seq(2), 2));
}

/// Each inbox counts 1, 2, 3 … in the order of the batches and of the events in them.
pub async fn seq_is_contiguous_and_in_batch_order(store: &dyn NotificationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    append(store, vec![plan(&event("e1"), [&ann]), plan(&event("e2"), [&ben, &ann])]).await;
    // A duplicate in between takes no number.
    let planned = vec![
        plan(&event("e1"), [&ann]),
        plan(&event("e3"), [&ann]),
        plan(&event("e2"), [&ann]),
        plan(&event("e4"), [&ann, &ben]),
    ];
    append(store, planned).await;
    let of_ann = read_all(store, &ann).await;
    assert_eq!(event_ids(&of_ann), ["e1", "e2", "e3", "e4"]);
    assert_eq!(seqs(&of_ann), [1, 2, 3, 4]);
    let of_ben = read_all(store, &ben).await;
    assert_eq!(event_ids(&of_ben), ["e2", "e4"]);
    assert_eq!(seqs(&of_ben), [1, 2]);
}

/// What an append says of its rows is what is read afterwards.
pub async fn what_an_append_answers_can_be_read(store: &dyn NotificationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    let appended = append(store, vec![plan(&event("e1"), [&ben, &ann])]).await;
    let users: Vec<_> = appended[0].stored.iter().map(|it| &it.user).collect();
    assert_eq!(users, [&ben, &ann], "in the order of the recipients");
    for stored in &appended[0].stored {
        let found = store.find(stored.id).await.expect("find").expect("a notification");
        assert_eq!((found.id, &found.user), (stored.id, &stored.user));
        assert_eq!(found.created_at, appended[0].created_at);
        assert_same(&found.event, &appended[0].event);
    }
}

/// An event that comes again with other content is the one that came first, for everyone.
pub async fn first_content_stands(store: &dyn NotificationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    append(store, vec![plan(&titled("e1", "first"), [&ann])]).await;
    let appended = append(store, vec![plan(&titled("e1", "second"), [&ann, &ben])]).await;
    assert_eq!(appended[0].event.title, "first");
    assert_eq!((appended[0].stored.len(), appended[0].duplicates), (1, 1));
    for user in [&ann, &ben] {
        let listed = read_all(store, user).await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].event.title, "first");
    }
}

/// The same id from another source is another event.
pub async fn one_source_does_not_shadow_another(store: &dyn NotificationStore) {
    let ann = user("ann");
    let from = |source: &str| {
        event_from(&serde_json::json!({"id": "1", "source": source, "type": "like"}))
    };
    let planned = vec![plan(&from("posts"), [&ann]), plan(&from("chats"), [&ann])];
    append(store, planned).await;
    let listed = read_all(store, &ann).await;
    let sources: Vec<_> = listed.iter().map(|it| it.event.source.as_str()).collect();
    assert_eq!(sources, ["posts", "chats"]);
}

/// An event that nobody is told of is kept all the same: its content came first.
pub async fn events_without_recipients_are_stored(store: &dyn NotificationStore) {
    let ann = user("ann");
    let appended = append(store, vec![plan(&titled("e1", "first"), [])]).await;
    assert_eq!((appended[0].stored.len(), appended[0].duplicates), (0, 0));
    append(store, vec![plan(&titled("e1", "second"), [&ann])]).await;
    assert_eq!(read_all(store, &ann).await[0].event.title, "first");
    let nothing = store.append(batch(vec![]).into(), at(0)).await.expect("an empty batch");
    assert!(nothing.is_empty());
}

/// Within one batch an event may come twice, with a user in both, or a user twice in one.
pub async fn a_batch_may_hold_duplicates(store: &dyn NotificationStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    let planned = vec![
        plan(&titled("e1", "first"), [&ann, &ann]),
        plan(&titled("e1", "second"), [&ann, &ben]),
        plan(&event("e2"), [&ben]),
    ];
    let appended = append(store, planned).await;
    let counts: Vec<_> = appended.iter().map(|it| (it.stored.len(), it.duplicates)).collect();
    assert_eq!(counts, [(1, 1), (1, 1), (1, 0)]);
    assert_eq!(appended[1].event.title, "first");
    assert_eq!(seqs(&read_all(store, &ann).await), [1]);
    assert_eq!(event_ids(&read_all(store, &ben).await), ["e1", "e2"]);
    assert_eq!(store.inbox(&ann).await.expect("inbox").unread, 1);
}

const APPENDERS: usize = 8;
const BATCHES: usize = 12;

/// Appenders that overlap in their inboxes get numbers without holes or repeats, and each finds its
/// own events in the order in which it appended them.
pub async fn concurrent_appends_leave_no_holes(store: &dyn NotificationStore) {
    let users: Vec<_> = (0..5).map(|n| user(&format!("u{n}"))).collect();
    let appender = |number: usize| {
        let users = &users;
        async move {
            for round in 0..BATCHES {
                // Some events are everyone's, so that appenders also race for the same identity.
                let own = event(&format!("a{number}-r{round}"));
                let shared = event(&format!("shared-r{round}"));
                let some = users.iter().filter(|it| it.as_str() != format!("u{}", number % 5));
                append(store, vec![plan(&own, some), plan(&shared, users)]).await;
            }
        }
    };
    tokio::join!(
        appender(0),
        appender(1),
        appender(2),
        appender(3),
        appender(4),
        appender(5),
        appender(6),
        appender(7),
    );
    for (index, user) in users.iter().enumerate() {
        let listed = read_all(store, user).await;
        let skipping = (0..APPENDERS).filter(|it| it % 5 == index).count();
        let expected = BATCHES * (APPENDERS - skipping) + BATCHES;
        assert_eq!(seqs(&listed), (1..=expected as u64).collect::<Vec<_>>());
        let ids = event_ids(&listed);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), expected, "each event once");
        let mut last_round: HashMap<&str, usize> = HashMap::new();
        for id in ids {
            let (series, round) = id.rsplit_once("-r").expect("an id made above");
            let round = round.parse().expect("a number");
            let before = last_round.insert(series, round);
            assert!(before.is_none_or(|before| before < round), "{id} is out of order");
        }
        let state = store.inbox(user).await.expect("inbox");
        let expected = InboxState {
            last_seq: Seq(expected as u64),
            acked_seq: Seq::ZERO,
            acked_after: Seq::ZERO,
            unread: expected as u64,
            forgotten_seq: Seq::ZERO,
        };
        assert_eq!(state, expected);
    }
}

/// Ids of 128 bytes, of any script, and such as only differ in case are kept apart and kept whole.
pub async fn ids_may_be_long_and_of_any_script(store: &dyn NotificationStore) {
    let long = "é".repeat(64);
    assert_eq!(long.len(), 128);
    let names = [long.as_str(), "Ann", "ann", "안나", "🦀 e\u{301}", "é", "' OR 1=1 --", "%_"];
    for name in names {
        let user = user(name);
        let json = serde_json::json!({
            "id": name, "source": long, "type": name, "actor": name, "group": name,
        });
        append(store, vec![plan(&event_from(&json), [&user])]).await;
        let listed = read_all(store, &user).await;
        assert_eq!(event_ids(&listed), [name]);
        assert_eq!(listed[0].user, user);
        assert_same(&listed[0].event, &event_from(&json));
    }
}

/// Every field of an event comes back as it went in, and `data` byte for byte.
pub async fn content_is_kept_byte_for_byte(store: &dyn NotificationStore) {
    let ann = user("ann");
    let data =
        "{ \"b\":1.0e2,\t\"a\" : [ 12345678901234567890123, \"\\u00e9\\n\\u0000\" ],\n \"c\":null}";
    let full = format!(
        r#"{{"id": "full", "source": "s", "type": "t", "time": "2026-11-23T09:00:00.123Z",
        "audience": {{"users": ["ann"]}}, "actor": "ben", "object": {{"type": "post", "id": "p",
        "url": "app://p"}}, "title": "two\ttabs\tinside", "body": "two\nlines 🦀",
        "data": {data}, "priority": "high", "ttl_seconds": 86400, "group": "like:p"}}"#
    );
    let bare = r#"{"id": "bare", "source": "s", "type": "t", "audience": {"users": ["ann"]},
        "object": {"type": "post", "id": "p"}, "data": null, "priority": "low"}"#;
    for json in [full.as_str(), bare] {
        let sent = tidings_core::event::IncomingEvent::from_json(json.as_bytes(), at(5))
            .expect("an event")
            .event;
        append(store, vec![plan(&sent, [&ann])]).await;
        let listed = read_all(store, &ann).await;
        let last = listed.last().expect("a notification");
        assert_same(&last.event, &sent);
        assert_eq!(last.created_at, at(0));
    }
    let listed = read_all(store, &ann).await;
    let kept = listed[0].event.data.as_ref().expect("data").get();
    assert_eq!(kept, data);
}
