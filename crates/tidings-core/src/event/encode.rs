//! An event as a producer would have sent it.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Audience, Event, IncomingEvent, ObjectRef, Priority};
use crate::{clock::Timestamp, ids::UserId};

#[derive(Serialize)]
struct Wire<'a> {
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a UserId>,
    audience: WireAudience<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a ObjectRef>,
    title: &'a str,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    priority: Priority,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum WireAudience<'a> {
    Users(&'a [UserId]),
    FollowersOf(&'a UserId),
}

impl IncomingEvent {
    /// The event as JSON that [`Self::from_json`] reads as the same event.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it does not panic")]
    pub fn to_json(&self) -> Vec<u8> {
        let event: &Event = &self.event;
        let wire = Wire {
            id: event.id.as_str(),
            source: event.source.as_str(),
            event_type: &event.event_type,
            time: event.time,
            actor: event.actor.as_ref(),
            audience: match &self.audience {
                Audience::Users(users) => WireAudience::Users(users),
                Audience::FollowersOf(user) => WireAudience::FollowersOf(user),
            },
            object: event.object.as_ref(),
            title: &event.title,
            body: &event.body,
            data: event.data.as_deref(),
            priority: event.priority,
            ttl_seconds: event.ttl.map(|ttl| ttl.as_secs()),
            group: event.group.as_deref(),
        };
        #[expect(
            clippy::expect_used,
            reason = "no map has a key that is not a text, no value fails"
        )]
        serde_json::to_vec(&wire).expect("every part of an event can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same_event() {
        let now = Timestamp::from_millis(1_700_000_000_123);
        let full = r#"{"id":"e","source":"s","type":"t","time":"2026-11-23T09:00:00.5Z","actor":"a",
            "audience":{"users":["ann","ben \"b\""]},"object":{"type":"post","id":"p","url":"app://p"},
            "title":"A \u2028 title","body":"b","data":{"x": [1.50, null]},"priority":"high",
            "ttl_seconds":60,"group":"g"}"#;
        let least = r#"{"id":"e","source":"s","type":"t","audience":{"followers_of":"star"}}"#;
        for json in [full, least] {
            let event = IncomingEvent::from_json(json.as_bytes(), now).unwrap();
            let again =
                IncomingEvent::from_json(&event.to_json(), Timestamp::from_millis(0)).unwrap();
            assert_eq!(format!("{again:?}"), format!("{event:?}"));
        }
    }
}
