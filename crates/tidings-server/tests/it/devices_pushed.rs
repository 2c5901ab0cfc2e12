//! Devices that come and go while pushes are under way, and many of them.

use std::time::Duration;

use serde_json::json;
use tidings_simulators::{Ledger, apns::ApnsFailure};

use crate::{
    harness::{Node, PATIENCE},
    pushing::{Pushing, deliveries, register, send, with_outcome},
};

/// The devices of one user: as many as the limit of `push.devices_per_user_max` lets one have.
const DEVICES: usize = 10_000;
/// Registrations under way at a time.
const REGISTERING: usize = 64;

async fn accepted(ledger: &Ledger, pushes: u64) {
    let wait = async {
        while ledger.counts().accepted < pushes {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{pushes} pushes are waited for: {:?}", ledger.counts()));
}

async fn log_out(node: &Node, user: &str, device: &str) {
    node.delete(&format!("/v1/users/{user}/devices/{device}")).await.expect(204);
}

#[tokio::test]
async fn whoever_logs_out_while_a_push_is_tried_again_gets_it_no_more() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    let token = "ab".repeat(32);
    register(&node, "ann", "phone", "apns", &token).await;
    pushing.apns.control().set_failure_shares(&[(1.0, ApnsFailure::InternalServerError)]).unwrap();
    send(&node, "e1", &["ann"]).await;
    deliveries(&node, "ann", |log| with_outcome(log, "retrying").len() >= 2).await;
    log_out(&node, "ann", "phone").await;
    pushing.apns.control().set_failure_shares(&[]).unwrap();
    // Ben logs in on the same phone, and hears of what is his, and of nothing else.
    register(&node, "ben", "phone", "apns", &token).await;
    send(&node, "e2", &["ben"]).await;
    accepted(pushing.apns.ledger(), 1).await;
    let log = deliveries(&node, "ann", |log| {
        !with_outcome(log, "skipped").is_empty() || !with_outcome(log, "failed").is_empty()
    })
    .await;
    assert!(with_outcome(&log, "delivered").is_empty(), "{log:?}");
    let arrived = pushing.apns.ledger().recent();
    let texts: Vec<_> = arrived.iter().map(|it| String::from_utf8_lossy(&it.payload)).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("title of e2") && !texts[0].contains("title of e1"), "{texts:?}");
    node.stop();
}

#[tokio::test]
async fn whoever_logs_out_in_mid_send_is_not_asked_again() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "phone", "apns", &"ab".repeat(32)).await;
    register(&node, "ann", "tablet", "fcm", "tablet-token").await;
    // What is sent is answered late, so that the phone goes while its push is under way.
    pushing.apns.control().connections().set_latency(Duration::from_millis(800));
    send(&node, "e1", &["ann"]).await;
    accepted(pushing.fcm.ledger(), 1).await;
    log_out(&node, "ann", "phone").await;
    let log = deliveries(&node, "ann", |log| log.len() >= 2).await;
    // Sent or not: there was one attempt at most, and it is told of.
    let tried = log.iter().filter(|it| it["channel"] == "apns").count();
    assert_eq!((tried, with_outcome(&log, "retrying").len()), (1, 0), "{log:?}");
    let before = pushing.apns.ledger().counts().accepted;
    assert!(before <= 1, "{log:?}");
    pushing.apns.control().connections().set_latency(Duration::ZERO);
    send(&node, "e2", &["ann"]).await;
    accepted(pushing.fcm.ledger(), 2).await;
    let log = deliveries(&node, "ann", |log| !log.is_empty()).await;
    assert_eq!(with_outcome(&log, "delivered"), ["fcm"], "{log:?}");
    assert_eq!(pushing.apns.ledger().counts().accepted, before);
    node.stop();
}

#[tokio::test]
async fn ten_thousand_devices_of_one_user_hear_of_an_event_once_each() {
    let Pushing { site, apns, toml, .. } = Pushing::new().await;
    // With time for all of them on a slow machine: what is not answered in time is sent once more.
    let hurried = "lease_ms = 7000\nrequest_timeout_ms = 1500\n";
    assert!(toml.contains(hurried), "{toml}");
    let site = site.with_toml(&toml.replace(hurried, ""));
    let node = site.start();
    let mut registered = 0;
    while registered < DEVICES {
        let some = registered..DEVICES.min(registered + REGISTERING);
        registered = some.end;
        let some = some.map(|n| {
            let node = &node;
            async move {
                let device =
                    json!({"platform": "apns", "token": format!("{n:064x}"), "app": "app.example"});
                node.put(&format!("/v1/users/ann/devices/d{n}"), &device).await.expect(200);
            }
        });
        futures_util::future::join_all(some).await;
    }
    let more = json!({"platform": "apns", "token": "ff".repeat(32), "app": "app.example"});
    node.put("/v1/users/ann/devices/more", &more).await.problem(409);
    send(&node, "e1", &["ann"]).await;
    accepted(apns.ledger(), DEVICES as u64).await;
    // The second event is claimed after everything of the first: nothing of that comes later.
    send(&node, "e2", &["ann"]).await;
    accepted(apns.ledger(), 2 * DEVICES as u64).await;
    let counts = apns.ledger().counts();
    assert_eq!((counts.accepted, counts.duplicates), (2 * DEVICES as u64, 0), "{counts:?}");
    assert_eq!((counts.distinct_identities, counts.unidentified), (2 * DEVICES as u64, 0));
    let page = node.get("/v1/users/ann/deliveries?limit=1").await.expect(200);
    assert_eq!(page["items"][0]["outcome"], "delivered");
    node.stop();
}
