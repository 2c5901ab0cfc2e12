//! FCM: what a message may be.

use serde_json::{Value, json};

use crate::client::Reply;
use crate::fcm::{BAD_REQUEST, DEVICE, FCM_ERROR, Fixture, PROJECT, assert_error};

/// A refusal by the JSON layer: no `FcmError`.
#[track_caller]
fn assert_json_violation(reply: &Reply, field: &str, description: &str) {
    let violation = json!({ "field": field, "description": description });
    let details = json!([{ "@type": BAD_REQUEST, "fieldViolations": [violation] }]);
    assert_error(reply, 400, "INVALID_ARGUMENT", &details);
    assert_eq!(reply.json()["error"]["message"], description);
}

/// A refusal by FCM itself.
#[track_caller]
fn assert_fcm_violation(reply: &Reply, field: &str) {
    let body = reply.json();
    let details = body["error"]["details"].as_array().expect("details");
    assert_eq!(reply.status, 400, "{body}");
    assert_eq!(details[0], json!({ "@type": FCM_ERROR, "errorCode": "INVALID_ARGUMENT" }));
    assert_eq!(details[1]["fieldViolations"][0]["field"], field, "{body}");
}

fn with(path: &[&str], value: Value) -> Value {
    let mut body = json!({ "message": { "token": DEVICE } });
    let mut place = &mut body["message"];
    for name in path {
        place = &mut place[*name];
    }
    *place = value;
    body
}

#[tokio::test]
async fn exactly_one_target_is_named() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    for body in [json!({ "message": {} }), json!({}), json!({ "message": { "token": null } })] {
        assert_fcm_violation(&fcm.send(&token, &body).await, "message");
    }
    let reply = fcm.send(&token, &with(&["topic"], "news".into())).await;
    assert_json_violation(
        &reply,
        "message",
        "Invalid value at 'message' (oneof), oneof field 'target' is already set. \
         Cannot set 'topic'",
    );
    for (target, value) in [
        ("token", DEVICE),
        ("topic", "news-2026_~%."),
        ("condition", "'a' in topics && 'b' in topics"),
        ("fid", "cPFTPvV8QEY"),
    ] {
        let reply = fcm.send(&token, &json!({ "message": { target: value } })).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.json());
    }
    for (target, value, field) in [
        ("token", "", "message.token"),
        ("token", "spaces are not in tokens", "message.token"),
        ("topic", "/topics/news", "message.topic"),
        ("condition", "", "message.condition"),
    ] {
        let reply = fcm.send(&token, &json!({ "message": { target: value } })).await;
        assert_fcm_violation(&reply, field);
    }
    let tokens: Vec<String> =
        fcm.simulator.ledger().recent().iter().map(|push| push.token.clone()).collect();
    assert_eq!(tokens[1], "/topics/news-2026_~%.");
}

#[tokio::test]
async fn data_values_are_strings() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    let reply = fcm.send(&token, &with(&["data"], json!({ "a": "x", "b": 12 }))).await;
    assert_json_violation(
        &reply,
        "message.data[1].value",
        "Invalid value at 'message.data[1].value' (TYPE_STRING), 12",
    );
    let reply = fcm.send(&token, &with(&["android", "data"], json!({ "a": {} }))).await;
    assert_json_violation(
        &reply,
        "message.android.data[0].value",
        "Invalid value at 'message.android.data[0].value' (TYPE_STRING), {}",
    );
}

#[tokio::test]
async fn reserved_data_keys_are_refused() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    for key in ["from", "gcm", "gcm.notification.x", "google", "google.c.a"] {
        let reply = fcm.send(&token, &with(&["data"], json!({ key: "x" }))).await;
        assert_fcm_violation(&reply, "message.data");
    }
    let reply = fcm.send(&token, &with(&["android", "data"], json!({ "from": "x" }))).await;
    assert_fcm_violation(&reply, "message.android.data");
    for key in ["From", "fromage", "collapse_key", "my_google"] {
        let reply = fcm.send(&token, &with(&["data"], json!({ key: "x" }))).await;
        assert_eq!(reply.status, 200, "for {key}");
    }
}

#[tokio::test]
async fn unknown_fields_and_wrong_types_are_named() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    for (body, field, description) in [
        (
            with(&["tokn"], "x".into()),
            "message",
            "Invalid JSON payload received. Unknown name \"tokn\" at 'message': Cannot find field.",
        ),
        (
            with(&["notification", "sound"], "x".into()),
            "message.notification",
            "Invalid JSON payload received. Unknown name \"sound\" at 'message.notification': \
             Cannot find field.",
        ),
        (
            with(&["notification", "title"], 5.into()),
            "message.notification.title",
            "Invalid value at 'message.notification.title' (TYPE_STRING), 5",
        ),
        (
            with(&["android", "priority"], "urgent".into()),
            "message.android.priority",
            "Invalid value at 'message.android.priority' \
             (type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority), \"urgent\"",
        ),
        (
            with(&["apns", "headers"], json!({ "apns-priority": 5 })),
            "message.apns.headers[0].value",
            "Invalid value at 'message.apns.headers[0].value' (TYPE_STRING), 5",
        ),
    ] {
        assert_json_violation(&fcm.send(&token, &body).await, field, description);
    }
    let mut root = with(&["data"], json!({}));
    root["to"] = "x".into();
    let what = "Invalid JSON payload received. Unknown name \"to\": Cannot find field.";
    let details = json!([
        { "@type": BAD_REQUEST, "fieldViolations": [{ "description": what }] }
    ]);
    assert_error(&fcm.send(&token, &root).await, 400, "INVALID_ARGUMENT", &details);
}

#[tokio::test]
async fn broken_json_is_refused() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    for body in ["", "{", "[]", "\"x\""] {
        let reply = fcm.post(&token, PROJECT, body.into()).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"]["status"], "INVALID_ARGUMENT");
    }
    let reply = fcm.post(&token, PROJECT, " ".repeat(100_000)).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn fields_are_taken_in_snake_and_in_camel_case() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    let android = json!({
        "collapse_key": "a", "priority": "high", "ttl": "3.5s", "direct_boot_ok": true,
        "notification": { "channel_id": "likes", "notification_count": 3,
            "vibrate_timings": ["0.1s", "1s"], "visibility": "PRIVATE" },
    });
    assert_eq!(fcm.send(&token, &with(&["android"], android)).await.status, 200);
    let camel = json!({ "collapseKey": "b", "priority": "NORMAL", "restrictedPackageName": "x" });
    assert_eq!(fcm.send(&token, &with(&["android"], camel)).await.status, 200);
    let rest = json!({
        "webpush": { "headers": { "TTL": "5" }, "notification": { "any": [1] },
            "fcm_options": { "link": "https://example.com" } },
        "apns": { "headers": { "apns-priority": "5" }, "payload": { "aps": { "badge": 1 } } },
        "fcm_options": { "analytics_label": "x" },
        "token": DEVICE,
    });
    assert_eq!(fcm.send(&token, &json!({ "message": rest })).await.status, 200);
    let kept: Vec<_> =
        fcm.simulator.ledger().recent().iter().map(|push| push.collapse_id.clone()).collect();
    assert_eq!(kept, [Some("a".to_owned()), Some("b".to_owned()), None]);
}

#[tokio::test]
async fn a_ttl_is_a_duration_of_at_most_four_weeks() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    for ttl in ["0s", "3.5s", "2419200s", "0.000000001s"] {
        let reply = fcm.send(&token, &with(&["android", "ttl"], ttl.into())).await;
        assert_eq!(reply.status, 200, "for {ttl}");
    }
    for ttl in ["2419201s", "2419200.1s", "-1s"] {
        let reply = fcm.send(&token, &with(&["android", "ttl"], ttl.into())).await;
        assert_fcm_violation(&reply, "message.android.ttl");
    }
    for ttl in [json!("60"), json!("s"), json!("1m"), json!(60), json!("1.s"), json!("1e3s")] {
        let what = format!(
            "Invalid value at 'message.android.ttl' \
             (type.googleapis.com/google.protobuf.Duration), {ttl}"
        );
        let reply = fcm.send(&token, &with(&["android", "ttl"], ttl)).await;
        assert_json_violation(&reply, "message.android.ttl", &what);
    }
}

#[tokio::test]
async fn payload_limits_hold_to_the_byte() {
    let fcm = Fixture::start().await;
    let token = fcm.access_token().await;
    // Key "k" and title key "title" with "hi" count, too.
    let sized = |target: &str, value: &str, bytes: usize| {
        json!({ "message": {
            target: value,
            "data": { "k": "x".repeat(bytes - 8) },
            "notification": { "title": "hi" },
        } })
    };
    for (target, value, limit) in [("token", DEVICE, 4_096), ("topic", "news", 2_048)] {
        assert_eq!(fcm.send(&token, &sized(target, value, limit)).await.status, 200);
        let reply = fcm.send(&token, &sized(target, value, limit + 1)).await;
        assert_fcm_violation(&reply, "message");
    }
    // A platform's section that takes the place of the common one is held to the same limit.
    let android = json!({ "k": "x".repeat(4_096) });
    let reply = fcm.send(&token, &with(&["android", "data"], android)).await;
    assert_fcm_violation(&reply, "message");
}
