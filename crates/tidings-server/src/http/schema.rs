//! Shapes of the API for OpenAPI, and the answers that have no other home.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_core::{
    event::{ObjectRef, Priority},
    follow::FollowCounts,
    inbox::InboxState,
    notification::Notification,
};
use utoipa::ToSchema;

/// Something that happened in the app.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "documents what `IncomingEvent::from_json` reads")]
pub struct EventSchema {
    /// The producer's own id, 1 to 128 bytes. `(source, id)` is the event's identity.
    #[schema(example = "evt_01J")]
    id: String,
    /// The producer, 1 to 128 bytes.
    #[schema(example = "posts")]
    source: String,
    /// What kind of thing happened, 1 to 128 bytes.
    #[schema(example = "like")]
    r#type: String,
    /// When it happened (RFC 3339); the time of arrival unless told.
    time: Option<String>,
    /// Who did it, 1 to 128 bytes.
    #[schema(example = "u_42")]
    actor: Option<String>,
    /// Who should be told.
    audience: AudienceSchema,
    /// What it was done to.
    object: Option<ObjectSchema>,
    /// One line for a lock screen, at most 256 bytes.
    title: Option<String>,
    /// The text below, at most 4096 bytes.
    body: Option<String>,
    /// Any JSON of at most 16384 bytes, handed to the app as it was sent.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// How much the user would mind missing it.
    #[schema(value_type = Option<PrioritySchema>)]
    priority: Option<Priority>,
    /// How long it is worth delivering, in seconds, 1 to 31622400.
    ttl_seconds: Option<u64>,
    /// Notifications with the same group replace each other on a lock screen, 1 to 128 bytes.
    group: Option<String>,
}

/// Exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Audience)]
#[expect(dead_code, reason = "documents what `IncomingEvent::from_json` reads")]
pub struct AudienceSchema {
    /// These users, 1 to 10000.
    #[schema(example = json!(["u_7"]))]
    users: Option<Vec<String>>,
    /// Everyone who follows this user.
    followers_of: Option<String>,
}

/// What an event is about, in the app's own terms.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Object)]
pub struct ObjectSchema {
    /// For example `post`, 1 to 128 bytes.
    r#type: String,
    /// The app's id for it, 1 to 128 bytes.
    id: String,
    /// Where the app shows it, at most 2048 bytes.
    url: Option<String>,
}

/// How much the user would mind missing it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Priority)]
#[serde(rename_all = "lowercase")]
pub enum PrioritySchema {
    /// Worth a look some time.
    Low,
    /// The usual.
    Normal,
    /// Now.
    High,
}

/// One person's copy of an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notification)]
pub struct NotificationSchema {
    /// Names it in the whole installation.
    #[schema(format = "uuid")]
    id: String,
    /// Its place in the inbox: 1, 2, 3 … without holes.
    seq: u64,
    /// When it was stored.
    created_at: String,
    /// When it was first shown to the user.
    seen_at: Option<String>,
    /// When the user opened it.
    read_at: Option<String>,
    /// When the user put it away.
    archived_at: Option<String>,
    /// The event's id.
    event_id: String,
    /// The event's producer.
    source: String,
    /// What kind of thing happened.
    r#type: String,
    /// When it happened.
    time: String,
    /// Who did it.
    actor: Option<String>,
    /// What it was done to.
    #[schema(value_type = Option<ObjectSchema>)]
    object: Option<ObjectRef>,
    /// One line for a lock screen.
    title: String,
    /// The text below.
    body: String,
    /// The app's own JSON.
    data: Option<serde_json::Value>,
    /// How much the user would mind missing it.
    #[schema(value_type = PrioritySchema)]
    priority: Priority,
    /// Notifications with the same group replace each other on a lock screen.
    group: Option<String>,
    /// When it is no longer worth delivering.
    expires_at: Option<String>,
}

/// A part of an inbox, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboxPage {
    /// The notifications.
    #[schema(value_type = Vec<NotificationSchema>)]
    pub items: Vec<Notification>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Notifications that are neither read nor archived, in the whole inbox.
    pub unread: u64,
    /// The newest notification's `seq`; 0 for an empty inbox.
    pub last_seq: u64,
}

/// An inbox's counters.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboxCounters {
    /// Notifications that are neither read nor archived.
    pub unread: u64,
    /// The newest notification's `seq`; 0 for an empty inbox.
    pub last_seq: u64,
    /// Up to here live sessions acknowledged everything since `acked_after`.
    pub acked_seq: u64,
    /// Where what live sessions acknowledged begins: one that began at the newest notification says
    /// nothing of those before.
    pub acked_after: u64,
    /// Everything up to here was too old and is gone; 0 while the inbox is whole.
    pub forgotten_seq: u64,
}

impl From<InboxState> for InboxCounters {
    fn from(state: InboxState) -> Self {
        let InboxState { last_seq, acked_seq, acked_after, unread, forgotten_seq } = state;
        Self {
            unread,
            last_seq: last_seq.0,
            acked_seq: acked_seq.0,
            acked_after: acked_after.0,
            forgotten_seq: forgotten_seq.0,
        }
    }
}

/// How many edges a user has.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counts {
    /// Who follow the user.
    pub followers: u64,
    /// Whom the user follows.
    pub following: u64,
}

impl From<FollowCounts> for Counts {
    fn from(counts: FollowCounts) -> Self {
        Self { followers: counts.followers, following: counts.following }
    }
}
