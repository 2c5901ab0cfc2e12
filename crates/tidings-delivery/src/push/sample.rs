//! Pushes for the tests of what is made of them.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_core::{
    clock::Timestamp,
    delivery::{Push, PushStyle},
    device::{Device, Platform, PushToken},
    event::IncomingEvent,
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    notification::{Notification, NotificationState},
};

/// When the notification was stored.
pub(super) fn now() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().unwrap()
}

/// A push to a device of this platform, with these fields of its event.
pub(super) fn push(platform: Platform, fields: &Value) -> Push {
    let mut event = json!({
        "id": "evt_1", "source": "posts", "type": "like", "audience": {"users": ["ann"]},
    });
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let event = IncomingEvent::from_json(event.to_string().as_bytes(), now()).unwrap().event;
    let token = match platform {
        Platform::Apns => "ab".repeat(32),
        Platform::Fcm => "a-token".to_owned(),
        Platform::WebPush => "https://push.example.com/1".to_owned(),
    };
    let user = UserId::new("ann").unwrap();
    let device = DeviceId::new("device").unwrap();
    let token = PushToken::new(token).unwrap();
    let device = Device::new(user.clone(), device, platform, "com.example.app", token, now());
    let id = NotificationId { inbox: InboxNumber(1), seq: Seq(7) };
    let identity = id.push_identity(&device.id);
    let state = NotificationState::default();
    let notification = Arc::new(Notification { id, user, event, created_at: now(), state });
    Push { identity, device, notification, badge: 3, style: PushStyle::Alert }
}
