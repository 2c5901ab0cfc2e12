//! The same events through both stores make the same inboxes.

use std::{io::Write, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tidings_core::{
    batch::{BatchLimits, NotificationBatch, PlannedEvent, Recipient},
    clock::Timestamp,
    event::{Event, IncomingEvent},
    ids::{Seq, UserId},
    inbox::{Acknowledgement, Mark, Selection, Stretch},
    ports::Store,
};

use crate::{
    directory::{now, user},
    open::open_sqlite,
    postgres_open::open_postgres,
};

const EVENTS: u32 = 4_000;
const USERS: usize = 60;

fn any_event(random: &mut StdRng) -> Arc<Event> {
    // Many come twice, some under another title, or from another source.
    let number = random.random_range(0..EVENTS / 2);
    let mut json = serde_json::json!({
        "id": format!("e{number}"), "source": format!("s{}", number % 3), "type": "like",
        "title": format!("title {}\u{10FFFF}", random.random_range(0..9)),
        "time": "2026-11-23T09:00:00Z", "audience": {"users": ["nobody"]},
    });
    if number.is_multiple_of(4) {
        json["data"] = serde_json::json!({"number": number});
        json["ttl_seconds"] = (1 + number % 3).into();
    }
    IncomingEvent::from_json(json.to_string().as_bytes(), now()).unwrap().event
}

fn any_batch(random: &mut StdRng, users: &[UserId], at: Timestamp) -> NotificationBatch {
    let limits = BatchLimits { max_rows: 10_000, max_bytes: usize::MAX, max_age: Duration::ZERO };
    let mut batch = NotificationBatch::new(limits);
    for _ in 0..random.random_range(1..200) {
        let recipients = (0..random.random_range(0..5)).map(|_| Recipient {
            user: users[random.random_range(0..USERS)].clone(),
            push_at: None,
        });
        let recipients = recipients.collect();
        let planned = PlannedEvent { event: any_event(random), recipients, fan_out: None };
        batch.try_add(planned, at).unwrap();
    }
    batch
}

/// All that a user can see of the inbox.
async fn shown(store: &dyn Store, user: &UserId) -> String {
    let state = store.inbox(user).await.unwrap();
    let all = store.list_after(user, Seq::ZERO, usize::MAX).await.unwrap();
    let newest = store.list_newest(user, None, 10).await.unwrap();
    let newest: Vec<_> = newest.iter().map(|it| it.seq().0).collect();
    let all: Vec<_> = all
        .iter()
        .map(|it| format!("{:?} {:?} {:?} {:?}\n", it.id.seq, it.created_at, it.state, it.event))
        .collect();
    format!("{state:?} {newest:?}\n{}", all.concat())
}

#[tokio::test]
async fn both_stores_make_the_same_of_the_same_events() {
    let seed: u64 = rand::random();
    // For a failing run to be repeated.
    writeln!(std::io::stderr(), "seed {seed}").unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let (sqlite, postgres) = (open_sqlite().await, open_postgres().await);
    let stores: [&dyn Store; 2] = [&*sqlite, &*postgres];
    let users: Vec<_> = (0..USERS).map(|n| user(&format!("u{n}"))).collect();
    let mut events = 0;
    let mut at = now();
    while events < EVENTS {
        at = at.after(Duration::from_millis(random.random_range(0..20)));
        let batch = Arc::new(any_batch(&mut random, &users, at));
        events += u32::try_from(batch.events().len()).unwrap();
        let mut answers = Vec::new();
        for store in stores {
            let appended = store.append(Arc::clone(&batch), at).await.unwrap();
            let answer = appended.iter().map(|it| {
                let stored: Vec<_> = it.stored.iter().map(|it| (&it.user, it.id.seq)).collect();
                format!("{:?} {stored:?} {}\n", it.event, it.duplicates)
            });
            answers.push(answer.collect::<String>());
        }
        assert_eq!(answers[0], answers[1]);
        let marked = &users[random.random_range(0..USERS)];
        let mark = [Mark::Seen, Mark::Read, Mark::Archived][random.random_range(0..3)];
        let upto = Seq(random.random_range(0..40));
        let after = Seq(random.random_range(0..20));
        for store in stores {
            store.mark(marked, mark, Selection::UpTo(upto), at).await.unwrap();
            store
                .acknowledge(Arc::new([Acknowledgement {
                    user: marked.clone(),
                    has: Stretch { after, upto },
                    deliveries: vec![],
                }]))
                .await
                .unwrap();
        }
    }
    for user in &users {
        assert_eq!(shown(stores[0], user).await, shown(stores[1], user).await);
    }
}
