//! The delivery log while transactions are under way.

use std::sync::Arc;

use tidings_core::{
    delivery::{Channel, Delivery, Outcome},
    ids::Seq,
    inbox::{Acknowledgement, Stretch},
    ports::{DeliveryFilter, DeliveryLogStore, LogPage, NotificationStore},
};
use tidings_store::PostgresStore;

use crate::{
    directory::{batch, now, user},
    postgres_open::TestSchema,
};

async fn read(store: &PostgresStore, from: &LogPage) -> LogPage {
    let filter = DeliveryFilter::default();
    store.read_log(None, filter, Some(from.upto), 9).await.unwrap()
}

#[tokio::test]
async fn a_row_waits_for_those_with_lower_numbers_that_may_yet_be_committed() {
    let schema = TestSchema::new();
    let store = Arc::new(schema.open().await);
    let ann = user("ann");
    let appended = store.append(batch("e1", std::slice::from_ref(&ann)).into(), now()).await;
    let delivery = Delivery {
        notification: appended.unwrap()[0].stored[0].id,
        user: ann.clone(),
        channel: Channel::WebSocket,
        target: "second".into(),
        attempt: 1,
        at: now(),
        latency_ms: 0,
        outcome: Outcome::Delivered,
        reason: None,
        provider_id: None,
    };
    // Another node has taken a number, and hangs.
    let first = schema
        .hold(
            "INSERT INTO delivery (inbox, seq, channel, target, attempt, at_ms, latency_ms, outcome) \
             SELECT inbox, 1, 'apns', 'first', 1, 7, 0, 'failed' FROM inbox",
        )
        .await;
    let deliveries = vec![delivery];
    let has = Stretch { after: Seq::ZERO, upto: Seq(1) };
    let acknowledgement = Acknowledgement { user: ann.clone(), has, deliveries };
    store.acknowledge(Arc::new([acknowledgement])).await.unwrap();
    let listed = store.list_user_deliveries(&ann, DeliveryFilter::default(), None, 9).await;
    assert_eq!(listed.unwrap().rows.len(), 1, "it is there for those who do not go on from it");

    let before = read(&store, &LogPage::default()).await;
    // First let go: a schema is not removed while somebody is in it.
    first.commit().await;
    assert!(before.rows.is_empty() && before.complete, "{before:?}");
    let after = read(&store, &before).await;
    let targets: Vec<_> = after.rows.iter().map(|it| it.delivery.target.as_str()).collect();
    assert_eq!(targets, ["first", "second"]);

    // A transaction that only reads holds up nobody.
    let idle = schema.hold("SELECT count(*) FROM delivery").await;
    let last = read(&store, &after).await;
    idle.let_go().await;
    assert!(last.rows.is_empty() && last.upto >= after.upto, "{last:?}");
}
