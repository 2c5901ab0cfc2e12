//! Which web pages may use a node from a browser.

use reqwest::{Method, StatusCode};

use crate::harness::{Node, Site};

const PAGE: &str = "https://app.example";
const OTHER: &str = "https://other.example";
const ALLOW: &str = "access-control-allow-origin";

fn node(origins: &str) -> (Site, Node) {
    let site = Site::new(&format!("[server]\nallowed_origins = {origins}"));
    let node = site.start();
    (site, node)
}

/// What a browser asks before a page may mark notifications.
async fn preflight(node: &Node, origin: &str) -> reqwest::Response {
    let asked = node.request(Method::OPTIONS, "/v1/users/ann/notifications/mark");
    let asked = asked.header("origin", origin).header("access-control-request-method", "POST");
    asked.header("access-control-request-headers", "authorization").send().await.unwrap()
}

async fn open_stream(node: &Node, origin: &str) -> StatusCode {
    let asked = node.request(Method::GET, "/v1/stream").header("origin", origin);
    let asked = asked
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "tidings.v1")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    asked.send().await.unwrap().status()
}

#[tokio::test]
async fn a_page_that_is_listed_may_use_the_api_and_the_stream_and_others_may_not() {
    let (_site, node) = node(&format!("[\"{PAGE}\"]"));
    let answer = preflight(&node, PAGE).await;
    assert_eq!(answer.headers()[ALLOW], PAGE);
    assert!(answer.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    let read = node.request(Method::GET, "/v1/users/ann/notifications").header("origin", PAGE);
    let read = read.send().await.unwrap();
    assert_eq!((read.status(), &read.headers()[ALLOW]), (StatusCode::OK, &PAGE.parse().unwrap()));
    assert!(!preflight(&node, OTHER).await.headers().contains_key(ALLOW));
    assert_eq!(open_stream(&node, PAGE).await, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(open_stream(&node, OTHER).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_a_list_no_other_page_reads_the_api() {
    let (_site, node) = node("[]");
    assert!(!preflight(&node, PAGE).await.headers().contains_key(ALLOW));
    assert_eq!(open_stream(&node, PAGE).await, StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn what_is_no_origin_is_named_at_start() {
    let said = Site::new("[server]\nallowed_origins = [\"https://app.example/\"]").refused();
    assert!(said.contains("server.allowed_origins") && said.contains("without a path"), "{said}");
}
