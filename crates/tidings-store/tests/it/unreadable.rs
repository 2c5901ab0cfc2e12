//! Rows that somebody has spoiled hold up nothing but themselves, and rows that are older than a column.

use std::time::Duration;

use rusqlite::Connection;
use tidings_core::{
    batch::{NotificationBatch, PlannedEvent},
    device::{Device, Platform, PushToken},
    fan_out::NewFanOut,
    ids::{DeviceId, GraphId},
    ports::{Cursor, DeliveryStore, DeviceStore, FanOutStore, NotificationStore, PushSettlement},
};
use tidings_store::SqliteStore;

use crate::{
    directory::{batch, event, now, user},
    open::open_at,
};

const LEASE: Duration = Duration::from_secs(60);
const GRAPH: GraphId = GraphId(7);

async fn claimed(store: &SqliteStore, after: Duration) -> Vec<String> {
    let due = store.claim_due(now().after(after), LEASE, 9).await.unwrap();
    due.iter().map(|it| it.notification.event.id.to_string()).collect()
}

#[tokio::test]
async fn a_push_that_cannot_be_read_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    let ann = user("ann");
    let device = Device::new(
        ann.clone(),
        DeviceId::new("phone").unwrap(),
        Platform::Apns,
        "app",
        PushToken::new("token".into()).unwrap(),
        now(),
    );
    store.put_device(device).await.unwrap();
    for id in ["e1", "e2", "e3", "e4"] {
        store.append(batch(id, std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    }
    let conn = Connection::open(dir.path().join("store.db")).unwrap();
    conn.execute_batch(
        "UPDATE due_push SET device_id = 'a' || char(7) WHERE seq = 1;
         UPDATE event SET priority = 'nonsense' WHERE event_id = 'e2';
         UPDATE due_push SET attempt = -1 WHERE seq = 4;",
    )
    .unwrap();
    // The first page holds nothing that can be read, and is out of the way of the next.
    assert!(store.claim_due(now(), LEASE, 2).await.unwrap().is_empty());
    assert_eq!(claimed(&store, Duration::ZERO).await, ["e3"]);
    // What was mended comes again.
    conn.execute_batch("UPDATE event SET priority = 'high'").unwrap();
    assert_eq!(claimed(&store, LEASE).await, ["e2", "e3"]);
    let due = store.claim_due(now().after(LEASE * 2), LEASE, 9).await.unwrap();
    let done = due.into_iter().map(|it| PushSettlement {
        job: it.job,
        deliveries: vec![],
        retries: vec![],
        prunes: vec![],
        renewals: vec![],
    });
    store.settle(done.collect()).await.unwrap();
    assert!(claimed(&store, LEASE * 3).await.is_empty());
}

/// Begins a fan-out of [`GRAPH`] for the event `id`.
async fn begin(store: &SqliteStore, id: &str) {
    let cursor = Cursor::new("start".into()).unwrap();
    let fan_out = Some(NewFanOut { graph: GRAPH, followee: user("celebrity"), cursor });
    let planned = PlannedEvent { event: event(id), recipients: vec![], fan_out };
    let mut batch = NotificationBatch::new(batch("unused", &[]).limits());
    batch.try_add(planned, now()).unwrap();
    store.append(batch.into(), now()).await.unwrap();
}

#[tokio::test]
async fn a_fan_out_that_cannot_be_read_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    for id in ["e1", "e2"] {
        begin(&store, id).await;
    }
    let conn = Connection::open(dir.path().join("store.db")).unwrap();
    conn.execute_batch("UPDATE fan_out SET cursor = 'no cursor' WHERE fan_out = 1").unwrap();
    let claimed = store.claim_fan_outs(GRAPH, now(), LEASE, 9).await.unwrap();
    let ids: Vec<_> = claimed.iter().map(|it| it.event.id.as_str()).collect();
    assert_eq!(ids, ["e2"]);
}

/// As an upgrade leaves it.
#[tokio::test]
async fn a_fan_out_without_a_graph_is_for_whoever_claims_it_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path());
    begin(&store, "e1").await;
    let conn = Connection::open(dir.path().join("store.db")).unwrap();
    conn.execute_batch("UPDATE fan_out SET graph = NULL").unwrap();
    let first = GraphId(8);
    for graph in [GRAPH, first] {
        assert_eq!(store.fan_out_backlog(graph).await.unwrap().here.unfinished, 1);
    }
    assert_eq!(store.claim_fan_outs(first, now(), LEASE, 9).await.unwrap().len(), 1);
    let later = now().after(LEASE);
    assert!(store.claim_fan_outs(GRAPH, later, LEASE, 9).await.unwrap().is_empty());
    assert_eq!(store.claim_fan_outs(first, later, LEASE, 9).await.unwrap().len(), 1);
}
