//! Which way a notification goes: live session, push, or inbox only.

use std::{cmp::Reverse, time::Duration};

use crate::{
    clock::Timestamp,
    delivery::{Channel, PushStyle},
    device::Device,
    event::{Event, Priority},
    ids::DeviceId,
    inbox::InboxState,
    notification::Notification,
};

/// How notifications are routed: the first rule that fits an event, or else the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoutingPolicy {
    /// For events that no rule is about.
    pub default: Routing,
    /// Looked through in their order.
    pub rules: Vec<RoutingRule>,
}

/// How some events are routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingRule {
    /// Which types it is about; all, if there are none here.
    pub types: Vec<TypePattern>,
    /// The least priority it is about.
    pub from: Priority,
    /// What is done with them.
    pub routing: Routing,
}

/// The type of an event, or the beginning of many: `comment`, `comment.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern(String);

/// The text is not the pattern of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is a type, or the beginning of types with one * after it")]
pub struct TypePatternError;

impl TypePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`TypePatternError`] when it is empty, or has a `*` anywhere but at the end.
    pub fn new(text: &str) -> Result<Self, TypePatternError> {
        let literal = text.strip_suffix('*').unwrap_or(text);
        if text.is_empty() || literal.contains('*') {
            return Err(TypePatternError);
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the type fits.
    #[must_use]
    pub fn fits(&self, event_type: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => event_type.starts_with(beginning),
            None => event_type == self.0,
        }
    }
}

/// What is done with notifications besides showing them on live sessions, which always happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// How long a live session has to acknowledge before the notification is pushed as well.
    pub ack_wait: Duration,
    /// The least priority that is pushed; below it a notification stays in the inbox and on live
    /// sessions.
    pub push_from: Priority,
    /// How it is pushed; `None`: not at all.
    pub push: Option<PushStyle>,
    /// What a user can do that makes the push needless.
    pub unless: Unless,
    /// Which of the user's devices are pushed to.
    pub to: PushTo,
    /// The channels it may be pushed through, the preferred one first.
    pub channels: Vec<Channel>,
}

impl Default for Routing {
    /// 5 s for a session; from normal priority on, an alert to all devices, unless acknowledged.
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(5),
            push_from: Priority::Normal,
            push: Some(PushStyle::Alert),
            unless: Unless::Acknowledged,
            to: PushTo::All,
            channels: vec![Channel::Apns, Channel::Fcm, Channel::WebPush],
        }
    }
}

/// What a user can do that makes a push needless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unless {
    /// A session acknowledged it, or the user saw, read or archived it.
    Acknowledged,
    /// The user saw, read or archived it. That it arrived on a screen is not enough.
    Handled,
    /// Nothing: it is pushed whatever happens on live sessions.
    Nothing,
}

/// Which of a user's devices are pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushTo {
    /// Every one.
    All,
    /// One: of the preferred channel the one that was registered last. If it cannot be had, the next,
    /// and so on; after the last the notification is left to the inbox.
    First,
}

impl RoutingPolicy {
    /// What is done with notifications of `event`.
    #[must_use]
    pub fn of(&self, event: &Event) -> &Routing {
        let is_about = |rule: &&RoutingRule| {
            event.priority >= rule.from
                && (rule.types.is_empty()
                    || rule.types.iter().any(|pattern| pattern.fits(&event.event_type)))
        };
        self.rules.iter().find(is_about).map_or(&self.default, |rule| &rule.routing)
    }
}

/// When a push of `event` to one user falls due, as decided before the notification is stored.
///
/// A user who is online gets the routing's `ack_wait` to acknowledge on a live session, one who is not
/// is pushed to at once. `None`: no push, whatever happens.
#[must_use]
pub fn first_push_at(
    event: &Event,
    is_online: bool,
    routing: &Routing,
    now: Timestamp,
) -> Option<Timestamp> {
    if routing.push.is_none() || event.priority < routing.push_from {
        return None;
    }
    let due = if is_online { now.after(routing.ack_wait) } else { now };
    match event.expires_at() {
        Some(expires) if expires <= due => None,
        _ => Some(due),
    }
}

/// Where a notification whose push has fallen due goes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// To these devices; never empty.
    Push {
        /// All of them at once, or one after the other until one has it, as [`PushTo`] says.
        devices: Vec<&'a Device>,
        /// How.
        style: PushStyle,
    },
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
    /// The user has no device that it may be pushed to.
    NoDevice,
    /// The routing says so. It said otherwise when the notification was stored.
    Routing,
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
            Self::Routing => "routing",
        }
    }
}

/// Decides, when its push falls due, where `notification` goes.
///
/// `inbox` is the state of the user's inbox now: what was acknowledged on a live session, or seen, read
/// or archived anywhere, on whatever node. Of `devices` those of the routing's channels are pushed to;
/// for [`PushTo::First`] they come in the order in which they are tried.
#[must_use]
pub fn route_notification<'a>(
    notification: &Notification,
    inbox: &InboxState,
    devices: &'a [Device],
    routing: &Routing,
    now: Timestamp,
) -> Route<'a> {
    let state = &notification.state;
    let is_handled = state.seen_at.or(state.read_at).or(state.archived_at).is_some();
    if is_handled && routing.unless != Unless::Nothing {
        return Route::InboxOnly(InboxOnly::Handled);
    }
    if inbox.acked().contains(notification.seq()) && routing.unless == Unless::Acknowledged {
        return Route::InboxOnly(InboxOnly::Acknowledged);
    }
    if notification.event.expires_at().is_some_and(|expires| expires <= now) {
        return Route::InboxOnly(InboxOnly::Expired);
    }
    let Some(style) = routing.push else {
        return Route::InboxOnly(InboxOnly::Routing);
    };
    let devices = match routing.to {
        PushTo::All => devices.iter().filter(|it| rank(it, routing).is_some()).collect(),
        PushTo::First => in_order(devices, routing),
    };
    if devices.is_empty() {
        return Route::InboxOnly(InboxOnly::NoDevice);
    }
    Route::Push { devices, style }
}

/// The devices that [`PushTo::First`] tries once `tried` has failed. All of them if that one is unknown
/// by now: nobody can say which had been tried before it, and once more is better than never.
#[must_use]
pub fn next_devices<'a>(
    devices: &'a [Device],
    tried: &DeviceId,
    routing: &Routing,
) -> Vec<&'a Device> {
    let mut left = in_order(devices, routing);
    match left.iter().position(|device| device.id == *tried) {
        Some(place) => left.split_off(place + 1),
        None => left,
    }
}

/// Devices of allowed channels: the preferred channel first, within it the one registered last.
fn in_order<'a>(devices: &'a [Device], routing: &Routing) -> Vec<&'a Device> {
    let mut ranked: Vec<_> =
        devices.iter().filter_map(|it| Some((rank(it, routing)?, it))).collect();
    ranked.sort_by(|(a_rank, a), (b_rank, b)| {
        let key = |rank, device: &'a Device| (rank, Reverse(device.registered_at), &device.id);
        key(*a_rank, a).cmp(&key(*b_rank, b))
    });
    ranked.into_iter().map(|(_, device)| device).collect()
}

/// The place of the device's channel among those of the routing, if it is one of them.
fn rank(device: &Device, routing: &Routing) -> Option<usize> {
    let channel = device.platform.channel();
    routing.channels.iter().position(|it| *it == channel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{Platform, PushToken},
        event::IncomingEvent,
        ids::{InboxNumber, NotificationId, Seq, UserId},
        notification::NotificationState,
    };

    fn now() -> Timestamp {
        Timestamp::from_millis(1_000_000_000)
    }

    fn event(event_type: &str, priority: &str, ttl_seconds: u64) -> std::sync::Arc<Event> {
        let json = serde_json::json!({
            "id": "e", "source": "s", "type": event_type, "audience": {"users": ["ann"]},
            "priority": priority, "ttl_seconds": ttl_seconds,
        });
        IncomingEvent::from_json(json.to_string().as_bytes(), now()).unwrap().event
    }

    fn notification(state: NotificationState) -> Notification {
        Notification {
            id: NotificationId { inbox: InboxNumber(1), seq: Seq(3) },
            user: UserId::new("ann").unwrap(),
            event: event("t", "normal", 60),
            created_at: now(),
            state,
        }
    }

    fn device(id: &str, platform: Platform, registered_s: u64) -> Device {
        let token = PushToken::new("token".into()).unwrap();
        let (user, id) = (UserId::new("ann").unwrap(), DeviceId::new(id).unwrap());
        Device::new(
            user,
            id,
            platform,
            "app",
            token,
            now().after(Duration::from_secs(registered_s)),
        )
    }

    fn inbox() -> InboxState {
        InboxState { last_seq: Seq(3), acked_seq: Seq(2), unread: 1, ..InboxState::default() }
    }

    fn ids<'a>(devices: &[&'a Device]) -> Vec<&'a str> {
        devices.iter().map(|it| it.id.as_str()).collect()
    }

    #[test]
    fn the_first_rule_that_fits_type_and_priority_counts() {
        let routing = |secs| Routing { ack_wait: Duration::from_secs(secs), ..Routing::default() };
        let rule = |types: &[&str], from, secs| RoutingRule {
            types: types.iter().map(|it| TypePattern::new(it).unwrap()).collect(),
            from,
            routing: routing(secs),
        };
        let policy = RoutingPolicy {
            default: routing(0),
            rules: vec![
                rule(&["call", "chat.*"], Priority::Low, 1),
                rule(&["chat.typing"], Priority::Low, 2),
                rule(&[], Priority::High, 3),
            ],
        };
        let wait =
            |event_type, priority| policy.of(&event(event_type, priority, 60)).ack_wait.as_secs();
        assert_eq!(wait("call", "low"), 1);
        assert_eq!(wait("caller", "low"), 0);
        assert_eq!(wait("chat.typing", "high"), 1, "the first that fits, not the closest");
        assert_eq!(wait("like", "high"), 3);
        assert_eq!(wait("like", "normal"), 0);
        for bad in ["", "a*b", "**"] {
            assert!(TypePattern::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_low_priority_is_not_pushed_by_default_and_inbox_only_never() {
        let routing = Routing::default();
        assert_eq!(first_push_at(&event("t", "low", 60), false, &routing, now()), None);
        assert_eq!(first_push_at(&event("t", "high", 60), false, &routing, now()), Some(now()));
        let inbox_only = Routing { push: None, ..routing };
        assert_eq!(first_push_at(&event("t", "high", 60), false, &inbox_only, now()), None);
        let phone = [device("phone", Platform::Fcm, 0)];
        let fresh = notification(NotificationState::default());
        assert_eq!(
            route_notification(&fresh, &inbox(), &phone, &inbox_only, now()),
            Route::InboxOnly(InboxOnly::Routing)
        );
    }

    #[test]
    fn what_expires_before_its_push_is_due_is_not_pushed() {
        let routing = Routing::default();
        assert_eq!(first_push_at(&event("t", "high", 5), true, &routing, now()), None);
        let due = now().after(routing.ack_wait);
        assert_eq!(first_push_at(&event("t", "high", 6), true, &routing, now()), Some(due));
    }

    #[test]
    fn a_push_that_falls_due_goes_to_every_device_unless_there_is_a_reason_not_to() {
        let routing = Routing::default();
        let devices = [device("phone", Platform::Fcm, 0), device("pad", Platform::Apns, 1)];
        let fresh = notification(NotificationState::default());
        let style = PushStyle::Alert;
        assert_eq!(
            route_notification(&fresh, &inbox(), &devices, &routing, now()),
            Route::Push { devices: devices.iter().collect(), style }
        );
        let inbox_only = |notification: &Notification, acked, devices: &[Device], later| {
            let inbox = InboxState { acked_seq: Seq(acked), ..inbox() };
            let later = now().after(Duration::from_secs(later));
            match route_notification(notification, &inbox, devices, &routing, later) {
                Route::InboxOnly(why) => why,
                Route::Push { .. } => panic!("pushed"),
            }
        };
        let seen = notification(NotificationState { seen_at: Some(now()), ..Default::default() });
        assert_eq!(inbox_only(&seen, 0, &devices, 0), InboxOnly::Handled);
        assert_eq!(inbox_only(&fresh, 3, &devices, 0), InboxOnly::Acknowledged);
        // A session that began after it says nothing of it.
        let later = InboxState { acked_seq: Seq(4), acked_after: Seq(3), ..inbox() };
        let route = route_notification(&fresh, &later, &devices, &routing, now());
        assert_eq!(route, Route::Push { devices: devices.iter().collect(), style });
        assert_eq!(inbox_only(&fresh, 0, &devices, 60), InboxOnly::Expired);
        assert_eq!(inbox_only(&fresh, 0, &[], 0), InboxOnly::NoDevice);
    }

    #[test]
    fn routing_says_what_makes_a_push_needless() {
        let devices = [device("phone", Platform::Fcm, 0)];
        let is_pushed = |notification: &Notification, unless| {
            let acked = InboxState { acked_seq: Seq(3), ..inbox() };
            let routing = Routing { unless, ..Routing::default() };
            let route = route_notification(notification, &acked, &devices, &routing, now());
            matches!(route, Route::Push { .. })
        };
        let fresh = notification(NotificationState::default());
        let read = notification(NotificationState { read_at: Some(now()), ..Default::default() });
        for (unless, acknowledged, handled) in [
            (Unless::Acknowledged, false, false),
            (Unless::Handled, true, false),
            (Unless::Nothing, true, true),
        ] {
            assert_eq!(is_pushed(&fresh, unless), acknowledged, "{unless:?}");
            assert_eq!(is_pushed(&read, unless), handled, "{unless:?}");
        }
    }

    #[test]
    fn one_after_the_other_begins_with_the_preferred_channel_and_the_latest_registration() {
        let devices = [
            device("old", Platform::Apns, 1),
            device("android", Platform::Fcm, 9),
            device("browser", Platform::WebPush, 7),
            device("new", Platform::Apns, 5),
        ];
        let routing = Routing {
            to: PushTo::First,
            channels: vec![Channel::WebPush, Channel::Apns],
            ..Routing::default()
        };
        let fresh = notification(NotificationState::default());
        let Route::Push { devices: order, .. } =
            route_notification(&fresh, &inbox(), &devices, &routing, now())
        else {
            panic!("not pushed");
        };
        assert_eq!(ids(&order), ["browser", "new", "old"]);
        let after = |id| next_devices(&devices, &DeviceId::new(id).unwrap(), &routing);
        assert_eq!(ids(&after("browser")), ["new", "old"]);
        assert_eq!(ids(&after("old")), [""; 0]);
        assert_eq!(ids(&after("gone")), ["browser", "new", "old"]);
    }
}
