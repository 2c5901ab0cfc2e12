//! Push services of a node: browsers, outages, credentials that change.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};
use tidings_simulators::{
    WebPushSimulator, WebPushSimulatorConfig, apns::ApnsFailure, webpush::SubscribeOptions,
};

use crate::{
    harness::{Node, PATIENCE, Site},
    pushing::{Pushing, deliveries, register, send, with_outcome},
};

/// Waits until `/readyz` says of push what `holds` wants.
async fn push_part(node: &Node, holds: impl Fn(&Value) -> bool) -> Value {
    let wait = async {
        loop {
            let ready = node.get("/readyz").await.expect(200);
            let parts = ready["parts"].as_array().unwrap();
            let push = parts.iter().find(|part| part["name"] == "push").unwrap().clone();
            if holds(&push) {
                return push;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

/// Has the node read its configuration again.
fn hang_up(node: &Node) {
    let status = Command::new("kill").args(["-HUP", &node.id().to_string()]).status().unwrap();
    assert!(status.success());
}

async fn logged(site: &Site, line: &str, times: usize) {
    let wait = async {
        while site.log().matches(line).count() < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{}", site.log()));
}

#[tokio::test]
async fn a_browser_gets_what_it_subscribed_to() {
    let config = WebPushSimulatorConfig::new();
    let simulator = WebPushSimulator::start(config).await.unwrap();
    let site = Site::new("");
    let vapid = || {
        Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["keys", "vapid", "--out", "vapid.key"])
            .current_dir(site.path())
            .output()
            .unwrap()
    };
    let made = vapid();
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && said.contains("[push.webpush]"), "{said}");
    assert!(!vapid().status.success(), "a key is never written over");
    let public_key = said.lines().find(|line| line.trim().len() == 87).unwrap().trim();
    std::fs::write(site.path().join("ca.pem"), simulator.ca_pem()).unwrap();
    let site = site.with_toml(
        "[push.webpush]\nkey_file = \"vapid.key\"\nsubject = \"mailto:ops@example.com\"\n\
         allow_loopback = true\nca_file = \"ca.pem\"\n",
    );
    let node = site.start();
    let options = SubscribeOptions {
        application_server_key: Some(public_key.to_owned()),
        ..SubscribeOptions::default()
    };
    let subscription = simulator.control().subscribe(&options).unwrap();
    let subscription = subscription.to_json();
    let device = json!({"platform": "webpush", "app": "web", "subscription": subscription});
    node.put("/v1/users/ann/devices/browser", &device).await.expect(200);
    send(&node, "e1", &["ann"]).await;
    let log = deliveries(&node, "ann", |log| !log.is_empty()).await;
    assert_eq!(with_outcome(&log, "delivered"), ["webpush"], "{log:?}");
    let arrived = simulator.ledger().recent();
    let shown: Value = serde_json::from_slice(&arrived[0].payload).unwrap();
    assert_eq!((&shown["title"], &shown["event_id"]), (&json!("title of e1"), &json!("e1")));
    let endpoint = subscription["endpoint"].as_str().unwrap();
    assert!(!site.log().contains(endpoint));
}

#[tokio::test]
async fn credentials_are_read_again_on_sighup() {
    let pushing = Pushing::new().await;
    let (toml, fcm_toml) = (pushing.toml.clone(), pushing.fcm_toml.clone());
    let site = pushing.site.with_toml(&toml);
    let node = site.start();
    register(&node, "ann", "phone", "fcm", "phone-token").await;
    send(&node, "e1", &["ann"]).await;
    let log = deliveries(&node, "ann", |log| !log.is_empty()).await;
    assert_eq!(log[0]["reason"], "no_provider");

    let config = site.path().join("tidings.toml");
    std::fs::write(&config, format!("{toml}{fcm_toml}")).unwrap();
    hang_up(&node);
    logged(&site, "push credentials were read again", 1).await;
    send(&node, "e2", &["ann"]).await;
    let log = deliveries(&node, "ann", |log| !log.is_empty()).await;
    assert_eq!(with_outcome(&log, "delivered"), ["fcm"]);

    // What cannot be used changes nothing.
    std::fs::write(site.path().join("fcm.json"), "no service account").unwrap();
    hang_up(&node);
    logged(&site, "the configuration is not taken over", 1).await;
    assert!(site.log().contains("push.fcm cannot be set up"), "{}", site.log());
    send(&node, "e3", &["ann"]).await;
    let log = deliveries(&node, "ann", |log| !log.is_empty()).await;
    assert_eq!(with_outcome(&log, "delivered"), ["fcm"]);

    std::fs::write(&config, format!("{toml}[log]\nlevel = \"debug\"\n")).unwrap();
    hang_up(&node);
    logged(&site, "other options have changed, too", 1).await;
    node.stop();
}

#[tokio::test]
async fn a_service_that_is_down_is_named_and_holds_up_no_other() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "phone", "apns", &"ab".repeat(32)).await;
    register(&node, "ann", "tablet", "fcm", "tablet-token").await;
    push_part(&node, |push| push["up"] == true).await;
    pushing.apns.control().set_failure_shares(&[(1.0, ApnsFailure::ServiceUnavailable)]).unwrap();
    for n in 0..30 {
        send(&node, &format!("e{n}"), &["ann"]).await;
    }
    let down = push_part(&node, |push| push["up"] == false).await;
    assert_eq!(down["reason"], "push-services-down");
    assert!(down["details"][0].as_str().unwrap().starts_with("apns (apns) is"), "{down}");
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("tidings_push_breaker{provider=\"apns\"}"), "{metrics}");
    let wait = async {
        while pushing.fcm.ledger().counts().accepted < 30 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the other service has all of them");

    pushing.apns.control().set_failure_shares(&[]).unwrap();
    push_part(&node, |push| push["up"] == true).await;
    let wait = async {
        while pushing.apns.ledger().counts().distinct_identities < 30 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("nothing is lost");
    node.stop();
}

#[tokio::test]
async fn devices_that_a_project_has_no_credential_for_are_said_and_hold_up_no_other() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "iphone", "fcm", "iphone-token").await;
    register(&node, "ben", "android", "fcm", "android-token").await;
    let state = tidings_simulators::fcm::FcmDeviceState::ThirdPartyAuthError;
    pushing.fcm.control().set_device("iphone-token", state).unwrap();
    send(&node, "e1", &["ann"]).await;
    let down = push_part(&node, |push| push["up"] == false).await;
    let said = "fcm (fcm) refuses some devices: THIRD_PARTY_AUTH_ERROR";
    assert_eq!(down["details"], json!([said]));
    for n in 2..10 {
        send(&node, &format!("e{n}"), &["ben"]).await;
    }
    let wait = async {
        while pushing.fcm.ledger().counts().accepted < 8 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the others are sent");
    logged(&pushing.site, "the push service cannot reach some devices", 1).await;
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("tidings_push_alarms_total{provider=\"fcm\"}"), "{metrics}");
    pushing.fcm.control().revive_device("iphone-token");
    let log =
        deliveries(&node, "ann", |log| log.last().is_some_and(|row| row["outcome"] == "delivered"));
    assert_eq!(log.await[0]["reason"], "THIRD_PARTY_AUTH_ERROR");
    node.stop();
}

#[tokio::test]
async fn a_credential_that_cannot_be_used_is_said_at_the_start() {
    let pushing = Pushing::new().await;
    std::fs::write(pushing.site.path().join("key.p8"), "not a key").unwrap();
    let said = pushing.site.refused();
    assert!(said.contains("push.apns cannot be set up"), "{said}");
    assert!(!said.contains("not a key"), "{said}");
}
