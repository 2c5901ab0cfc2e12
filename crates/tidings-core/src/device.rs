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

/// What an app says of an installation is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceDetailError {
    /// The locale does not have the form of a language tag.
    #[error("a locale is a BCP 47 tag such as de-AT, of at most {MAX_DETAIL_BYTES} bytes")]
    Locale,
    /// Nobody knows the time zone.
    #[error("a time zone is a name of the IANA database such as Europe/Vienna")]
    TimeZone,
    /// The version is empty, too long, or could not be shown.
    #[error("a version has 1 to {MAX_DETAIL_BYTES} bytes and no control characters")]
    AppVersion,
}

impl DeviceDetailError {
    /// The field that is at fault.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Locale => "locale",
            Self::TimeZone => "time_zone",
            Self::AppVersion => "app_version",
        }
    }
}

impl DeviceDetails {
    /// Checks the form of all that is there. A locale is checked for its form only: which tags there
    /// are changes faster than servers do.
    ///
    /// # Errors
    ///
    /// [`DeviceDetailError`], for the first that does not fit.
    pub fn check(&self) -> Result<(), DeviceDetailError> {
        let fits = |text: &str| (1..=MAX_DETAIL_BYTES).contains(&text.len());
        if self.locale.as_deref().is_some_and(|it| !fits(it) || !is_language_tag(it)) {
            return Err(DeviceDetailError::Locale);
        }
        if self.time_zone.as_deref().is_some_and(|it| !fits(it) || !is_time_zone(it)) {
            return Err(DeviceDetailError::TimeZone);
        }
        let unshowable = |it: &str| !fits(it) || it.chars().any(char::is_control);
        if self.app_version.as_deref().is_some_and(unshowable) {
            return Err(DeviceDetailError::AppVersion);
        }
        Ok(())
    }
}

/// Whether `text` has the form of RFC 5646, section 2.1: subtags of 1 to 8 letters and digits, of which
/// the first is a language of 2 to 8 letters, or `x` before private ones.
fn is_language_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let Some(first) = subtags.next() else { return false };
    let rest: Vec<_> = subtags.collect();
    let is_private = first.eq_ignore_ascii_case("x") && !rest.is_empty();
    let is_language =
        (2..=8).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    let alphanumeric = |it: &&str| it.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_language || is_private)
        && rest.iter().all(|it| (1..=8).contains(&it.len()) && alphanumeric(it))
}

fn is_time_zone(name: &str) -> bool {
    jiff::tz::db().get(name).is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn locale(text: &str) -> Result<(), DeviceDetailError> {
        DeviceDetails { locale: Some(text.to_owned()), ..DeviceDetails::default() }.check()
    }

    #[test]
    fn a_locale_has_the_form_of_a_language_tag() {
        for tag in ["de", "de-AT", "zh-Hant-TW", "sl-rozaj-biske-1994", "x-ours", "en-x-a", "ast"] {
            assert_eq!(locale(tag), Ok(()), "{tag}");
        }
        let long = format!("en{}", "-abcdefgh".repeat(7));
        for text in
            ["", "d", "de_AT", "de-", "-de", "de--AT", "1de", "x", "de-toolongsub", "dé", &long]
        {
            assert_eq!(locale(text), Err(DeviceDetailError::Locale), "{text}");
        }
    }

    #[test]
    fn a_time_zone_is_one_of_the_database() {
        let zone = |text: &str| {
            DeviceDetails { time_zone: Some(text.to_owned()), ..DeviceDetails::default() }.check()
        };
        for name in ["Europe/Vienna", "America/Argentina/Buenos_Aires", "UTC", "Etc/GMT+7"] {
            assert_eq!(zone(name), Ok(()), "{name}");
        }
        for text in
            ["", "Europe/Atlantis", "+02:00", "CEST-1", "../../etc/passwd", "Europe/Vienna "]
        {
            assert_eq!(zone(text), Err(DeviceDetailError::TimeZone), "{text}");
        }
    }

    #[test]
    fn a_version_is_any_short_text_that_can_be_shown() {
        let version = |text: &str| {
            DeviceDetails { app_version: Some(text.to_owned()), ..DeviceDetails::default() }.check()
        };
        assert_eq!(version("4.2.0 (beta ü)"), Ok(()));
        for text in ["", "a\nb", &"x".repeat(65)] {
            assert_eq!(version(text), Err(DeviceDetailError::AppVersion), "{text:?}");
        }
    }
}
