//! Registration tokens and the states that a test can put them in.

use std::time::Duration;

use serde::Deserialize;

use super::refusal::{Refusal, Status};

/// Longer than any registration token seen (about 160 characters) by far.
const MAX_TOKEN_CHARS: usize = 4_096;

/// A token of an app that was not opened for 270 days expires (Firebase, manage tokens).
const MAX_INACTIVE_MS: i64 = 270 * 86_400_000;

/// What is the matter with a registration token. Tokens without a state are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FcmDeviceState {
    /// 404 `UNREGISTERED`: the app was removed, or the token has expired.
    Unregistered,
    /// 403 `SENDER_ID_MISMATCH`: a token of another project.
    SenderIdMismatch,
    /// 429 `QUOTA_EXCEEDED`.
    QuotaExceeded {
        /// `Retry-After`, if it says when to come back.
        retry_after_secs: Option<u64>,
    },
    /// 400 `INVALID_ARGUMENT` on `message.token`.
    InvalidArgument,
    /// 401 `THIRD_PARTY_AUTH_ERROR`: the project's own APNs or Web Push credential is bad.
    ThirdPartyAuthError,
    /// The app is not opened any more: after 270 days its token has expired and is answered as
    /// `Unregistered` is.
    Inactive {
        /// When it was last seen, milliseconds since 1970.
        since_ms: i64,
    },
}

impl FcmDeviceState {
    /// What it is answered with at `now_ms`; none if messages are accepted.
    pub(super) fn refusal(self, now_ms: i64) -> Option<Refusal> {
        Some(match self {
            Self::Inactive { since_ms } if now_ms.saturating_sub(since_ms) < MAX_INACTIVE_MS => {
                return None;
            }
            Self::Unregistered | Self::Inactive { .. } => Refusal::plain(Status::Unregistered),
            Self::SenderIdMismatch => Refusal::plain(Status::SenderIdMismatch),
            Self::QuotaExceeded { retry_after_secs } => {
                Refusal::device_quota().retry_after(retry_after_secs.map(Duration::from_secs))
            }
            Self::InvalidArgument => invalid_token(),
            Self::ThirdPartyAuthError => Refusal::plain(Status::ThirdPartyAuthError),
        })
    }
}

/// A failure of Google's own that a test can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum FcmFailure {
    /// 500 `INTERNAL`.
    Internal,
    /// 503 `UNAVAILABLE`.
    Unavailable {
        /// `Retry-After`, if it says when to come back.
        retry_after_secs: Option<u64>,
    },
}

impl FcmFailure {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Internal => Refusal::plain(Status::Internal),
            Self::Unavailable { retry_after_secs } => Refusal::plain(Status::Unavailable)
                .retry_after(retry_after_secs.map(Duration::from_secs)),
        }
    }
}

/// The recorded answer to a token that is none.
pub(super) fn invalid_token() -> Refusal {
    Refusal::invalid_field("message.token", "Invalid registration token")
        .message("The registration token is not a valid FCM registration token")
}

/// Whether `token` can be a registration token: the characters that real ones are made of.
pub(super) fn is_well_formed(token: &str) -> bool {
    (1..=MAX_TOKEN_CHARS).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte))
}
