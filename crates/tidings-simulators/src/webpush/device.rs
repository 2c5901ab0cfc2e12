//! What a test can make of a subscription.

use std::time::Duration;

use super::refusal::Refusal;

/// What is the matter with a subscription. Those without a state are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebPushDeviceState {
    /// 404: the subscription has expired, as RFC 8030 has it.
    Expired,
    /// 410: the same, as push services in use say it.
    Gone,
    /// 413: this browser's push service takes less.
    TooLarge,
    /// 429, without saying when to come back.
    TooMany,
    /// 429 with `Retry-After` (whole seconds).
    TooManyRetryAfter(Duration),
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
            Self::TooMany => Refusal::TooMany(None),
            Self::TooManyRetryAfter(after) => Refusal::TooMany(Some(after)),
            Self::Offline => return None,
        })
    }
}

/// A failure of the push service's own that a test can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebPushFailure {
    /// 500.
    Internal,
    /// 503.
    Unavailable,
    /// 503 with `Retry-After` (whole seconds).
    UnavailableRetryAfter(Duration),
}

impl WebPushFailure {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Internal => Refusal::Internal,
            Self::Unavailable => Refusal::Unavailable(None),
            Self::UnavailableRetryAfter(after) => Refusal::Unavailable(Some(after)),
        }
    }
}
