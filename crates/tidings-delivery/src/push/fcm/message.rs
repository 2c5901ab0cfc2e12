//! What a device is told, as JSON.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tidings_core::{
    clock::Timestamp,
    delivery::Push,
    event::{Event, Priority},
};

use crate::push::fit::{Content, FitError, Rendered, fit};

/// "Maximum payload … is 4096 bytes". How Google counts is not documented; taking `notification` and
/// `data` as JSON, punctuation included, is never less.
const MAX_PAYLOAD_BYTES: usize = 4_096;

/// "The maximum time to live supported is 4 weeks."
const MAX_TTL: Duration = Duration::from_secs(2_419_200);

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
    android: Android<'a>,
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
    /// JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<&'static str>,
}

#[derive(Serialize)]
struct Android<'a> {
    priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    /// What replaces what while the device is offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<AndroidNotification<'a>>,
}

#[derive(Serialize)]
struct AndroidNotification<'a> {
    /// What replaces what on the screen.
    tag: &'a str,
}

/// The request body for `push`, cut to what FCM takes.
pub(super) fn message(push: &Push, now: Timestamp) -> Result<Rendered, FitError> {
    let event = &*push.notification.event;
    fit(event, MAX_PAYLOAD_BYTES, |content: &Content<'_>| {
        let data = to_raw_value(&data(push, content)?)?;
        let has_text = !(content.title.is_empty() && content.body.is_empty());
        let text = Text { title: &content.title, body: &content.body };
        let notification = has_text.then(|| to_raw_value(&text)).transpose()?;
        let payload_bytes = data.get().len() + notification.as_ref().map_or(0, |it| it.get().len());
        let tag = event.group.as_deref().filter(|_| has_text);
        let request = Request {
            message: Message {
                token: push.device.token.expose(),
                notification: notification.as_deref(),
                data: &data,
                android: Android {
                    priority: priority(event.priority),
                    ttl: ttl(event, now),
                    collapse_key: event.group.as_deref(),
                    notification: tag.map(|tag| AndroidNotification { tag }),
                },
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
        object: content.object.map(serde_json::to_string).transpose()?,
        data: content.data.map(RawValue::get),
        truncated: content.truncated.then_some("true"),
    })
}

/// HIGH wakes a sleeping device, NORMAL waits until it wakes by itself.
fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "HIGH",
        Priority::Normal | Priority::Low => "NORMAL",
    }
}

fn ttl(event: &Event, now: Timestamp) -> Option<String> {
    let left = event.expires_at()?.since(now).min(MAX_TTL);
    Some(format!("{}.{:03}s", left.as_secs(), left.subsec_millis()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tidings_core::{
        delivery::PushStyle,
        device::{Device, Platform, PushToken},
        event::IncomingEvent,
        ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
        notification::{Notification, NotificationState},
    };

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T09:00:00Z".parse().unwrap()
    }

    fn push(fields: &Value) -> Push {
        let mut event = json!({
            "id": "evt_1", "source": "posts", "type": "like", "audience": {"users": ["ann"]},
        });
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let event = IncomingEvent::from_json(event.to_string().as_bytes(), now()).unwrap().event;
        let id = NotificationId { inbox: InboxNumber(1), seq: Seq(7) };
        let device = Device::new(
            UserId::new("ann").unwrap(),
            DeviceId::new("phone").unwrap(),
            Platform::Fcm,
            "app",
            PushToken::new("a-token".into()).unwrap(),
            now(),
        );
        let state = NotificationState::default();
        let user = device.user.clone();
        let notification = Notification { id, user, event, created_at: now(), state };
        let identity = id.push_identity(&device.id);
        Push {
            identity,
            device,
            notification: Arc::new(notification),
            badge: 3,
            style: PushStyle::Alert,
        }
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
