//! What happened, and to whom it matters.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    clock::Timestamp,
    ids::{EventId, SourceId, UserId},
};

/// The longest event as JSON, in bytes: the sum of the limits below, with room for escapes.
pub const MAX_EVENT_BYTES: usize = 2 * 1024 * 1024;
/// The longest title, in bytes.
pub const MAX_TITLE_BYTES: usize = 256;
/// The longest body, in bytes.
pub const MAX_BODY_BYTES: usize = 4 * 1024;
/// The longest `data`, in bytes of JSON as it was sent.
pub const MAX_DATA_BYTES: usize = 16 * 1024;
/// The longest `object.url`, in bytes.
pub const MAX_URL_BYTES: usize = 2 * 1024;
/// The most users that an audience can name.
pub const MAX_NAMED_USERS: usize = 10_000;
/// The longest life of a notification, in seconds: one year.
pub const MAX_TTL_SECS: u64 = 366 * 24 * 60 * 60;

/// Something that happened in the app, as its backend reports it, without its audience.
///
/// `(source, id)` is its identity: a second event with the same identity is the same event, and the
/// content that arrived first stands.
#[derive(Debug, Clone)]
pub struct Event {
    /// The producer's own id.
    pub id: EventId,
    /// The producer.
    pub source: SourceId,
    /// What kind of thing happened, for example `like`. 1 to 128 bytes.
    pub event_type: String,
    /// When it happened, as the producer says.
    pub time: Timestamp,
    /// Who did it.
    pub actor: Option<UserId>,
    /// What it was done to.
    pub object: Option<ObjectRef>,
    /// One line for a lock screen; may be empty. At most [`MAX_TITLE_BYTES`].
    pub title: String,
    /// The text below the title; may be empty. At most [`MAX_BODY_BYTES`].
    pub body: String,
    /// Any JSON, handed to the app as it was sent. At most [`MAX_DATA_BYTES`].
    pub data: Option<Box<RawValue>>,
    /// How much the user would mind missing it.
    pub priority: Priority,
    /// How long it is worth delivering, from `time`.
    pub ttl: Option<Duration>,
    /// Notifications with the same group replace each other on a lock screen. 1 to 128 bytes.
    pub group: Option<String>,
}

impl Event {
    /// When the event is no longer worth delivering.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.ttl.map(|ttl| self.time.after(ttl))
    }

    /// About how many bytes the event takes in memory and in a store.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let data = self.data.as_ref().map_or(0, |data| data.get().len());
        let object = self.object.as_ref().map_or(0, |object| {
            object.object_type.len() + object.id.len() + object.url.as_ref().map_or(0, String::len)
        });
        128 + self.id.as_str().len()
            + self.source.as_str().len()
            + self.event_type.len()
            + self.title.len()
            + self.body.len()
            + self.group.as_ref().map_or(0, String::len)
            + data
            + object
    }
}

/// What an event is about, in the app's own terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// For example `post`. 1 to 128 bytes.
    #[serde(rename = "type")]
    pub object_type: String,
    /// The app's id for it. 1 to 128 bytes.
    pub id: String,
    /// Where the app shows it. At most [`MAX_URL_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// How much the user would mind missing a notification.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Worth a look some time.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Now.
    High,
}

impl Priority {
    /// The name in JSON and in a store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// Who should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// These users: 1 to [`MAX_NAMED_USERS`], each once.
    Users(Vec<UserId>),
    /// Everyone who follows this user when the event is planned.
    FollowersOf(UserId),
}

/// An event with its audience, as a producer sends it.
#[derive(Debug, Clone)]
pub struct IncomingEvent {
    /// What happened.
    pub event: Arc<Event>,
    /// Who should be told.
    pub audience: Audience,
}
