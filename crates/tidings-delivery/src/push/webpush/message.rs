//! What a service worker is told, and what its push service is.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde::Serialize;
use tidings_core::{
    clock::Timestamp,
    delivery::{Push, PushStyle},
    event::{Event, Priority},
    ids::NotificationId,
};
use uuid::Uuid;

use crate::push::{
    details::Details,
    fit::{Content, FitError, Rendered, fit},
};

const TTL: HeaderName = HeaderName::from_static("ttl");
const TOPIC: HeaderName = HeaderName::from_static("topic");
const URGENCY: HeaderName = HeaderName::from_static("urgency");

/// How long a push waits for a browser that is off, if its event does not say: as long as the large
/// services keep one.
const DEFAULT_TTL: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// 24 bytes make the 32 characters that a topic may have (RFC 8030, section 5.4).
const TOPIC_BYTES: usize = 24;

/// The JSON; see the module's documentation.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
    badge: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    silent: bool,
    tidings_id: Uuid,
    notification_id: NotificationId,
    #[serde(flatten)]
    details: Details<'a>,
    truncated: bool,
}

/// The plaintext of `push`, cut to `limit_bytes`.
pub(super) fn message(push: &Push, limit_bytes: usize) -> Result<Rendered, FitError> {
    let notification = &*push.notification;
    let event = &*notification.event;
    let silent = push.style == PushStyle::Silent;
    fit(event, limit_bytes, |content: &Content<'_>| {
        let message = Message {
            title: if silent { "" } else { &content.title },
            body: if silent { "" } else { &content.body },
            badge: push.badge,
            group: event.group.as_deref(),
            silent,
            tidings_id: push.identity,
            notification_id: notification.id,
            details: Details::of(notification, content),
            truncated: content.truncated,
        };
        let message = serde_json::to_vec(&message)?;
        let payload_bytes = message.len();
        Ok(Rendered::new(message, payload_bytes))
    })
}

/// The headers of `push`, all but `authorization`.
pub(super) fn headers(push: &Push, now: Timestamp) -> HeaderMap {
    let event = &*push.notification.event;
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(TTL, HeaderValue::from(ttl(event, now).as_secs()));
    headers.insert(URGENCY, HeaderValue::from_static(urgency(event.priority, push.style)));
    let topic = event.group.as_deref().map(topic);
    if let Some(Ok(topic)) = topic.map(HeaderValue::try_from) {
        headers.insert(TOPIC, topic);
    }
    headers
}

/// What is left of the event's time: 0 delivers to a browser that is there now, or not at all.
fn ttl(event: &Event, now: Timestamp) -> Duration {
    event.expires_at().map_or(DEFAULT_TTL, |at| at.since(now).min(DEFAULT_TTL))
}

/// How much of a battery it is worth.
pub(in crate::push) fn urgency(priority: Priority, style: PushStyle) -> &'static str {
    match (style, priority) {
        (PushStyle::Silent, _) | (_, Priority::Low) => "low",
        (PushStyle::Alert, Priority::Normal) => "normal",
        (PushStyle::Alert, Priority::High) => "high",
    }
}

/// What replaces what while a browser is off. A name made from the group: the service may not know
/// what it says.
pub(in crate::push) fn topic(group: &str) -> String {
    let hash = digest(&SHA256, group.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..TOPIC_BYTES])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_core::device::Platform;

    use super::*;
    use crate::push::sample::{self, now};

    fn push(fields: &Value) -> Push {
        sample::push(Platform::WebPush, fields)
    }

    fn rendered(push: &Push) -> Value {
        serde_json::from_slice(&message(push, 3_993).unwrap().message).unwrap()
    }

    fn header(push: &Push, name: &str, now: Timestamp) -> Option<String> {
        headers(push, now).get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_worker_gets_what_the_documentation_says() {
        let push = push(&json!({
            "title": "Ann liked your photo", "body": "Sunset", "group": "like:p_9",
            "actor": "u_42", "object": {"type": "post", "id": "p_9"}, "data": {"any": [1, 2]},
        }));
        assert_eq!(
            rendered(&push),
            json!({
                "title": "Ann liked your photo", "body": "Sunset", "badge": 3,
                "group": "like:p_9", "silent": false, "tidings_id": push.identity,
                "notification_id": push.notification.id, "seq": 7, "event_id": "evt_1",
                "source": "posts", "type": "like", "actor": "u_42",
                "object": {"type": "post", "id": "p_9"}, "data": {"any": [1, 2]},
                "truncated": false,
            })
        );
    }

    #[test]
    fn a_silent_push_has_nothing_to_show() {
        let mut push = push(&json!({"title": "t", "body": "b", "priority": "high"}));
        push.style = PushStyle::Silent;
        let message = rendered(&push);
        assert_eq!((&message["title"], &message["body"]), (&Value::Null, &Value::Null));
        assert_eq!(message["silent"], true);
        assert_eq!(header(&push, "urgency", now()).as_deref(), Some("low"));
    }

    #[test]
    fn the_plaintext_stays_within_the_limit_and_says_that_it_was_cut() {
        let push = push(&json!({"title": "t", "body": "b".repeat(4_000)}));
        for limit in [3_993, 2_641] {
            let rendered = message(&push, limit).unwrap();
            assert!((limit - 6..=limit).contains(&rendered.message.len()), "{limit}");
            let message: Value = serde_json::from_slice(&rendered.message).unwrap();
            assert_eq!(message["truncated"], true);
        }
    }

    #[test]
    fn a_push_lives_as_long_as_its_event_and_at_most_four_weeks() {
        let ttl = |fields: Value, secs: u64| {
            header(&push(&fields), "ttl", now().after(Duration::from_secs(secs))).unwrap()
        };
        assert_eq!(ttl(json!({}), 0), "2419200");
        assert_eq!(ttl(json!({"ttl_seconds": 30_000_000}), 0), "2419200");
        assert_eq!(ttl(json!({"ttl_seconds": 60}), 20), "40");
        assert_eq!(ttl(json!({"ttl_seconds": 60}), 61), "0");
    }

    #[test]
    fn the_priority_is_the_urgency() {
        for (priority, urgency) in [("high", "high"), ("normal", "normal"), ("low", "low")] {
            let push = push(&json!({ "priority": priority }));
            assert_eq!(header(&push, "urgency", now()).as_deref(), Some(urgency));
        }
    }

    #[test]
    fn a_topic_stands_for_a_group_and_does_not_tell_it() {
        let topic = |group: &str| header(&push(&json!({ "group": group })), "topic", now());
        let (one, other) = (topic("like:p_9").unwrap(), topic(&"ü".repeat(60)).unwrap());
        assert_eq!((one.len(), other.len()), (32, 32));
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_ne!(one, other);
        assert_eq!(topic("like:p_9").unwrap(), one);
        assert_eq!(header(&push(&json!({})), "topic", now()), None);
    }
}
