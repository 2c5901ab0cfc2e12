//! Device tokens and the states that a test can put them in.

use serde::Deserialize;

use super::ApnsReason;

/// The shortest token that Apple has handed out: 32 bytes in hex.
const MIN_TOKEN_CHARS: usize = 64;

/// Apple announces tokens of variable length and no maximum; 100 bytes is what its own
/// `UIApplication` documentation once named. Inferred.
const MAX_TOKEN_CHARS: usize = 200;

/// What is the matter with a device. Devices without a state are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ApnsDeviceState {
    /// 400 `BadDeviceToken`: not a token of this environment.
    BadDeviceToken,
    /// 400 `DeviceTokenNotForTopic`: a token of another app.
    OtherTopic,
    /// 410 `Unregistered`: the app was removed.
    Unregistered {
        /// When that was confirmed last, milliseconds since 1970.
        since_ms: i64,
    },
    /// 410 `ExpiredToken`.
    ExpiredToken {
        /// When that was confirmed last, milliseconds since 1970.
        since_ms: i64,
    },
    /// The app was removed, and APNs does not know it yet: pushes are accepted, and get 410
    /// `Unregistered` later.
    UnregisteredLater {
        /// When it was removed, milliseconds since 1970.
        since_ms: i64,
        /// From when on APNs says so, milliseconds since 1970.
        answered_from_ms: i64,
    },
    /// 429 `TooManyRequests`: too many pushes to this device.
    TooManyRequests,
    /// Pushes are accepted. The newest of each topic is kept, unless its `apns-expiration` is 0.
    Offline,
}

impl ApnsDeviceState {
    /// The reason it is answered with at `now_ms`, and the `timestamp` beside it; none if pushes are
    /// accepted.
    pub(super) fn refusal(self, now_ms: i64) -> Option<(ApnsReason, Option<i64>)> {
        Some(match self {
            Self::BadDeviceToken => (ApnsReason::BadDeviceToken, None),
            Self::OtherTopic => (ApnsReason::DeviceTokenNotForTopic, None),
            Self::Unregistered { since_ms } => (ApnsReason::Unregistered, Some(since_ms)),
            Self::ExpiredToken { since_ms } => (ApnsReason::ExpiredToken, Some(since_ms)),
            Self::UnregisteredLater { since_ms, answered_from_ms }
                if now_ms >= answered_from_ms =>
            {
                (ApnsReason::Unregistered, Some(since_ms))
            }
            Self::TooManyRequests => (ApnsReason::TooManyRequests, None),
            Self::UnregisteredLater { .. } | Self::Offline => return None,
        })
    }
}

/// Whether `token` can be a device token at all: whole bytes in hex, 32 to 100 of them.
pub(super) fn is_well_formed(token: &str) -> bool {
    (MIN_TOKEN_CHARS..=MAX_TOKEN_CHARS).contains(&token.len())
        && token.len().is_multiple_of(2)
        && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}
