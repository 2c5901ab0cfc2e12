//! What a test can make of a subscription.

use std::time::Duration;

use serde::Deserialize;

use super::refusal::Refusal;

/// What is the matter with a subscription. Those without a state are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WebPushDeviceState {
    /// 404: the subscription has expired, as RFC 8030 has it.
    Expired,
    /// 410: the same, as push services in use say it.
    Gone,
    /// 413: this browser's push service takes less.
    TooLarge,
    /// 429.
    TooMany {
        /// `Retry-After`, if it says when to come back.
        retry_after_secs: Option<u64>,
    },
    /// The browser is not running: messages are accepted, and kept for their TTL. One with a topic
    /// takes the place of an earlier one with the same topic.
    Offline,
}

impl WebPushDeviceState {
    /// What it is answered with; none if messages are accepted.
    pub(super) fn refusal(self) -> Option<Refusal> {
        Some(match self {
            Self::Expired => Refusal::Expired,
            Self::Gone => Refusal::Gone,
            Self::TooLarge => Refusal::TooLarge,
            Self::TooMany { retry_after_secs } => {
                Refusal::TooMany(retry_after_secs.map(Duration::from_secs))
            }
            Self::Offline => return None,
        })
    }
}

/// A failure of the push service's own that a test can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum WebPushFailure {
    /// 500.
    Internal,
    /// 503.
    Unavailable {
        /// `Retry-After`, if it says when to come back.
        retry_after_secs: Option<u64>,
    },
}

impl WebPushFailure {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Internal => Refusal::Internal,
            Self::Unavailable { retry_after_secs } => {
                Refusal::Unavailable(retry_after_secs.map(Duration::from_secs))
            }
        }
    }
}
