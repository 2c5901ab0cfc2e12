//! What a device is told: headers and JSON.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION, uri::PathAndQuery};
use serde::Serialize;
use tidings_core::{
    delivery::Push,
    event::{Event, Priority},
    ids::NotificationId,
};
use uuid::Uuid;

use super::ApnsPushType;
use crate::push::{
    details::Details,
    fit::{Content, FitError, Rendered, fit},
};

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

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_available: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_changed: Option<bool>,
}

#[derive(Serialize)]
struct Alert<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
}

/// What the app finds beside `aps`.
#[derive(Serialize)]
struct Tidings<'a> {
    id: NotificationId,
    #[serde(flatten)]
    details: Details<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// The payload of `push` as a push of this type, cut to what APNs takes.
pub(super) fn payload(push: &Push, push_type: ApnsPushType) -> Result<Rendered, FitError> {
    let notification = &*push.notification;
    let event = &*notification.event;
    fit(event, push_type.max_payload_bytes(), |content: &Content<'_>| {
        let payload = Payload {
            aps: aps(push, push_type, content),
            tidings: Tidings {
                id: notification.id,
                details: Details::of(notification, content),
                truncated: content.truncated,
            },
        };
        // Most payloads are smaller: it grows once or not at all.
        let mut message = Vec::with_capacity(512);
        serde_json::to_writer(&mut message, &payload)?;
        let payload_bytes = message.len();
        Ok(Rendered::new(message, payload_bytes))
    })
}

/// What the system is told; the rest is for the app.
fn aps<'a>(push: &'a Push, push_type: ApnsPushType, content: &'a Content<'_>) -> Aps<'a> {
    let event = &*push.notification.event;
    let alert = || Some(Alert { title: &content.title, body: &content.body });
    match push_type {
        ApnsPushType::Alert => Aps {
            alert: alert(),
            badge: Some(push.badge),
            sound: (event.priority != Priority::Low).then_some("default"),
            thread_id: event.group.as_deref(),
            ..Aps::default()
        },
        // The app shows the call by itself.
        ApnsPushType::Voip => Aps { alert: alert(), ..Aps::default() },
        ApnsPushType::Widgets | ApnsPushType::Controls => {
            Aps { content_changed: Some(true), ..Aps::default() }
        }
        // With alert, sound or badge it would not be a background push.
        ApnsPushType::Background
        | ApnsPushType::Complication
        | ApnsPushType::FileProvider
        | ApnsPushType::Location => Aps { content_available: Some(1), ..Aps::default() },
        ApnsPushType::PushToTalk | ApnsPushType::LiveActivity | ApnsPushType::Mdm => Aps::default(),
    }
}

/// The path and the headers of a push, ready to be put on any connection.
pub(super) struct Headers {
    pub(super) path: PathAndQuery,
    id: HeaderValue,
    topic: HeaderValue,
    push_type: &'static str,
    priority: &'static str,
    expiration: Option<HeaderValue>,
    collapse_id: Option<HeaderValue>,
}

impl Headers {
    /// Those of `push` as a push of this type; an error is our word for what is wrong with it.
    pub(super) fn of(push: &Push, push_type: ApnsPushType) -> Result<Self, &'static str> {
        let token = push.device.token.expose();
        // It stands in the path. APNs' tokens are hexadecimal, so another one is nobody's.
        let is_token = token.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = PathAndQuery::try_from(format!("/3/device/{token}"));
        let path = path.ok().filter(|_| is_token).ok_or("malformed_token")?;
        let mut identity = Uuid::encode_buffer();
        let identity = push.identity.hyphenated().encode_lower(&mut identity);
        let event = &*push.notification.event;
        // Each of these is used once: keeping it in the compression table would only push others
        // out.
        let once = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| "malformed_app")?;
            value.set_sensitive(true);
            Ok::<_, &'static str>(value)
        };
        Ok(Self {
            path,
            id: once(identity)?,
            topic: topic(&push.device.app, push_type).ok_or("malformed_app")?,
            push_type: push_type.as_str(),
            priority: if push_type.is_never_urgent() { "5" } else { priority(event.priority) },
            expiration: event.expires_at().map(|at| once(&at.as_secs().to_string())).transpose()?,
            collapse_id: collapse_id(event).map(|id| once(&id)).transpose()?,
        })
    }

    pub(super) fn to_map(&self, authorization: Option<HeaderValue>) -> HeaderMap {
        // With room for the length, which is added later.
        let mut headers = HeaderMap::with_capacity(8);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        headers.insert(APNS_ID, self.id.clone());
        headers.insert(APNS_TOPIC, self.topic.clone());
        headers.insert(APNS_PUSH_TYPE, HeaderValue::from_static(self.push_type));
        headers.insert(APNS_PRIORITY, HeaderValue::from_static(self.priority));
        if let Some(expiration) = &self.expiration {
            headers.insert(APNS_EXPIRATION, expiration.clone());
        }
        if let Some(collapse_id) = &self.collapse_id {
            headers.insert(APNS_COLLAPSE_ID, collapse_id.clone());
        }
        headers
    }
}

/// The app's bundle id with what the type adds; the app may have registered with the whole name.
fn topic(app: &str, push_type: ApnsPushType) -> Option<HeaderValue> {
    let suffix = push_type.topic_suffix();
    if suffix.is_empty() || app.ends_with(suffix) {
        HeaderValue::from_str(app).ok()
    } else {
        HeaderValue::try_from(format!("{app}{suffix}")).ok()
    }
}

/// 10 at once, 5 when it suits the device's battery, 1 without waking it.
pub(in crate::push) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "10",
        Priority::Normal => "5",
        Priority::Low => "1",
    }
}

/// The group, if it can stand in the header; else a name made from it.
pub(in crate::push) fn collapse_id(event: &Event) -> Option<Cow<'_, str>> {
    let group = event.group.as_deref()?;
    let fits = group.len() <= MAX_COLLAPSE_ID_BYTES;
    if fits && group.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some(Cow::Borrowed(group))
    } else {
        Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, group.as_bytes()).to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_core::device::Platform;

    use super::*;
    use crate::push::sample;

    fn push(fields: &Value) -> Push {
        sample::push(Platform::Apns, fields)
    }

    fn headers(push: &Push) -> HeaderMap {
        Headers::of(push, ApnsPushType::Alert).unwrap().to_map(None)
    }

    fn rendered(push: &Push, push_type: ApnsPushType) -> Value {
        let rendered = payload(push, push_type).unwrap();
        assert!(rendered.message.len() <= push_type.max_payload_bytes());
        serde_json::from_slice(&rendered.message).unwrap()
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
        assert_eq!(
            rendered(&push, ApnsPushType::Alert),
            json!({
                "aps": {
                    "alert": {"title": "Ann liked your photo", "body": "Sunset"},
                    "badge": 3,
                    "sound": "default",
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
        let rendered = payload(&push, ApnsPushType::Alert).unwrap();
        assert!((4_090..=4_096).contains(&rendered.message.len()), "{}", rendered.message.len());
        let payload: Value = serde_json::from_slice(&rendered.message).unwrap();
        assert_eq!(payload["tidings"]["truncated"], true);
        assert_eq!(payload["tidings"]["data"], Value::Null);
        assert!(payload["aps"]["alert"]["body"].as_str().unwrap().ends_with("é…"));
    }

    #[test]
    fn the_headers_say_what_how_urgent_how_long_and_what_it_replaces() {
        let push = push(&json!({"priority": "high", "ttl_seconds": 60, "group": "like:p_9"}));
        let headers = headers(&push);
        assert_eq!(header(&headers, "apns-id").unwrap(), push.identity.to_string());
        assert_eq!(header(&headers, "apns-topic"), Some("com.example.app"));
        assert_eq!(header(&headers, "apns-push-type"), Some("alert"));
        assert_eq!(header(&headers, "apns-priority"), Some("10"));
        assert_eq!(header(&headers, "apns-expiration"), Some("1795424460"));
        assert_eq!(header(&headers, "apns-collapse-id"), Some("like:p_9"));
    }

    #[test]
    fn without_ttl_and_group_the_push_neither_expires_nor_replaces_another() {
        let headers = headers(&push(&json!({})));
        assert_eq!(header(&headers, "apns-expiration"), None);
        assert_eq!(header(&headers, "apns-collapse-id"), None);
        assert_eq!(header(&headers, "apns-priority"), Some("5"));
    }

    #[test]
    fn a_group_that_cannot_stand_in_the_header_gets_a_name_that_can() {
        for group in ["x".repeat(65), "gruppe ü".to_owned()] {
            let push = push(&json!({ "group": group }));
            let id = collapse_id(&push.notification.event).unwrap();
            assert!(id.len() <= 64 && id.is_ascii(), "{id}");
        }
        let name = |group: &str| {
            let push = push(&json!({ "group": group }));
            collapse_id(&push.notification.event).unwrap().into_owned()
        };
        assert_ne!(name("a b"), name("a c"));
    }

    #[test]
    fn an_app_that_cannot_stand_in_the_header_is_no_topic() {
        let mut push = push(&json!({}));
        push.device.app = "äpp\n".into();
        let refused = Headers::of(&push, ApnsPushType::Alert);
        assert_eq!(refused.err(), Some("malformed_app"));
    }

    #[test]
    fn a_background_push_has_neither_alert_nor_sound_nor_badge_and_is_not_urgent() {
        let push = push(&json!({"title": "t", "body": "b", "priority": "high", "group": "g"}));
        let payload = rendered(&push, ApnsPushType::Background);
        assert_eq!(payload["aps"], json!({"content-available": 1}));
        assert_eq!(payload["tidings"]["event_id"], "evt_1");
        let headers = Headers::of(&push, ApnsPushType::Background).unwrap().to_map(None);
        assert_eq!(header(&headers, "apns-push-type"), Some("background"));
        assert_eq!(header(&headers, "apns-priority"), Some("5"));
    }

    #[test]
    fn a_push_of_low_priority_makes_no_sound() {
        let push = push(&json!({"title": "t", "priority": "low"}));
        assert_eq!(rendered(&push, ApnsPushType::Alert)["aps"]["sound"], Value::Null);
    }

    #[test]
    fn a_type_with_a_topic_of_its_own_adds_it_once() {
        let mut push = push(&json!({}));
        for app in ["com.example.app", "com.example.app.voip"] {
            push.device.app = app.to_owned();
            let headers = Headers::of(&push, ApnsPushType::Voip).unwrap().to_map(None);
            assert_eq!(header(&headers, "apns-topic"), Some("com.example.app.voip"));
        }
    }

    #[test]
    fn a_call_may_say_more_than_an_alert() {
        let push = push(&json!({"body": "\"".repeat(4_000)}));
        let length = |push_type| payload(&push, push_type).unwrap().payload_bytes;
        assert!((4_090..=4_096).contains(&length(ApnsPushType::Alert)));
        assert!((5_114..=5_120).contains(&length(ApnsPushType::Voip)));
    }
}
