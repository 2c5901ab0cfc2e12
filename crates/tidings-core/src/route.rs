//! Which way a notification goes: live session, push, or inbox only.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    device::Device,
    event::{Event, Priority},
    ids::Seq,
    inbox::InboxState,
    notification::Notification,
};

/// How notifications are routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingPolicy {
    /// How long a live session has to acknowledge before the notification is pushed as well.
    pub ack_wait: Duration,
    /// The least priority that is pushed; below it a notification stays in the inbox and on live
    /// sessions.
    pub push_from: Priority,
}

impl Default for RoutingPolicy {
    fn default() -> Self {
        Self { ack_wait: Duration::from_secs(5), push_from: Priority::Normal }
    }
}

/// When a push of `event` to one user falls due, as decided before the notification is stored.
///
/// A user who is online gets `ack_wait` to acknowledge on a live session, one who is not is pushed
/// to at once. `None`: no push, whatever happens.
#[must_use]
pub fn first_push_at(
    event: &Event,
    is_online: bool,
    policy: &RoutingPolicy,
    now: Timestamp,
) -> Option<Timestamp> {
    if event.priority < policy.push_from {
        return None;
    }
    let due = if is_online { now.after(policy.ack_wait) } else { now };
    match event.expires_at() {
        Some(expires) if expires <= due => None,
        _ => Some(due),
    }
}

/// Where a notification whose push has fallen due goes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// To these devices.
    Push(Vec<&'a Device>),
    /// Nowhere but the inbox, where it is already.
    InboxOnly(InboxOnly),
}

/// Why a notification is not pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxOnly {
    /// A live session acknowledged it.
    Acknowledged,
    /// The user saw, read or archived it.
    Handled,
    /// It is no longer worth delivering.
    Expired,
    /// The user has no device.
    NoDevice,
}

impl InboxOnly {
    /// The word for it in the delivery log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Handled => "handled",
            Self::Expired => "expired",
            Self::NoDevice => "no_device",
        }
    }
}

/// Decides, when its push falls due, where `notification` goes.
///
/// `inbox` is the state of the user's inbox now: what a live session has acknowledged, or the user
/// has seen, read or archived anywhere, is not pushed.
#[must_use]
pub fn route_notification<'a>(
    notification: &Notification,
    inbox: &InboxState,
    devices: &'a [Device],
    now: Timestamp,
) -> Route<'a> {
    let state = &notification.state;
    if state.seen_at.or(state.read_at).or(state.archived_at).is_some() {
        return Route::InboxOnly(InboxOnly::Handled);
    }
    if inbox.acked_seq > Seq::ZERO && notification.seq() <= inbox.acked_seq {
        return Route::InboxOnly(InboxOnly::Acknowledged);
    }
    if notification.event.expires_at().is_some_and(|expires| expires <= now) {
        return Route::InboxOnly(InboxOnly::Expired);
    }
    if devices.is_empty() {
        return Route::InboxOnly(InboxOnly::NoDevice);
    }
    Route::Push(devices.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{Platform, PushToken},
        event::IncomingEvent,
        ids::{DeviceId, InboxNumber, NotificationId, UserId},
        notification::NotificationState,
    };

    const NOW: i64 = 1_000_000_000;

    fn now() -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    fn event(priority: &str, ttl_seconds: u64) -> std::sync::Arc<Event> {
        let json = serde_json::json!({
            "id": "e", "source": "s", "type": "t", "audience": {"users": ["ann"]},
            "priority": priority, "ttl_seconds": ttl_seconds,
        });
        IncomingEvent::from_json(json.to_string().as_bytes(), now()).unwrap().event
    }

    fn notification(state: NotificationState) -> Notification {
        Notification {
            id: NotificationId { inbox: InboxNumber(1), seq: Seq(3) },
            user: UserId::new("ann").unwrap(),
            event: event("normal", 60),
            created_at: now(),
            state,
        }
    }

    fn phone() -> Device {
        Device::new(
            UserId::new("ann").unwrap(),
            DeviceId::new("phone").unwrap(),
            Platform::Fcm,
            "app",
            PushToken::new("token".into()).unwrap(),
            now(),
        )
    }

    #[test]
    fn a_low_priority_is_not_pushed_by_default() {
        let policy = RoutingPolicy::default();
        assert_eq!(first_push_at(&event("low", 60), false, &policy, now()), None);
        assert_eq!(first_push_at(&event("high", 60), false, &policy, now()), Some(now()));
    }

    #[test]
    fn what_expires_before_its_push_is_due_is_not_pushed() {
        let policy = RoutingPolicy::default();
        assert_eq!(first_push_at(&event("high", 5), true, &policy, now()), None);
        let due = now().after(policy.ack_wait);
        assert_eq!(first_push_at(&event("high", 6), true, &policy, now()), Some(due));
    }

    #[test]
    fn a_push_that_falls_due_goes_to_every_device_unless_there_is_a_reason_not_to() {
        let inbox =
            InboxState { last_seq: Seq(3), acked_seq: Seq(2), unread: 1, ..InboxState::default() };
        let devices = [phone()];
        let fresh = notification(NotificationState::default());
        assert_eq!(
            route_notification(&fresh, &inbox, &devices, now()),
            Route::Push(vec![&devices[0]])
        );
        let inbox_only = |notification: &Notification, acked, devices: &[Device], later| {
            let inbox = InboxState { acked_seq: Seq(acked), ..inbox };
            let later = now().after(Duration::from_secs(later));
            match route_notification(notification, &inbox, devices, later) {
                Route::InboxOnly(why) => why,
                Route::Push(_) => panic!("pushed"),
            }
        };
        let seen = notification(NotificationState { seen_at: Some(now()), ..Default::default() });
        assert_eq!(inbox_only(&seen, 0, &devices, 0), InboxOnly::Handled);
        assert_eq!(inbox_only(&fresh, 3, &devices, 0), InboxOnly::Acknowledged);
        assert_eq!(inbox_only(&fresh, 0, &devices, 60), InboxOnly::Expired);
        assert_eq!(inbox_only(&fresh, 0, &[], 0), InboxOnly::NoDevice);
    }
}
