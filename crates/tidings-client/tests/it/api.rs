//! The HTTP API against canned answers.

use serde_json::json;
use tidings_client::{Api, ApiError};
use tidings_core::ids::UserId;

use crate::server::{Server, soon};

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

#[tokio::test]
async fn ids_are_escaped_and_the_key_is_sent() {
    let server = Server::start().await;
    let api = Api::new(&server.url("http"), Some("the-key")).unwrap();
    let (strange, ben) = (user("a/b?c d"), user("ben"));
    let answer = answer("200 OK", r#"{"changed":true}"#);
    let (followed, request) =
        tokio::join!(soon(api.put_follow(&strange, &ben)), server.answer(&answer));
    followed.unwrap();
    let request = request.to_lowercase();
    assert!(request.starts_with("put /v1/users/a%2fb%3fc%20d/following/ben http/1.1\r\n"));
    assert!(request.contains("authorization: bearer the-key\r\n"), "{request}");
    assert!(!format!("{api:?}").contains("the-key"));
}

#[tokio::test]
async fn an_answer_says_what_became_of_each_event() {
    let server = Server::start().await;
    let api = Api::new(&server.url("http"), None).unwrap();
    let body = json!({"stored": 1, "duplicates": 0, "rejected": 1, "failed": 0, "results": [
        {"index": 0, "id": "e1", "status": "stored", "notifications": 2, "duplicates": 1},
        {"index": 1, "status": "rejected", "notifications": 0, "duplicates": 0,
         "reason": "is empty", "field": "id"},
    ]});
    let answer = answer("207 Multi-Status", &body.to_string());
    let events = [json!({"id": "e1"}), json!({"id": ""})];
    let (told, request) = tokio::join!(soon(api.post_events(&events)), server.answer(&answer));
    assert!(request.ends_with(r#"[{"id":"e1"},{"id":""}]"#), "{request}");
    let results = told.unwrap().results;
    assert_eq!((results[0].id.as_deref(), results[0].duplicates), (Some("e1"), 1));
    assert_eq!(results[1].field.as_deref(), Some("id"));
}

#[tokio::test]
async fn an_inbox_is_read_page_by_page() {
    let server = Server::start().await;
    let api = Api::new(&server.url("http"), None).unwrap();
    let body = r#"{"items":[{"seq":2}],"next":"2","unread":1,"last_seq":3}"#;
    let answer = answer("200 OK", body);
    let ann = user("ann");
    let (page, request) = tokio::join!(soon(api.inbox(&ann, 1, Some("3"))), server.answer(&answer));
    assert!(request.starts_with("GET /v1/users/ann/notifications?limit=1&cursor=3 "), "{request}");
    let page = page.unwrap();
    assert_eq!((page.items[0].get(), page.next.as_deref()), (r#"{"seq":2}"#, Some("2")));
}

#[tokio::test]
async fn a_refusal_says_what_kind_it_is_and_when_to_try_again() {
    let server = Server::start().await;
    let api = Api::new(&server.url("http"), None).unwrap();
    let problem =
        r#"{"type":"tag:store-unavailable","title":"Not now","detail":"why","status":503}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: {}\r\n\r\n{problem}",
        problem.len()
    );
    let event = json!({});
    let (refused, _) = tokio::join!(soon(api.post_event(&event)), server.answer(&answer));
    let error = refused.unwrap_err();
    assert!(error.is_transient());
    let ApiError::Refused { status: 503, kind, title, detail, retry_after } = error else {
        panic!("{error:?}")
    };
    assert_eq!((kind.as_str(), title.as_str()), ("tag:store-unavailable", "Not now"));
    assert_eq!((detail.as_str(), retry_after.unwrap().as_secs()), ("why", 2));
}

#[tokio::test]
async fn what_stands_before_a_node_may_answer_with_anything() {
    let server = Server::start().await;
    let api = Api::new(&server.url("http"), None).unwrap();
    let ann = user("ann");
    let html = answer("502 Bad Gateway", "<html>");
    let (refused, _) = tokio::join!(soon(api.counters(&ann)), server.answer(&html));
    let error = refused.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("Bad Gateway (502)"), "{error}");
    let html = answer("200 OK", "<html>");
    let (unreadable, _) = tokio::join!(soon(api.counters(&ann)), server.answer(&html));
    assert!(matches!(unreadable, Err(ApiError::Unreadable { .. })));
}
