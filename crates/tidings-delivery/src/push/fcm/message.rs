//! What a device is told, as JSON.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tidings_core::{
    clock::Timestamp,
    delivery::{Push, PushStyle},
};

use super::sections::{Android, Apns, WebPush};

use crate::push::fit::{Content, FitError, Rendered, fit};

/// "Maximum payload … is 4096 bytes". How Google counts is not documented; taking `notification`,
/// `data` and what Apple gets as JSON, punctuation included, is never less.
const MAX_PAYLOAD_BYTES: usize = 4_096;

#[derive(Serialize)]
struct Request<'a> {
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<&'a RawValue>,
    data: &'a RawValue,
    android: &'a Android<'a>,
    apns: &'a Apns<'a>,
    webpush: &'a WebPush,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
}

/// What the app gets: the notification as the inbox API shows it, as far as it fits. Values are
/// strings because FCM takes no others.
#[derive(Serialize)]
struct Data<'a> {
    tidings_id: String,
    notification_id: String,
    seq: String,
    event_id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent: Option<&'static str>,
    /// JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<&'static str>,
}

/// The request body for `push`, cut to what FCM takes.
///
/// A silent push is data only, as is one without any text.
pub(super) fn message(push: &Push, now: Timestamp) -> Result<Rendered, FitError> {
    let event = &*push.notification.event;
    let has_text = !(event.title.is_empty() && event.body.is_empty());
    let is_shown = has_text && push.style == PushStyle::Alert;
    // None of it depends on how much is cut; nor do the platforms' sections.
    let apns = Apns::of(push, is_shown);
    let apns_bytes = serde_json::to_vec(&apns.payload)?.len();
    let android = Android::of(push, is_shown, now);
    let webpush = WebPush::of(push, now);
    fit(event, MAX_PAYLOAD_BYTES, |content: &Content<'_>| {
        let data = to_raw_value(&data(push, content)?)?;
        let text = Text { title: &content.title, body: &content.body };
        let notification = is_shown.then(|| to_raw_value(&text)).transpose()?;
        let text_bytes = notification.as_ref().map_or(0, |it| it.get().len());
        let payload_bytes = data.get().len() + text_bytes + apns_bytes;
        let request = Request {
            message: Message {
                token: push.device.token.expose(),
                notification: notification.as_deref(),
                data: &data,
                android: &android,
                apns: &apns,
                webpush: &webpush,
            },
        };
        Ok(Rendered::new(serde_json::to_vec(&request)?, payload_bytes))
    })
}

fn data<'a>(push: &'a Push, content: &Content<'a>) -> Result<Data<'a>, serde_json::Error> {
    let notification = &*push.notification;
    let event = &*notification.event;
    Ok(Data {
        tidings_id: push.identity.to_string(),
        notification_id: notification.id.to_string(),
        seq: notification.seq().to_string(),
        event_id: event.id.as_str(),
        source: event.source.as_str(),
        event_type: &event.event_type,
        actor: event.actor.as_ref().map(tidings_core::ids::UserId::as_str),
        silent: (push.style == PushStyle::Silent).then_some("true"),
        object: content.object.map(serde_json::to_string).transpose()?,
        data: content.data.map(RawValue::get),
        truncated: content.truncated.then_some("true"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use tidings_core::device::Platform;

    use super::*;
    use crate::push::{
        sample::{self, now},
        webpush,
    };

    fn push(fields: &Value) -> Push {
        sample::push(Platform::Fcm, fields)
    }

    fn rendered(push: &Push, now: Timestamp) -> Value {
        let rendered = message(push, now).unwrap();
        assert!(rendered.payload_bytes <= 4_096);
        serde_json::from_slice(&rendered.message).unwrap()
    }

    #[test]
    fn the_message_is_a_notification_with_the_details_as_text() {
        let push = push(&json!({
            "title": "Ann liked your photo", "body": "Sunset", "group": "like:p_9",
            "actor": "u_42", "object": {"type": "post", "id": "p_9"}, "data": {"any": [1, 2]},
            "priority": "high", "ttl_seconds": 60,
        }));
        let later = now().after(Duration::from_millis(1_500));
        assert_eq!(
            rendered(&push, later),
            json!({"message": {
                "token": "a-token",
                "notification": {"title": "Ann liked your photo", "body": "Sunset"},
                "data": {
                    "tidings_id": push.identity.to_string(),
                    "notification_id": push.notification.id.to_string(),
                    "seq": "7", "event_id": "evt_1", "source": "posts", "type": "like",
                    "actor": "u_42", "object": r#"{"type":"post","id":"p_9"}"#,
                    "data": r#"{"any":[1,2]}"#,
                },
                "android": {
                    "priority": "HIGH", "ttl": "58.500s", "collapse_key": "like:p_9",
                    "notification": {"tag": "like:p_9"},
                },
                "apns": {
                    "headers": {
                        "apns-priority": "10", "apns-push-type": "alert",
                        "apns-expiration": "1795424460", "apns-collapse-id": "like:p_9",
                    },
                    "payload": {
                        "aps": {"badge": 3, "sound": "default", "thread-id": "like:p_9"},
                    },
                },
                "webpush": {"headers": {
                    "Urgency": "high", "TTL": "58", "Topic": webpush::topic("like:p_9"),
                }},
            }})
        );
    }

    #[test]
    fn without_text_only_data_is_sent() {
        let message = &rendered(&push(&json!({"group": "g"})), now())["message"];
        assert_eq!(message["notification"], Value::Null);
        assert_eq!(message["android"], json!({"priority": "NORMAL", "collapse_key": "g"}));
    }

    #[test]
    fn a_silent_push_is_data_only_and_not_urgent() {
        let mut push = push(&json!({"title": "t", "body": "b", "priority": "high"}));
        push.style = PushStyle::Silent;
        let message = &rendered(&push, now())["message"];
        assert_eq!(message["notification"], Value::Null);
        assert_eq!(message["data"]["silent"], "true");
        assert_eq!(message["android"], json!({"priority": "NORMAL"}));
        assert_eq!(message["apns"]["payload"], json!({"aps": {"content-available": 1}}));
        assert_eq!(
            message["apns"]["headers"],
            json!({"apns-priority": "5", "apns-push-type": "background"})
        );
        assert_eq!(message["webpush"]["headers"], json!({"Urgency": "low"}));
    }

    #[test]
    fn a_ttl_is_at_most_four_weeks() {
        let push = push(&json!({"ttl_seconds": 30_000_000}));
        assert_eq!(rendered(&push, now())["message"]["android"]["ttl"], "2419200.000s");
    }

    #[test]
    fn the_payload_stays_within_4096_bytes_and_says_that_it_was_cut() {
        let push = push(&json!({"body": "\"".repeat(4_000), "data": "d".repeat(10_000)}));
        let message = &rendered(&push, now())["message"];
        assert_eq!(message["data"]["truncated"], "true");
        assert_eq!(message["data"]["data"], Value::Null);
        assert!(message["notification"]["body"].as_str().unwrap().ends_with("\"…"));
    }
}
