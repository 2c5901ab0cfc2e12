//! Attempts to get a notification onto a screen, and what came of them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    device::Device,
    ids::{NotificationId, UserId},
    notification::Notification,
};

/// How a notification reaches a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// A live session.
    WebSocket,
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
    /// A browser's push service.
    WebPush,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::Apns, Self::Fcm, Self::WebPush];

    /// The name in JSON, in metrics and in a store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::WebPush => "webpush",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// One attempt to get one notification to one device or session: a row of the delivery log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The notification.
    pub notification: NotificationId,
    /// Whose it is.
    pub user: UserId,
    /// The way it went.
    pub channel: Channel,
    /// The device or session it went to. Empty for an attempt that had no target.
    pub target: String,
    /// Number of the attempt for this target, from 1.
    pub attempt: u32,
    /// When the attempt ended.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, in the provider's or our own word, for example `Unregistered`; of what was delivered, the part
    /// down to which it had to be cut, for example `truncated_body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The identity under which the provider knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider took it, or the session acknowledged it.
    Delivered,
    /// It failed and will be tried again.
    Retrying,
    /// It failed for good.
    Failed,
    /// It was not sent: already seen, expired, no device, or routing keeps it in the inbox.
    Skipped,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::Retrying, Self::Failed, Self::Skipped];

    /// The name in JSON, in metrics and in a store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// A notification on its way to one device.
#[derive(Debug, Clone)]
pub struct Push {
    /// The same on every attempt; see [`NotificationId::push_identity`].
    pub identity: Uuid,
    /// Where it goes.
    pub device: Device,
    /// What it says.
    pub notification: Arc<Notification>,
    /// The number on the app's icon: unread notifications.
    pub badge: u64,
    /// Whether the user notices.
    pub style: PushStyle,
}

/// Whether the user notices a push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushStyle {
    /// It shows, and sounds.
    #[default]
    Alert,
    /// Only the app is told, so that it can fetch what is new. Push services may delay these and drop
    /// some.
    Silent,
}

/// A push service's answer, reduced to what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was accepted.
    Delivered,
    /// The same push may be accepted later, not before `after` if that is given. Says nothing of
    /// other pushes.
    Retry {
        /// The least wait that the service asked for.
        after: Option<Duration>,
    },
    /// Nobody answered, by an accident of one connection that worked before: it says nothing of this
    /// push, and nothing of how others will fare.
    Interrupted,
    /// The service could not be reached, failed, or did not answer: others will hardly fare better.
    Unavailable {
        /// The least wait that the service asked for.
        after: Option<Duration>,
    },
    /// The service is asked more than it allows: all pushes that go to it have to go slower.
    SlowDown {
        /// The least wait that the service asked for.
        after: Option<Duration>,
    },
    /// This token is dead: the service said so of this very token.
    PruneToken {
        /// When it died; a registration after that is a new life and is kept.
        dead_since: Option<Timestamp>,
    },
    /// This push will never be accepted; others may.
    Reject,
    /// No push will be accepted before a person changes something: a key, a topic, a project.
    CallAPerson,
    /// The same of a part of what goes to the service under this credential; others may be accepted.
    CallAPersonFor(Concerned),
}

/// What a refusal concerns that does not concern everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Concerned {
    /// The app that this push is for.
    App,
    /// Devices that the service reaches in the way it reaches this one. Only it knows which they are.
    Devices,
}

/// What a push service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAnswer {
    /// What to do next.
    pub verdict: Verdict,
    /// The service's word for it, or ours when it did not answer.
    pub reason: Option<String>,
    /// The service's identity for the push.
    pub provider_id: Option<String>,
}
