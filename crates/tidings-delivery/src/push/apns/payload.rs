//! What a device is told: headers and JSON.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;
use tidings_core::{
    delivery::Push,
    event::{Event, ObjectRef, Priority},
    ids::{EventId, NotificationId, Seq, SourceId, UserId},
};
use uuid::Uuid;

use crate::push::fit::{Content, FitError, Rendered, fit};

/// "For all other remote notifications, the maximum payload size is 4 KB (4096 bytes)."
const MAX_PAYLOAD_BYTES: usize = 4_096;

/// "The value of this key must not exceed 64 bytes."
const MAX_COLLAPSE_ID_BYTES: usize = 64;

const APNS_COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
const APNS_EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
pub(super) const APNS_ID: HeaderName = HeaderName::from_static("apns-id");
const APNS_PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const APNS_PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const APNS_TOPIC: HeaderName = HeaderName::from_static("apns-topic");

#[derive(Serialize)]
struct Payload<'a> {
    aps: Aps<'a>,
    tidings: Tidings<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    alert: Alert<'a>,
    badge: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Alert<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
}

/// What the app finds beside `aps`: the notification as the inbox API shows it, as far as it fits.
#[derive(Serialize)]
struct Tidings<'a> {
    id: NotificationId,
    seq: Seq,
    event_id: &'a EventId,
    source: &'a SourceId,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// The payload of `push`, cut to what APNs takes.
pub(super) fn payload(push: &Push) -> Result<Rendered, FitError> {
    let notification = &*push.notification;
    let event = &*notification.event;
    fit(event, MAX_PAYLOAD_BYTES, |content: &Content<'_>| {
        let payload = Payload {
            aps: Aps {
                alert: Alert { title: &content.title, body: &content.body },
                badge: push.badge,
                thread_id: event.group.as_deref(),
            },
            tidings: Tidings {
                id: notification.id,
                seq: notification.seq(),
                event_id: &event.id,
                source: &event.source,
                event_type: &event.event_type,
                actor: event.actor.as_ref(),
                object: content.object,
                data: content.data,
                truncated: content.truncated,
            },
        };
        let message = serde_json::to_vec(&payload)?;
        Ok(Rendered { payload_bytes: message.len(), message })
    })
}

/// The headers of `push`, all but `authorization`; `None` if the device's app cannot be a topic.
pub(super) fn headers(push: &Push) -> Option<HeaderMap> {
    let event = &*push.notification.event;
    let mut headers = HeaderMap::with_capacity(8);
    let mut identity = HeaderValue::try_from(push.identity.to_string()).ok()?;
    // Each is used once: keeping it in the compression table would only push others out.
    identity.set_sensitive(true);
    headers.insert(APNS_ID, identity);
    headers.insert(APNS_TOPIC, HeaderValue::from_str(&push.device.app).ok()?);
    headers.insert(APNS_PUSH_TYPE, HeaderValue::from_static("alert"));
    headers.insert(APNS_PRIORITY, HeaderValue::from_static(priority(event.priority)));
    if let Some(expires_at) = event.expires_at() {
        headers.insert(APNS_EXPIRATION, HeaderValue::from(expires_at.as_secs()));
    }
    if let Some(collapse_id) = collapse_id(event) {
        headers.insert(APNS_COLLAPSE_ID, HeaderValue::try_from(collapse_id).ok()?);
    }
    Some(headers)
}

/// 10 at once, 5 when it suits the device's battery, 1 without waking it.
fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "10",
        Priority::Normal => "5",
        Priority::Low => "1",
    }
}

/// The group, if it can stand in the header; else a name made from it.
fn collapse_id(event: &Event) -> Option<String> {
    let group = event.group.as_ref()?;
    let fits = group.len() <= MAX_COLLAPSE_ID_BYTES;
    if fits && group.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some(group.clone())
    } else {
        Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, group.as_bytes()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use tidings_core::{
        clock::Timestamp,
        delivery::PushStyle,
        device::{Device, Platform, PushToken},
        event::IncomingEvent,
        ids::{DeviceId, InboxNumber},
        notification::{Notification, NotificationState},
    };

    use super::*;

    fn push(fields: &Value) -> Push {
        let mut event = json!({
            "id": "evt_1", "source": "posts", "type": "like", "time": "2026-11-23T09:00:00Z",
            "audience": {"users": ["ann"]},
        });
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let event = IncomingEvent::from_json(event.to_string().as_bytes(), now).unwrap().event;
        let id = NotificationId { inbox: InboxNumber(1), seq: Seq(7) };
        let device = Device::new(
            UserId::new("ann").unwrap(),
            DeviceId::new("phone").unwrap(),
            Platform::Apns,
            "com.example.app",
            PushToken::new("ab".repeat(32)).unwrap(),
            now,
        );
        let state = NotificationState::default();
        let user = device.user.clone();
        let notification = Notification { id, user, event, created_at: now, state };
        let identity = id.push_identity(&device.id);
        Push {
            identity,
            device,
            notification: Arc::new(notification),
            badge: 3,
            style: PushStyle::Alert,
        }
    }

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn the_payload_is_an_alert_with_the_notification_beside_it() {
        let push = push(&json!({
            "title": "Ann liked your photo", "body": "Sunset", "group": "like:p_9",
            "actor": "u_42", "object": {"type": "post", "id": "p_9"}, "data": {"any": [1, 2]},
        }));
        let rendered = payload(&push).unwrap();
        let payload: Value = serde_json::from_slice(&rendered.message).unwrap();
        assert_eq!(
            payload,
            json!({
                "aps": {
                    "alert": {"title": "Ann liked your photo", "body": "Sunset"},
                    "badge": 3,
                    "thread-id": "like:p_9",
                },
                "tidings": {
                    "id": push.notification.id, "seq": 7, "event_id": "evt_1", "source": "posts",
                    "type": "like", "actor": "u_42", "object": {"type": "post", "id": "p_9"},
                    "data": {"any": [1, 2]},
                },
            })
        );
    }

    #[test]
    fn the_payload_stays_within_4096_bytes_and_says_that_it_was_cut() {
        let push = push(&json!({
            "title": "t", "body": "é".repeat(2_048), "data": "d".repeat(10_000),
        }));
        let rendered = payload(&push).unwrap();
        assert!((4_090..=4_096).contains(&rendered.message.len()), "{}", rendered.message.len());
        let payload: Value = serde_json::from_slice(&rendered.message).unwrap();
        assert_eq!(payload["tidings"]["truncated"], true);
        assert_eq!(payload["tidings"]["data"], Value::Null);
        assert!(payload["aps"]["alert"]["body"].as_str().unwrap().ends_with("é…"));
    }

    #[test]
    fn the_headers_say_what_how_urgent_how_long_and_what_it_replaces() {
        let push = push(&json!({"priority": "high", "ttl_seconds": 60, "group": "like:p_9"}));
        let headers = headers(&push).unwrap();
        assert_eq!(header(&headers, "apns-id").unwrap(), push.identity.to_string());
        assert_eq!(header(&headers, "apns-topic"), Some("com.example.app"));
        assert_eq!(header(&headers, "apns-push-type"), Some("alert"));
        assert_eq!(header(&headers, "apns-priority"), Some("10"));
        assert_eq!(header(&headers, "apns-expiration"), Some("1795424460"));
        assert_eq!(header(&headers, "apns-collapse-id"), Some("like:p_9"));
    }

    #[test]
    fn without_ttl_and_group_the_push_neither_expires_nor_replaces_another() {
        let headers = headers(&push(&json!({}))).unwrap();
        assert_eq!(header(&headers, "apns-expiration"), None);
        assert_eq!(header(&headers, "apns-collapse-id"), None);
        assert_eq!(header(&headers, "apns-priority"), Some("5"));
    }

    #[test]
    fn a_group_that_cannot_stand_in_the_header_gets_a_name_that_can() {
        for group in ["x".repeat(65), "gruppe ü".to_owned()] {
            let id = collapse_id(&push(&json!({ "group": group })).notification.event).unwrap();
            assert!(id.len() <= 64 && id.is_ascii(), "{id}");
        }
        let names = ["a b", "a c"].map(|group| {
            collapse_id(&push(&json!({ "group": group })).notification.event).unwrap()
        });
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn an_app_that_cannot_stand_in_the_header_is_no_topic() {
        let mut push = push(&json!({}));
        push.device.app = "äpp\n".into();
        assert!(headers(&push).is_none());
    }
}
