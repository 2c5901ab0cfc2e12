//! What FCM passes on to each platform.

use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use tidings_core::{
    clock::Timestamp,
    delivery::{Push, PushStyle},
    event::{Event, Priority},
};

use crate::push::{apns, webpush};

/// "The maximum time to live supported is 4 weeks."
const MAX_TTL: Duration = Duration::from_secs(2_419_200);

/// For Android.
#[derive(Serialize)]
pub(super) struct Android<'a> {
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

impl<'a> Android<'a> {
    pub(super) fn of(push: &'a Push, is_shown: bool, now: Timestamp) -> Self {
        let event = &*push.notification.event;
        // HIGH wakes a sleeping device, NORMAL waits until it wakes by itself.
        let priority = match (push.style, event.priority) {
            (PushStyle::Alert, Priority::High) => "HIGH",
            _ => "NORMAL",
        };
        let ttl = left(event, now).map(|left| {
            let left = left.min(MAX_TTL);
            format!("{}.{:03}s", left.as_secs(), left.subsec_millis())
        });
        let tag = event.group.as_deref();
        Self {
            priority,
            ttl,
            collapse_key: tag,
            notification: tag.filter(|_| is_shown).map(|tag| AndroidNotification { tag }),
        }
    }
}

/// For devices that FCM reaches through APNs.
#[derive(Serialize)]
pub(super) struct Apns<'a> {
    headers: ApnsHeaders,
    pub(super) payload: ApnsPayload<'a>,
}

/// Values are strings because FCM takes no others.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ApnsHeaders {
    apns_priority: &'static str,
    apns_push_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    apns_expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apns_collapse_id: Option<String>,
}

#[derive(Serialize)]
pub(super) struct ApnsPayload<'a> {
    aps: Aps<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_available: Option<u8>,
}

impl<'a> Apns<'a> {
    /// As a push that goes there straight would have it; FCM adds title and body.
    pub(super) fn of(push: &'a Push, is_shown: bool) -> Self {
        let event = &*push.notification.event;
        let (push_type, priority) =
            if is_shown { ("alert", apns::priority(event.priority)) } else { ("background", "5") };
        let aps = if is_shown {
            let sound = (event.priority != Priority::Low).then_some("default");
            let thread_id = event.group.as_deref();
            Aps { badge: Some(push.badge), sound, thread_id, ..Aps::default() }
        } else {
            Aps { content_available: Some(1), ..Aps::default() }
        };
        let headers = ApnsHeaders {
            apns_priority: priority,
            apns_push_type: push_type,
            apns_expiration: event.expires_at().map(|at| at.as_secs().to_string()),
            apns_collapse_id: apns::collapse_id(event).map(Cow::into_owned),
        };
        Self { headers, payload: ApnsPayload { aps } }
    }
}

/// For browsers that FCM reaches.
#[derive(Serialize)]
pub(super) struct WebPush {
    headers: WebPushHeaders,
}

#[derive(Serialize)]
struct WebPushHeaders {
    #[serde(rename = "Urgency")]
    urgency: &'static str,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(rename = "Topic", skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
}

impl WebPush {
    pub(super) fn of(push: &Push, now: Timestamp) -> Self {
        let event = &*push.notification.event;
        let headers = WebPushHeaders {
            urgency: webpush::urgency(event.priority, push.style),
            ttl: left(event, now).map(|left| left.min(MAX_TTL).as_secs().to_string()),
            topic: event.group.as_deref().map(webpush::topic),
        };
        Self { headers }
    }
}

/// What is left of the event's time.
fn left(event: &Event, now: Timestamp) -> Option<Duration> {
    Some(event.expires_at()?.since(now))
}
