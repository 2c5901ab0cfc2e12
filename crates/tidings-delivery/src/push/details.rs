//! What an app is told of a notification beside its texts.

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_core::{
    event::ObjectRef,
    ids::{EventId, Seq, SourceId, UserId},
    notification::Notification,
};

use super::fit::Content;

/// The notification as the inbox API shows it, as far as it fits.
#[derive(Serialize)]
pub(super) struct Details<'a> {
    seq: Seq,
    event_id: &'a EventId,
    source: &'a SourceId,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> Details<'a> {
    pub(super) fn of(notification: &'a Notification, content: &Content<'a>) -> Self {
        let event = &*notification.event;
        Self {
            seq: notification.seq(),
            event_id: &event.id,
            source: &event.source,
            event_type: &event.event_type,
            actor: event.actor.as_ref(),
            object: content.object,
            data: content.data,
        }
    }
}
