//! The control over HTTP.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidings_simulators::{ControlApi, ControlTargets, WebPushSimulator, WebPushSimulatorConfig};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::apns::{DEVICE, Fixture, PAYLOAD, assert_refused};

struct Controlled {
    apns: Fixture,
    fcm: crate::fcm::Fixture,
    webpush: WebPushSimulator,
    control: ControlApi,
}

impl Controlled {
    async fn start() -> Self {
        let apns = Fixture::start().await;
        let fcm = crate::fcm::Fixture::start().await;
        let webpush = WebPushSimulator::start(WebPushSimulatorConfig::new()).await.unwrap();
        let ca_pem = apns.simulator.ca_pem().to_owned();
        let targets = ControlTargets {
            apns: Some(&apns.simulator),
            fcm: Some(&fcm.simulator),
            webpush: Some(&webpush),
            credentials: BTreeMap::from([("ca.pem".into(), ca_pem)]),
        };
        let control = ControlApi::start(([127, 0, 0, 1], 0).into(), targets).await.unwrap();
        Self { apns, fcm, webpush, control }
    }

    /// Status and body.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let mut stream = self.open(method, path, body).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn open(&self, method: &str, path: &str, body: &Value) -> TcpStream {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.control.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn order(&self, method: &str, path: &str, body: Value) {
        assert_eq!(self.ask(method, path, &body).await, (204, String::new()), "{method} {path}");
    }
}

#[tokio::test]
async fn device_states_and_failures_are_set_by_http() {
    let it = Controlled::start().await;
    let device = json!({ "token": "00FC*", "state": "unregistered", "since_ms": 17 });
    it.order("PUT", "/apns/devices", device).await;
    let reply = it.apns.send(it.apns.push(&[])).await;
    assert_eq!((reply.status, reply.json()["timestamp"].clone()), (410, json!(17)));
    it.order("DELETE", "/apns/devices?token=00fc*", Value::Null).await;
    it.order("POST", "/apns/failures", json!({ "next": 1, "failure": "shutdown" })).await;
    assert_refused(&it.apns.send(it.apns.push(&[])).await, 503, "Shutdown");
    it.order("POST", "/apns/provider-tokens/expire", Value::Null).await;
    assert_refused(&it.apns.send(it.apns.push(&[])).await, 403, "ExpiredProviderToken");

    let token = it.fcm.access_token().await;
    let failure = json!({ "next": 1, "failure": "unavailable", "retry_after_secs": 5 });
    it.order("POST", "/fcm/failures", failure).await;
    let reply = it.fcm.send(&token, &crate::fcm::message()).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    it.order("PUT", "/fcm/quota", json!({ "project_per_minute": 0 })).await;
    assert_eq!(it.fcm.send(&token, &crate::fcm::message()).await.status, 429);
    it.order("PUT", "/fcm/quota", json!({})).await;
    it.order("PUT", "/fcm/failures", json!([{ "share": 1.0, "failure": "internal" }])).await;
    assert_eq!(it.fcm.send(&token, &crate::fcm::message()).await.status, 500);
    it.order("POST", "/fcm/access-tokens/revoke", Value::Null).await;
    assert_eq!(it.fcm.send(&token, &crate::fcm::message()).await.status, 401);
}

#[tokio::test]
async fn what_cannot_be_obeyed_is_refused_with_a_sentence() {
    let it = Controlled::start().await;
    for (method, path, body, status) in [
        ("PUT", "/apns/devices", json!({ "token": "x", "state": "bored" }), 422),
        ("PUT", "/apns/failures", json!([{ "share": 2.0, "failure": "shutdown" }]), 400),
        ("PUT", "/apns/connections", json!({ "latency": 5 }), 422),
        ("POST", "/webpush/subscriptions", json!({ "name": "a/b" }), 400),
        ("GET", "/credentials/passwords.txt", Value::Null, 404),
    ] {
        let (got, text) = it.ask(method, path, &body).await;
        assert_eq!(got, status, "{path}: {text}");
        assert!(!text.is_empty());
    }
}

#[tokio::test]
async fn connections_are_slowed_and_killed_by_http() {
    let it = Controlled::start().await;
    it.order("PUT", "/apns/connections", json!({ "latency_ms": 60 })).await;
    let since = std::time::Instant::now();
    assert_eq!(it.apns.send(it.apns.push(&[])).await.status, 200);
    assert!(since.elapsed().as_millis() >= 60);
    it.order("POST", "/apns/faults", json!({ "next": 1, "fault": "reset" })).await;
    assert!(it.apns.client.send(it.apns.push(&[]), PAYLOAD.into()).await.is_err());
    it.order("POST", "/apns/connections/kill", Value::Null).await;
    assert!(it.apns.client.send(it.apns.push(&[]), PAYLOAD.into()).await.is_err());
}

#[tokio::test]
async fn a_connection_is_killed_every_so_often() {
    let it = Controlled::start().await;
    assert_eq!(it.apns.send(it.apns.push(&[])).await.status, 200);
    it.order("PUT", "/apns/connections", json!({ "kill_every_ms": 20 })).await;
    let Controlled { apns, .. } = it;
    // With or without an error: nothing was under way.
    drop(apns.client.closed().await);
}

#[tokio::test]
async fn the_ledger_is_read_and_followed_by_http() {
    let it = Controlled::start().await;
    let stream = it.open("GET", "/apns/ledger/stream", &Value::Null).await;
    let mut lines = BufReader::new(stream).lines();
    // The head comes once the stream is subscribed.
    while !lines.next_line().await.unwrap().unwrap().is_empty() {}
    let id = "123e4567-e89b-12d3-a456-426655440000";
    assert_eq!(it.apns.send(it.apns.push(&[("apns-id", id)])).await.status, 200);
    assert_refused(
        &it.apns.send(it.apns.push(&[("apns-priority", "7")])).await,
        400,
        "BadPriority",
    );
    let line = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.starts_with('{') {
            break serde_json::from_str::<Value>(&line).unwrap();
        }
    };
    assert_eq!((&line["identity"], &line["token"]), (&json!(id), &json!(DEVICE)));
    let (_, counts) = it.ask("GET", "/apns/ledger", &Value::Null).await;
    let counts: Value = serde_json::from_str(&counts).unwrap();
    assert_eq!(
        (&counts["accepted"], &counts["rejected"]),
        (&json!(1), &json!({ "BadPriority": 1 }))
    );
    let (_, recent) = it.ask("GET", "/apns/ledger/recent?limit=5", &Value::Null).await;
    let recent: Value = serde_json::from_str(&recent).unwrap();
    assert_eq!(recent[0]["payload"], PAYLOAD);
    let (status, ca_pem) = it.ask("GET", "/credentials/ca.pem", &Value::Null).await;
    assert_eq!((status, ca_pem.as_str()), (200, it.apns.simulator.ca_pem()));
    let (_, index) = it.ask("GET", "/", &Value::Null).await;
    assert!(index.contains(&it.webpush.url()) && index.contains("/SERVICE/ledger"), "{index}");
    it.control.stop().await;
}

#[tokio::test]
async fn a_browser_subscribes_by_http() {
    let it = Controlled::start().await;
    let wanted = json!({ "name": "browser-1" });
    let (status, body) = it.ask("POST", "/webpush/subscriptions", &wanted).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 201);
    assert_eq!(body["endpoint"], format!("{}/push/browser-1", it.webpush.url()));
    assert!(body["keys"]["p256dh"].is_string() && body["keys"]["auth"].is_string());
}
