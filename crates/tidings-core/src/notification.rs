//! One person's copy of an event.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    clock::Timestamp,
    event::Event,
    ids::{NotificationId, Seq, UserId},
};

/// One person's copy of an event; belongs to one inbox.
///
/// As JSON it is flat: its own `id`, `seq` and times beside the event's fields, the event's own id
/// under `event_id`. The inbox API, WebSocket frames and exports all show this shape.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Names it in the whole installation, and holds its `seq`.
    pub id: NotificationId,
    /// Whose inbox it is in.
    pub user: UserId,
    /// What happened.
    pub event: Arc<Event>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// What the user has done with it.
    pub state: NotificationState,
}

/// What a user has done with a notification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotificationState {
    /// When it was first shown to the user.
    pub seen_at: Option<Timestamp>,
    /// When the user opened it.
    pub read_at: Option<Timestamp>,
    /// When the user put it away.
    pub archived_at: Option<Timestamp>,
}

impl Notification {
    /// Its place in the inbox.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.id.seq
    }
}

impl Serialize for Notification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = &*self.event;
        let mut out = serializer.serialize_struct("Notification", 18)?;
        out.serialize_field("id", &self.id)?;
        out.serialize_field("seq", &self.id.seq)?;
        out.serialize_field("created_at", &self.created_at)?;
        serialize_some(&mut out, "seen_at", self.state.seen_at.as_ref())?;
        serialize_some(&mut out, "read_at", self.state.read_at.as_ref())?;
        serialize_some(&mut out, "archived_at", self.state.archived_at.as_ref())?;
        out.serialize_field("event_id", &event.id)?;
        out.serialize_field("source", &event.source)?;
        out.serialize_field("type", &event.event_type)?;
        out.serialize_field("time", &event.time)?;
        serialize_some(&mut out, "actor", event.actor.as_ref())?;
        serialize_some(&mut out, "object", event.object.as_ref())?;
        out.serialize_field("title", &event.title)?;
        out.serialize_field("body", &event.body)?;
        serialize_some(&mut out, "data", event.data.as_ref())?;
        out.serialize_field("priority", &event.priority)?;
        serialize_some(&mut out, "group", event.group.as_ref())?;
        serialize_some(&mut out, "expires_at", event.expires_at().as_ref())?;
        out.end()
    }
}

fn serialize_some<S: SerializeStruct, T: Serialize>(
    out: &mut S,
    name: &'static str,
    value: Option<&T>,
) -> Result<(), S::Error> {
    match value {
        Some(value) => out.serialize_field(name, value),
        None => out.skip_field(name),
    }
}
