//! What is pushed, and to whom: told by numbers alone.

use std::sync::Arc;

use tidings_core::{
    clock::Timestamp,
    delivery::{Push, PushStyle},
    device::{Device, Platform, PushToken},
    event::IncomingEvent,
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    notification::{Notification, NotificationState},
};

use super::simulator::Service;
use crate::realtime::{event, user_name};

/// The app: bundle id and application id.
pub(super) const APP: &str = "com.example.bench";
/// Devices of a client that runs without a node.
pub(super) const DEVICES: u64 = 20_000;
/// Where the number of an event begins in a payload, whichever service it is for.
const EVENT_ID: &[u8] = br#""event_id":"evt"#;
/// Digits of the number.
const DIGITS: usize = 12;

/// The token of a device, which is the only one of its user.
pub(super) fn token(service: Service, device: u64) -> String {
    match service {
        Service::Apns => format!("{device:064x}"),
        Service::Fcm => format!("device-{device:064x}"),
    }
}

/// The number of the event that a payload is about.
pub(super) fn number_in(payload: &[u8]) -> Option<u64> {
    let at = payload.windows(EVENT_ID.len()).position(|it| it == EVENT_ID)? + EVENT_ID.len();
    let digits = payload.get(at..at + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Pushes without a node: one notification, for one device after the other.
pub(super) struct Pushes {
    notification: Arc<Notification>,
    devices: Vec<Device>,
}

impl Pushes {
    pub(super) fn new(service: Service, devices: u64) -> anyhow::Result<Self> {
        let now = Timestamp::from_millis(1_795_000_000_123);
        let user = UserId::new(&user_name(0))?;
        let incoming = IncomingEvent::from_json(event(0, 0..1).as_bytes(), now)?;
        let id = NotificationId { inbox: InboxNumber(1), seq: Seq(1) };
        let state = NotificationState::default();
        let notification =
            Notification { id, user: user.clone(), event: incoming.event, created_at: now, state };
        let platform = service.platform();
        let device = |number| {
            let id = DeviceId::new("phone")?;
            let token = PushToken::new(token(service, number))?;
            anyhow::Ok(Device::new(user.clone(), id, platform, APP, token, now))
        };
        let devices = (0..devices).map(device).collect::<anyhow::Result<_>>()?;
        Ok(Self { notification: Arc::new(notification), devices })
    }

    /// The push with this number, under an identity of its own.
    pub(super) fn push(&self, number: u64) -> Push {
        let index = usize::try_from(number).unwrap_or(usize::MAX) % self.devices.len();
        Push {
            identity: identity(number),
            device: self.devices[index].clone(),
            notification: Arc::clone(&self.notification),
            badge: 1,
            style: PushStyle::Alert,
        }
    }
}

/// A random-looking UUID of version 4 that is told by its number.
pub(super) fn identity(number: u64) -> uuid::Uuid {
    uuid::Builder::from_random_bytes(u128::from(number).to_be_bytes()).into_uuid()
}

impl Service {
    pub(super) fn platform(self) -> Platform {
        match self {
            Self::Apns => Platform::Apns,
            Self::Fcm => Platform::Fcm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_event_is_found_in_a_payload() {
        let payload = br#"{"aps":{},"tidings":{"event_id":"evt000000000042","source":"bench"}}"#;
        assert_eq!(number_in(payload), Some(42));
        assert_eq!(number_in(br#"{"event_id":"evt42"}"#), None);
        assert_eq!(number_in(b""), None);
    }

    #[test]
    fn pushes_differ_in_identity_and_go_round_the_devices() {
        let pushes = Pushes::new(Service::Apns, 2).unwrap();
        let [first, second, third] = [0, 1, 2].map(|number| pushes.push(number));
        assert_eq!(first.device.token.expose(), third.device.token.expose());
        assert_ne!(first.device.token.expose(), second.device.token.expose());
        assert!(first.identity != third.identity);
    }
}
