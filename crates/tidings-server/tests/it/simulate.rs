//! `tidings simulate`, and a node that runs on what it wrote.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    harness::{Answer, Node, Site},
    pushing::{deliveries, send, with_outcome},
};

/// The simulators, which end with their standard input.
struct Simulators {
    child: Child,
    facts: Value,
}

impl Simulators {
    fn start(site: &Site, service: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["simulate", service, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .args(["--out", "stand-ins", "--json", "--stop-with-stdin"])
            .current_dir(site.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, facts: serde_json::from_str(&line).unwrap() }
    }

    async fn control(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.facts["control"].as_str().unwrap());
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

async fn register(node: &Node, device: &str, body: &Value) -> Answer {
    node.put(&format!("/v1/users/ann/devices/{device}"), body).await
}

#[tokio::test]
async fn a_node_pushes_to_all_services_with_the_settings_that_were_written() {
    let site = Site::new("");
    let simulators = Simulators::start(&site, "all");
    let toml = std::fs::read_to_string(site.path().join("stand-ins/tidings.toml")).unwrap();
    let site = site.with_toml(&toml);
    let node = site.start();
    let topic = simulators.facts["apns"]["topic"].as_str().unwrap();
    let phone = json!({"platform": "apns", "token": "ab".repeat(32), "app": topic});
    register(&node, "phone", &phone).await.expect(200);
    let tablet = json!({"platform": "fcm", "token": "tablet-token", "app": "app"});
    register(&node, "tablet", &tablet).await.expect(200);
    send(&node, "e1", &["ann"]).await;
    let log = deliveries(&node, "ann", |log| log.len() >= 2).await;
    let mut delivered = with_outcome(&log, "delivered");
    delivered.sort_unstable();
    assert_eq!(delivered, ["apns", "fcm"], "{log:?}");
    for service in ["apns", "fcm"] {
        let ledger = simulators.control(&format!("/{service}/ledger")).await;
        assert_eq!(ledger["accepted"], 1, "{service}: {ledger}");
    }
    node.stop();
    simulators.stop();
}

#[tokio::test]
async fn one_service_alone_has_settings_for_itself_only() {
    let site = Site::new("");
    let simulators = Simulators::start(&site, "webpush");
    let toml = std::fs::read_to_string(site.path().join("stand-ins/tidings.toml")).unwrap();
    assert!(toml.contains("[push.webpush]") && !toml.contains("[push.apns]"), "{toml}");
    assert!(simulators.facts.get("apns").is_none(), "{}", simulators.facts);
    simulators.stop();
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new("");
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["simulate", "fcm", "--listen", &address, "--control", "127.0.0.1:0"])
        .args(["--out", "stand-ins", "--stop-with-stdin"])
        .current_dir(site.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("FCM cannot start") && said.contains(&address), "{said}");
}
