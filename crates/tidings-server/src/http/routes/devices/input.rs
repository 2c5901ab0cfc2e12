//! What an app sends of a device, and what is checked of it.

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use reqwest::Url;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tidings_core::{
    clock::Timestamp,
    device::{Device, DeviceDetails, Environment, Platform, PushToken, WebPushKeys},
    ids::{DeviceId, EventId, UserId},
};
use utoipa::ToSchema;

use crate::http::error::Problem;

/// Lengths of an APNs token in hexadecimal digits. Apple promises none; they have had 64 for long.
const APNS_TOKEN_DIGITS: std::ops::RangeInclusive<usize> = 64..=200;

/// Base64 as browsers write it, with or without padding.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The push services by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PlatformName {
    Apns,
    Fcm,
    WebPush,
}

impl From<Platform> for PlatformName {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::Apns => Self::Apns,
            Platform::Fcm => Self::Fcm,
            Platform::WebPush => Self::WebPush,
        }
    }
}

impl From<PlatformName> for Platform {
    fn from(name: PlatformName) -> Self {
        match name {
            PlatformName::Apns => Self::Apns,
            PlatformName::Fcm => Self::Fcm,
            PlatformName::WebPush => Self::WebPush,
        }
    }
}

/// APNs' two services by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EnvironmentName {
    Production,
    Sandbox,
}

impl From<Environment> for EnvironmentName {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self::Production,
            Environment::Sandbox => Self::Sandbox,
        }
    }
}

/// A device to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDevice {
    /// Which push service reaches it.
    platform: PlatformName,
    /// What APNs (64 to 200 hexadecimal digits) or FCM knows it by; never shown again.
    token: Option<String>,
    /// Of a browser, instead of `token`; never shown again.
    subscription: Option<Subscription>,
    /// The app: APNs topic (bundle id), Android application id, or a name for the web app, 1 to 128 bytes.
    app: String,
    /// Which of APNs' services knows the token: `sandbox` for apps that were built for development.
    /// `production` unless told.
    environment: Option<EnvironmentName>,
    /// The language of its user interface, a BCP 47 tag of at most 64 bytes.
    #[schema(example = "de-AT")]
    locale: Option<String>,
    /// Its time zone, a name of the IANA database.
    #[schema(example = "Europe/Vienna")]
    time_zone: Option<String>,
    /// The app's version, 1 to 64 bytes.
    #[schema(example = "4.2.0")]
    app_version: Option<String>,
}

/// A browser's `PushSubscription` as its `toJSON` gives it.
#[derive(Deserialize, ToSchema)]
#[schema(as = PushSubscription)]
pub(super) struct Subscription {
    /// Where the browser's push service takes messages for it: `https`, a host name, no user, no fragment.
    endpoint: String,
    /// Not used: the push service says when the subscription is over.
    #[serde(rename = "expirationTime")]
    #[schema(value_type = Option<f64>)]
    _expiration_time: Option<IgnoredAny>,
    /// What messages are encrypted with.
    keys: SubscriptionKeys,
}

/// The keys of a browser's subscription, in base64url.
#[derive(Deserialize, ToSchema)]
#[schema(as = PushSubscriptionKeys)]
pub(super) struct SubscriptionKeys {
    /// The browser's public key: an uncompressed point on P-256, 65 bytes.
    p256dh: String,
    /// The authentication secret, 16 bytes.
    auth: String,
}

impl NewDevice {
    /// Checks everything, and makes the device that is registered now.
    pub(super) fn into_device(
        self,
        user: UserId,
        id: DeviceId,
        now: Timestamp,
    ) -> Result<Device, Problem> {
        let platform = Platform::from(self.platform);
        // An app's name has the same form as an id.
        EventId::new(&self.app).map_err(|error| Problem::bad_input("app", error.to_string()))?;
        let (token, web_push) = address(platform, self.token, self.subscription)?;
        let environment = match self.environment {
            None | Some(EnvironmentName::Production) => Environment::Production,
            Some(EnvironmentName::Sandbox) if platform == Platform::Apns => Environment::Sandbox,
            Some(EnvironmentName::Sandbox) => {
                return Err(Problem::bad_input("environment", "is sandbox, which only APNs has"));
            }
        };
        let details = DeviceDetails {
            locale: self.locale,
            time_zone: self.time_zone,
            app_version: self.app_version,
        };
        details.check().map_err(|error| Problem::bad_input(error.field(), error.to_string()))?;
        let device = Device::new(user, id, platform, &self.app, token, now);
        Ok(Device { environment, web_push, details, ..device })
    }
}

/// What the platform's push service knows the device by.
fn address(
    platform: Platform,
    token: Option<String>,
    subscription: Option<Subscription>,
) -> Result<(PushToken, Option<WebPushKeys>), Problem> {
    match (platform, token, subscription) {
        (Platform::WebPush, None, Some(subscription)) => {
            let token = endpoint(&subscription.endpoint)?;
            Ok((token, Some(keys(&subscription.keys)?)))
        }
        (Platform::WebPush, Some(_), _) => {
            Err(Problem::bad_input("token", "a browser has a subscription instead"))
        }
        (Platform::WebPush, None, None) => Err(Problem::bad_input(
            "subscription",
            "is missing: PushSubscription.toJSON() makes it",
        )),
        (_, _, Some(_)) => Err(Problem::bad_input("subscription", "only browsers have one")),
        (_, None, None) => Err(Problem::bad_input("token", "is missing")),
        (Platform::Apns, Some(token), None) => apns_token(&token).map(|token| (token, None)),
        (Platform::Fcm, Some(token), None) => push_token("token", token).map(|token| (token, None)),
    }
}

fn push_token(field: &str, text: String) -> Result<PushToken, Problem> {
    PushToken::new(text).map_err(|error| Problem::bad_input(field, error.to_string()))
}

fn apns_token(text: &str) -> Result<PushToken, Problem> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !APNS_TOKEN_DIGITS.contains(&text.len()) {
        let (least, most) = APNS_TOKEN_DIGITS.into_inner();
        let problem = format!("an APNs token has {least} to {most} hexadecimal digits");
        return Err(Problem::bad_input("token", problem));
    }
    // Written either way it is one token.
    push_token("token", text.to_ascii_lowercase())
}

/// The node will send requests there, so it has to be what a browser's push service looks like. What
/// the name stands for is looked at when a connection is made.
fn endpoint(text: &str) -> Result<PushToken, Problem> {
    const FIELD: &str = "subscription.endpoint";
    let bad = |problem: &str| Err(Problem::bad_input(FIELD, problem));
    // Before anything else: a URL's reader passes over line breaks.
    push_token(FIELD, text.to_owned())?;
    let Ok(url) = Url::parse(text) else { return bad("is not a URL") };
    if url.scheme() != "https" {
        return bad("has to begin with https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("has a user or a password in it");
    }
    if url.fragment().is_some() {
        return bad("has a fragment");
    }
    // Of https there is no other kind: without a host it is not a URL.
    if url.domain().is_none() {
        return bad("names its host by an address; a name is needed");
    }
    // As this reader understood it, so that no other can understand it differently.
    push_token(FIELD, url.into())
}

fn keys(keys: &SubscriptionKeys) -> Result<WebPushKeys, Problem> {
    const P256DH: &str = "subscription.keys.p256dh";
    const AUTH: &str = "subscription.keys.auth";
    let p256dh: [u8; 65] = decode(P256DH, &keys.p256dh)?;
    let point = UnparsedPublicKey::new(&ECDH_P256, &p256dh);
    // 0x04 announces the uncompressed form; the library takes others too.
    if p256dh[0] != 4 || ParsedPublicKey::try_from(&point).is_err() {
        return Err(Problem::bad_input(P256DH, "is not an uncompressed point on P-256"));
    }
    Ok(WebPushKeys { p256dh, auth: decode(AUTH, &keys.auth)? })
}

fn decode<const N: usize>(field: &str, text: &str) -> Result<[u8; N], Problem> {
    let Ok(bytes) = BASE64_URL.decode(text) else {
        return Err(Problem::bad_input(field, "is not base64url"));
    };
    let len = bytes.len();
    bytes
        .try_into()
        .map_err(|_| Problem::bad_input(field, format!("has {len} bytes, {N} are needed")))
}
