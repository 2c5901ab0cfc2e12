//! From an event and the people it concerns to the rows of a batch.

use std::sync::Arc;

use crate::{
    batch::{PlannedEvent, Recipient},
    clock::Timestamp,
    event::Event,
    ids::UserId,
    route::{self, RoutingPolicy},
};

/// Plans `event` for `users`, each of whom occurs once, with the time at which a push falls due. The
/// order of `users` is kept.
///
/// `is_online` says whether a live session of the user is open now.
#[must_use]
pub fn plan_event(
    event: &Arc<Event>,
    users: impl IntoIterator<Item = UserId>,
    is_online: impl Fn(&UserId) -> bool,
    policy: &RoutingPolicy,
    now: Timestamp,
) -> PlannedEvent {
    let users = users.into_iter();
    let routing = policy.of(event);
    let mut recipients = Vec::with_capacity(users.size_hint().1.unwrap_or(1));
    for user in users {
        let push_at = route::first_push_at(event, is_online(&user), routing, now);
        recipients.push(Recipient { user, push_at });
    }
    PlannedEvent { event: Arc::clone(event), recipients, fan_out: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::IncomingEvent;

    #[test]
    fn the_absent_are_pushed_to_at_once_and_the_others_if_they_do_not_look() {
        let now = Timestamp::from_millis(1_000_000);
        let json = br#"{"id":"e","source":"s","type":"t","audience":{"users":["x"]}}"#;
        let event = IncomingEvent::from_json(json, now).unwrap().event;
        let [ann, ben] = ["ann", "ben"].map(|id| UserId::new(id).unwrap());
        let policy = RoutingPolicy::default();
        let users = [ann.clone(), ben.clone()];
        let planned = plan_event(&event, users, |user| *user == ann, &policy, now);
        let expected = [
            Recipient { user: ann, push_at: Some(now.after(policy.default.ack_wait)) },
            Recipient { user: ben, push_at: Some(now) },
        ];
        assert_eq!(planned.recipients, expected);
    }
}
