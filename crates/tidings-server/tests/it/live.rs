//! Live sessions and push, on a node with its embedded stores.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidings_client::{Subscription, SubscriptionConfig, SubscriptionEvent};
use tidings_core::retry::RetryPolicy;
use tokio::task::JoinSet;

use crate::{
    harness::{PATIENCE, Site},
    pushing::{Pushing, deliveries, register, send, with_outcome},
};

fn subscription(url: &str, user: &str, last_seq: Option<u64>) -> Subscription {
    let mut config = SubscriptionConfig::new(url, &format!("user:{user}"));
    config.last_seq = last_seq;
    config.retry = RetryPolicy { max_attempts: 1_000, base_ms: 20, cap_ms: 200 };
    Subscription::open(config)
}

async fn next(subscription: &mut Subscription) -> SubscriptionEvent {
    tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap().unwrap()
}

/// The next notification; everything else but a defect is passed over.
async fn next_notification(subscription: &mut Subscription) -> Value {
    loop {
        match next(subscription).await {
            SubscriptionEvent::Notification(arrival) => {
                return serde_json::from_str(&arrival.json).unwrap();
            }
            SubscriptionEvent::Repeated { .. } | SubscriptionEvent::Gap { .. } => {
                panic!("repeated or left out")
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_is_stored_is_on_the_screen_and_marks_are_mirrored() {
    let site = Site::new("");
    let node = site.start();
    let mut ann = subscription(node.url(), "ann", None);
    assert!(matches!(next(&mut ann).await, SubscriptionEvent::Welcome { seq: 0, unread: 0 }));
    send(&node, "e1", &["ben", "ann"]).await;
    let live = next_notification(&mut ann).await;
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!(live, page["items"][0], "the frame and the page show the same object");
    let read = json!({"up_to_seq": 1}).to_string();
    node.post("/v1/users/ann/notifications/read", read).await.expect(200);
    let update = next(&mut ann).await;
    assert!(matches!(update, SubscriptionEvent::Unread { unread: 0 }), "{update:?}");
}

#[tokio::test]
async fn a_session_survives_the_death_of_its_node_without_a_hole() {
    // A port of its own, so that the second node can be found where the first was.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::on_port("", port);
    let node = site.start();
    let mut ann = subscription(node.url(), "ann", Some(0));
    for n in 1..=3 {
        send(&node, &format!("e{n}"), &["ann"]).await;
    }
    for n in 1..=3 {
        assert_eq!(next_notification(&mut ann).await["event_id"], format!("e{n}"));
    }
    node.kill();
    let node = site.start();
    // Stored while the client is away.
    send(&node, "e4", &["ann"]).await;
    assert_eq!(next_notification(&mut ann).await["event_id"], "e4");
    send(&node, "e5", &["ann"]).await;
    assert_eq!(next_notification(&mut ann).await["event_id"], "e5");
    let stopping = tokio::task::spawn_blocking(move || node.stop());
    let SubscriptionEvent::Disconnected { .. } = next(&mut ann).await else { panic!("no end") };
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_session_needs_a_token_that_the_node_accepts() {
    let site = Site::new("[auth.tokens]\nhs256_secret = \"a secret of at least thirty-two bytes\"");
    let node = site.start();
    let mut ann = subscription(node.url(), "ann", None);
    let error = ann.next().await.unwrap_err();
    assert!(error.to_string().contains("4401"), "{error}");
}

#[tokio::test]
async fn tail_prints_what_arrives() {
    let site = Site::new("");
    let node = site.start();
    send(&node, "e1", &["ann"]).await;
    let tail = std::process::Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["tail", "--url", node.url(), "--user", "ann", "--since", "0", "--count", "1"])
        .output()
        .unwrap();
    let line = String::from_utf8(tail.stdout).unwrap();
    assert!(tail.status.success() && line.contains("#1 [like] title of e1"), "{line}");
}

#[tokio::test]
async fn who_is_away_is_pushed_to_on_every_device_once() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "phone", "apns", &"ab".repeat(32)).await;
    register(&node, "ann", "tablet", "fcm", "tablet-token").await;
    send(&node, "e1", &["ann"]).await;
    let log = deliveries(&node, "ann", |log| with_outcome(log, "delivered").len() == 2).await;
    let mut channels = with_outcome(&log, "delivered");
    channels.sort_unstable();
    assert_eq!(channels, ["apns", "fcm"]);
    let (apns, fcm) = (pushing.apns.ledger().counts(), pushing.fcm.ledger().counts());
    assert_eq!((apns.accepted, fcm.accepted), (1, 1));
    assert_eq!((apns.rejected_total(), fcm.rejected_total()), (0, 0));
    // An event that is sent again is not pushed again.
    send(&node, "e1", &["ann"]).await;
    node.stop();
    assert_eq!(pushing.apns.ledger().counts().accepted, 1);
    assert!(!pushing.site.log().contains("tablet-token"));
}

#[tokio::test]
async fn what_was_acknowledged_on_a_live_session_is_not_pushed() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "phone", "fcm", "phone-token").await;
    let mut ann = subscription(node.url(), "ann", None);
    next(&mut ann).await;
    send(&node, "e1", &["ann"]).await;
    next_notification(&mut ann).await;
    // Reading on acknowledges what was handed over.
    let mut watching = JoinSet::new();
    watching.spawn(async move { while ann.next().await.is_ok() {} });
    let log = deliveries(&node, "ann", |log| !with_outcome(log, "skipped").is_empty()).await;
    assert_eq!(with_outcome(&log, "delivered"), ["websocket"]);
    assert_eq!(pushing.fcm.ledger().counts().accepted, 0);
}

#[tokio::test]
async fn a_push_that_is_under_way_when_the_node_dies_is_sent_under_the_same_identity() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "phone", "fcm", "phone-token").await;
    send(&node, "e0", &["ann"]).await;
    deliveries(&node, "ann", |log| with_outcome(log, "delivered") == ["fcm"]).await;
    // Accepted at once and answered late: the node dies in between and cannot know.
    let faults = pushing.fcm.control().connections().clone();
    faults.set_latency(PATIENCE);
    send(&node, "e1", &["ann"]).await;
    let ledger = Arc::clone(pushing.fcm.ledger());
    let accepted = tokio::time::timeout(PATIENCE, async {
        while ledger.counts().accepted == 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    accepted.await.unwrap();
    node.kill();
    faults.set_latency(Duration::ZERO);
    let node = pushing.site.start();
    // Due again when the lease of the node that died has ended.
    deliveries(&node, "ann", |log| with_outcome(log, "delivered") == ["fcm"]).await;
    let counts = ledger.counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (3, 2, 1));
}

#[tokio::test]
async fn a_dead_token_is_forgotten() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "phone", "fcm", "gone-token").await;
    let unregistered = tidings_simulators::fcm::FcmDeviceState::Unregistered;
    pushing.fcm.control().set_device("gone-token", unregistered).unwrap();
    send(&node, "e1", &["ann"]).await;
    let log = deliveries(&node, "ann", |log| !with_outcome(log, "failed").is_empty()).await;
    assert_eq!(log[0]["reason"], "UNREGISTERED");
    assert_eq!(node.get("/v1/users/ann/devices").await.expect(200), json!([]));
}
