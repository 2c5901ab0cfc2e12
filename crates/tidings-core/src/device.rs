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

/// The longest locale, time zone or app version of a device, in bytes.
pub const MAX_DETAIL_BYTES: usize = 64;

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
    /// APNs topic (bundle id), FCM application id, or the name of a web app. 1 to 128 bytes.
    pub app: String,
    /// Which of APNs' two services knows the token.
    pub environment: Environment,
    /// What a browser's pushes are encrypted with: there for [`Platform::WebPush`] and only there.
    pub web_push: Option<WebPushKeys>,
    /// What the app says of the installation.
    pub details: DeviceDetails,
    /// When this token was last registered; a push service's word that it died before counts less.
    pub registered_at: Timestamp,
}

impl Device {
    /// A device of the production environment, without details.
    #[must_use]
    pub fn new(
        user: UserId,
        id: DeviceId,
        platform: Platform,
        app: &str,
        token: PushToken,
        registered_at: Timestamp,
    ) -> Self {
        Self {
            id,
            user,
            platform,
            token,
            app: app.to_owned(),
            environment: Environment::Production,
            web_push: None,
            details: DeviceDetails::default(),
            registered_at,
        }
    }
}

/// APNs' two services. Tokens of one are unknown to the other.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Apps from the store, and everything of other platforms.
    #[default]
    Production,
    /// Apps that were built for development.
    Sandbox,
}

impl Environment {
    /// The name in JSON and in a store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Production, Self::Sandbox].into_iter().find(|it| it.as_str() == name)
    }
}

/// What an app says of an installation. Each is at most [`MAX_DETAIL_BYTES`] long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceDetails {
    /// The language tag of its user interface (BCP 47), for example `de-AT`.
    pub locale: Option<String>,
    /// Its time zone in the IANA database, for example `Europe/Vienna`.
    pub time_zone: Option<String>,
    /// The app's version, as the app names it.
    pub app_version: Option<String>,
}

/// What a browser's subscription is encrypted with (RFC 8291). `Debug` shows neither key.
#[derive(Clone, PartialEq, Eq)]
pub struct WebPushKeys {
    /// The browser's public key: an uncompressed point on P-256, `p256dh` in the browser's JSON.
    pub p256dh: [u8; 65],
    /// The authentication secret, `auth` in the browser's JSON.
    pub auth: [u8; 16],
}

impl fmt::Debug for WebPushKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebPushKeys(…)")
    }
}

/// The push services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
    /// A browser's push service (RFC 8030). The token is the endpoint of the subscription.
    WebPush,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Apns, Self::Fcm, Self::WebPush];

    /// The channel that the platform's pushes go through.
    #[must_use]
    pub fn channel(self) -> Channel {
        match self {
            Self::Apns => Channel::Apns,
            Self::Fcm => Channel::Fcm,
            Self::WebPush => Channel::WebPush,
        }
    }

    /// The name in JSON and in a store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.channel().as_str()
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
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
