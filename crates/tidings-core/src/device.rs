//! Installed apps and browsers that can be pushed to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    delivery::Channel,
    ids::{DeviceId, UserId},
};

/// The longest push token, in bytes. FCM tokens and Web Push endpoints stay well below.
pub const MAX_TOKEN_BYTES: usize = 4 * 1024;

/// An installed app or browser that can be pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The app's id for the installation; unique per user.
    pub id: DeviceId,
    /// Who is signed in there.
    pub user: UserId,
    /// Which push service reaches it.
    pub platform: Platform,
    /// What the push service knows it by. Unique per platform and app: a token that is registered
    /// for another user moves to that user.
    pub token: PushToken,
    /// APNs topic (bundle id) or FCM application id. 1 to 128 bytes.
    pub app: String,
    /// When this token was last registered; a push service's word that it died before counts less.
    pub registered_at: Timestamp,
}

/// The push services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
}

impl Platform {
    /// The channel that the platform's pushes go through.
    #[must_use]
    pub fn channel(self) -> Channel {
        match self {
            Self::Apns => Channel::Apns,
            Self::Fcm => Channel::Fcm,
        }
    }

    /// The name in JSON and in a store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.channel().as_str()
    }
}

/// What a push service knows a device by. A secret: neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PushToken(String);

/// The text cannot be a push token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a push token has 1 to {MAX_TOKEN_BYTES} visible ASCII characters")]
pub struct PushTokenError;

impl PushToken {
    /// Takes `text` as a token.
    ///
    /// # Errors
    ///
    /// [`PushTokenError`] when it is empty, too long, or could break out of a URL or a header.
    pub fn new(text: String) -> Result<Self, PushTokenError> {
        let fits = (1..=MAX_TOKEN_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(PushTokenError)
        }
    }

    /// The token itself, for the push service only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushToken(…)")
    }
}
