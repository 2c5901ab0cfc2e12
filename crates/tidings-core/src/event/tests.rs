use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::ids::UserId;

const NOW: &str = "2026-11-23T09:00:00Z";

fn decode(json: &str) -> Result<IncomingEvent, EventError> {
    IncomingEvent::from_json(json.as_bytes(), NOW.parse().unwrap())
}

fn with(field: &str, value: &serde_json::Value) -> String {
    let mut event = serde_json::json!({
        "id": "e1", "source": "posts", "type": "like", "audience": {"users": ["u_7"]},
    });
    event[field] = value.clone();
    event.to_string()
}

#[test]
fn the_example_of_the_design_is_an_event() {
    let incoming = decode(
        r#"{ "id": "evt_01J", "source": "posts", "type": "like", "time": "2026-11-23T08:59:00Z",
        "actor": "u_42", "audience": {"users": ["u_7", "u_8", "u_7"]}, "unknown": [1],
        "object": {"type": "post", "id": "p_9", "url": "app://posts/p_9"},
        "title": "Ann liked your photo", "body": "Sunset over the bay", "data": {"any":  "json"},
        "priority": "high", "ttl_seconds": 86400, "group": "like:p_9" }"#,
    )
    .unwrap();
    let users = ["u_7", "u_8"].map(|id| UserId::new(id).unwrap());
    assert_eq!(incoming.audience, Audience::Users(users.to_vec()));
    assert_eq!(incoming.event.priority, Priority::High);
    assert_eq!(incoming.event.expires_at(), Some("2026-11-24T08:59:00Z".parse().unwrap()));
    assert_eq!(incoming.event.data.as_ref().unwrap().get(), r#"{"any":  "json"}"#);
}

#[test]
fn an_absent_time_is_the_time_of_arrival() {
    let incoming = decode(&with("priority", &"low".into())).unwrap();
    assert_eq!(incoming.event.time, NOW.parse().unwrap());
}

#[test]
fn each_fault_names_its_field() {
    let cases: &[(&str, serde_json::Value, &str)] = &[
        ("id", serde_json::Value::Null, "id"),
        ("id", "".into(), "id"),
        ("id", 7.into(), "id"),
        ("source", "x".repeat(129).into(), "source"),
        ("type", "".into(), "type"),
        ("time", "yesterday".into(), "time"),
        ("actor", "a\u{0}b".into(), "actor"),
        ("title", "x".repeat(257).into(), "title"),
        ("body", "x".repeat(4097).into(), "body"),
        ("data", "x".repeat(16 * 1024).into(), "data"),
        ("title", "a\u{0}b".into(), "title"),
        ("body", "\u{0}".into(), "body"),
        ("object", serde_json::json!({"type": "t", "id": "i", "url": "\u{0}"}), "object.url"),
        ("priority", "urgent".into(), "priority"),
        ("ttl_seconds", 0.into(), "ttl_seconds"),
        ("ttl_seconds", (-1).into(), "ttl_seconds"),
        ("group", "".into(), "group"),
        ("object", serde_json::json!({"type": "post"}), "object"),
        ("object", serde_json::json!({"type": "post", "id": ""}), "object.id"),
        ("audience", serde_json::Value::Null, "audience"),
        ("audience", serde_json::json!({}), "audience"),
        ("audience", serde_json::json!([["a"]]), "audience"),
        ("object", serde_json::json!(["post", "p_9"]), "object"),
        ("audience", serde_json::json!({"users": ["a"], "followers_of": "b"}), "audience"),
        ("audience", serde_json::json!({"users": []}), "audience.users"),
        ("audience", serde_json::json!({"users": ["a", ""]}), "audience.users[1]"),
        ("audience", serde_json::json!({"users": ["a", 7]}), "audience.users[1]"),
        ("audience", serde_json::json!({"followers_of": ""}), "audience.followers_of"),
    ];
    for (field, value, at) in cases {
        let error = decode(&with(field, value)).expect_err(field);
        assert_eq!(&error.field(), at, "{error}");
    }
}

#[test]
fn a_text_that_is_not_json_is_the_fault_of_the_event() {
    for text in ["", "{", "[1]", "{\"id\":\"e", "\u{feff}{}"] {
        assert_eq!(decode(text).unwrap_err().field(), "", "{text:?}");
    }
    assert_eq!(IncomingEvent::from_json(b"\xff", NOW.parse().unwrap()).unwrap_err().field(), "");
}

#[test]
fn data_is_whole_json_of_bounded_depth_that_any_reader_takes() {
    let with_data = |data: &str| with("data", &"@".into()).replace("\"@\"", data);
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for good in ["1e300", r#"{"a":[null,true,"\u0000\ud83d\ude00"],"a":-1}"#, &deep(100)] {
        let incoming = decode(&with_data(good)).expect(good);
        assert_eq!(incoming.event.data.as_ref().unwrap().get(), good);
    }
    for bad in [r#""\ud800""#, r#"{"\udc00":1}"#, "1e999", &deep(129)] {
        assert_eq!(decode(&with_data(bad)).expect_err(bad).field(), "data", "{bad}");
    }
}

#[test]
fn an_audience_has_at_most_10_000_named_users() {
    let users: Vec<String> = (0..=MAX_NAMED_USERS).map(|n| n.to_string()).collect();
    let error = decode(&with("audience", &serde_json::json!({ "users": users }))).unwrap_err();
    assert_eq!(error, EventError::AudienceSize { got: MAX_NAMED_USERS + 1 });
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(json in proptest::collection::vec(any::<u8>(), 0..256)) {
        if let Err(error) = IncomingEvent::from_json(&json, NOW.parse().unwrap()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_is_within_the_limits_arrives_unchanged(
        id in "[^\\p{C}]{1,32}", title in "[^\\x00]{0,64}", body in "[^\\x00]{0,512}",
        users in proptest::collection::vec("[a-z0-9_]{1,64}", 1..50),
        ttl in proptest::option::of(1..=MAX_TTL_SECS),
    ) {
        let mut wire = serde_json::json!({
            "id": id, "source": "posts", "type": "like", "title": title, "body": body,
            "audience": {"users": users},
        });
        if let Some(ttl) = ttl {
            wire["ttl_seconds"] = ttl.into();
        }
        let incoming = decode(&wire.to_string()).unwrap();
        prop_assert_eq!(incoming.event.id.as_str(), id);
        prop_assert_eq!(&incoming.event.title, &title);
        prop_assert_eq!(&incoming.event.body, &body);
        prop_assert_eq!(incoming.event.ttl.map(|ttl| ttl.as_secs()), ttl);
        let Audience::Users(got) = incoming.audience else {
            return Err(TestCaseError::fail("named users became another audience"));
        };
        let mut seen = HashSet::new();
        let want: Vec<_> = users.iter().filter(|user| seen.insert(*user)).collect();
        prop_assert_eq!(got.iter().map(UserId::as_str).collect::<Vec<_>>(), want);
    }
}

#[test]
fn a_problem_does_not_repeat_the_whole_text_that_it_complains_of() {
    let json = format!(r#"{{"id": "e", "audience": "{}"}}"#, "€".repeat(10_000));
    let error = decode(&json).unwrap_err();
    let problem = error.to_string();
    assert!(problem.len() < 400, "{problem}");
    assert!(problem.starts_with("audience: invalid type: string \"€€"), "{problem}");
    assert!(problem.contains("…") && problem.contains("line 1 column"), "{problem}");
}
