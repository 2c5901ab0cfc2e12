//! Requests that are sent again under their `Idempotency-Key`.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use reqwest::{
    Method,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

use crate::harness::{Node, Site, event};

async fn post(node: &Node, path: &str, key: &str, body: String) -> (u16, HeaderMap, String) {
    let request = node.request(Method::POST, path).header("Idempotency-Key", key).body(body);
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.text().await.unwrap())
}

fn kind(text: &str) -> String {
    let problem: Value = serde_json::from_str(text).unwrap();
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_that_is_repeated_under_its_key_gets_the_same_answer_also_after_a_restart() {
    let site = Site::new("");
    let mut node = site.start();
    let one = event("e1", &["ann"]).to_string();
    let lines = format!("{}\n{}\n", event("e2", &["ann"]), event("e3", &["ben"]));
    for (path, key, body) in [("/v1/events", "k1", &one), ("/v1/events/batch", "k2", &lines)] {
        let (status, headers, first) = post(&node, path, key, body.clone()).await;
        assert_eq!((status, headers.get("idempotency-replayed")), (200, None), "{first}");
        node.stop();
        node = site.start();
        let (status, headers, second) = post(&node, path, key, body.clone()).await;
        assert_eq!((status, &second), (200, &first));
        assert_eq!(headers["idempotency-replayed"], "true");
        assert_eq!(headers["content-type"], "application/json");
        // Without the key the repetition shows as what it is.
        let anew = node.post(path, body.clone()).await.expect(200);
        assert_eq!(anew["stored"], 0, "{anew}");
    }
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!(page["last_seq"], 2);
    node.stop();
}

#[tokio::test]
async fn a_client_that_hung_up_gets_the_answer_that_it_did_not_wait_for() {
    let site = Site::new("");
    let node = site.start();
    // Enough to be at it for a while, and an answer that is short enough to be kept.
    let users: Vec<_> = (0..100).map(|n| format!("u{n}")).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    let events: Vec<_> = (0..300).map(|n| event(&format!("e{n}"), &users)).collect();
    let body = serde_json::to_string(&events).unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut hasty = TcpStream::connect(node.url().trim_start_matches("http://")).unwrap();
    hasty.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    drop(hasty);
    let begun = Instant::now();
    while node.get("/v1/users/u0/inbox").await.expect(200)["last_seq"] == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it was not begun");
    }
    let (status, headers, answer) = loop {
        let (status, headers, answer) = post(&node, "/v1/events", "k", body.clone()).await;
        if status != 409 {
            break (status, headers, answer);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still being answered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let replayed = headers.get("idempotency-replayed").map(HeaderValue::as_bytes);
    assert_eq!(replayed, Some(b"true".as_slice()), "stored {}", answer["stored"]);
    assert_eq!((&answer["stored"], &answer["duplicates"]), (&json!(300), &json!(0)));
}

#[tokio::test]
async fn a_key_that_comes_with_another_request_is_refused() {
    let site = Site::new("");
    let node = site.start();
    let (status, ..) = post(&node, "/v1/events", "k", event("e1", &["ann"]).to_string()).await;
    assert_eq!(status, 200);
    let other = event("e2", &["ann"]).to_string();
    for path in ["/v1/events", "/v1/events/batch"] {
        let (status, _, text) = post(&node, path, "k", other.clone()).await;
        assert_eq!((status, kind(&text).as_str()), (422, "key-reused"));
    }
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!(page["last_seq"], 1, "nothing of the other request was stored");
    let (status, _, text) = post(&node, "/v1/events", &"k".repeat(256), other).await;
    assert_eq!((status, kind(&text).as_str()), (400, "invalid-input"));
}

#[tokio::test]
async fn an_answer_that_asks_for_a_repetition_is_not_kept() {
    let site = Site::new("");
    let node = site.start();
    let bad = json!({"id": "e1"}).to_string();
    let (status, ..) = post(&node, "/v1/events", "k", bad).await;
    assert_eq!(status, 400);
    // The mended request may come under the same key: nothing was done under it.
    let (status, ..) = post(&node, "/v1/events", "k", event("e1", &["ann"]).to_string()).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_answer_that_is_long_is_not_kept_and_the_repetition_tells_nobody_twice() {
    let site = Site::new("");
    let node = site.start();
    let events: Vec<_> = (0..1_000).map(|n| event(&format!("e{n}"), &["ann"])).collect();
    let body = serde_json::to_string(&events).unwrap();
    let (status, _, first) = post(&node, "/v1/events", "k", body.clone()).await;
    assert!(status == 200 && first.len() > 64 * 1024, "{} bytes", first.len());
    let (status, headers, second) = post(&node, "/v1/events", "k", body).await;
    assert_eq!((status, headers.get("idempotency-replayed")), (200, None));
    let second: Value = serde_json::from_str(&second).unwrap();
    assert_eq!((&second["stored"], &second["duplicates"]), (&json!(0), &json!(1_000)));
}
