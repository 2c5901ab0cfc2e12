//! From an event and the people it concerns to the rows of a batch.

use std::{collections::HashSet, sync::Arc};

use crate::{
    batch::{PlannedEvent, Recipient},
    clock::Timestamp,
    event::Event,
    ids::UserId,
    route::{self, RoutingPolicy},
};

/// Plans `event` for `users`, one row each, with the time at which a push falls due.
///
/// `is_online` says whether a live session of the user is open now. A user that occurs twice counts
/// once. The order of `users` is kept.
#[must_use]
pub fn plan_event(
    event: &Arc<Event>,
    users: impl IntoIterator<Item = UserId>,
    is_online: impl Fn(&UserId) -> bool,
    policy: &RoutingPolicy,
    now: Timestamp,
) -> PlannedEvent {
    let mut seen = HashSet::new();
    let mut recipients = Vec::new();
    for user in users {
        if seen.contains(&user) {
            continue;
        }
        let push_at = route::first_push_at(event, is_online(&user), policy, now);
        seen.insert(user.clone());
        recipients.push(Recipient { user, push_at });
    }
    PlannedEvent { event: Arc::clone(event), recipients, fan_out: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::IncomingEvent;

    #[test]
    fn every_user_is_planned_once_and_the_absent_are_pushed_to_at_once() {
        let now = Timestamp::from_millis(1_000_000);
        let json = br#"{"id":"e","source":"s","type":"t","audience":{"users":["x"]}}"#;
        let event = IncomingEvent::from_json(json, now).unwrap().event;
        let [ann, ben] = ["ann", "ben"].map(|id| UserId::new(id).unwrap());
        let policy = RoutingPolicy::default();
        let users = [ann.clone(), ben.clone(), ann.clone()];
        let planned = plan_event(&event, users, |user| *user == ann, &policy, now);
        let expected = [
            Recipient { user: ann, push_at: Some(now.after(policy.ack_wait)) },
            Recipient { user: ben, push_at: Some(now) },
        ];
        assert_eq!(planned.recipients, expected);
    }
}
