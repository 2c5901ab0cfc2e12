//! Apple's table of reasons, with their statuses.

use http::StatusCode;
use serde::Deserialize;

/// Why a push was refused, by Apple's own names ("Handling notification responses from APNs", read
/// 2026-11). Only what this simulator can answer is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApnsReason {
    /// The collapse id exceeds 64 bytes.
    BadCollapseId,
    /// The token is malformed, or of another environment.
    BadDeviceToken,
    /// `apns-expiration` is not a number of seconds.
    BadExpirationDate,
    /// `apns-id` is not a UUID.
    BadMessageId,
    /// `apns-priority` is not 10, 5 or 1, or 10 for a background push.
    BadPriority,
    /// `apns-topic` cannot be a topic.
    BadTopic,
    /// The device belongs to another topic.
    DeviceTokenNotForTopic,
    /// A header came more than once.
    DuplicateHeaders,
    /// The connection was idle for too long.
    IdleTimeout,
    /// `apns-push-type` is unknown.
    InvalidPushType,
    /// The path ends before the token.
    MissingDeviceToken,
    /// `apns-topic` is missing.
    MissingTopic,
    /// There is no payload that a device could use.
    PayloadEmpty,
    /// The provider may not push to this topic.
    TopicDisallowed,
    /// The provider token is older than an hour.
    ExpiredProviderToken,
    /// What was asked for is not allowed.
    Forbidden,
    /// The provider token is malformed, or its signature, key or team is wrong.
    InvalidProviderToken,
    /// There is no provider token.
    MissingProviderToken,
    /// The certificate is not one for push.
    BadCertificate,
    /// The certificate is of the other environment.
    BadCertificateEnvironment,
    /// The key that signed the provider token is of the other environment.
    BadEnvironmentKeyIdInToken,
    /// The key that signed the provider token is unrelated to that of the connection's first push; or it
    /// is not for this topic (inferred: Apple names no reason for that).
    UnrelatedKeyIdInToken,
    /// The path is not `/3/device/<token>`.
    BadPath,
    /// The method is not POST.
    MethodNotAllowed,
    /// The device token has expired.
    ExpiredToken,
    /// The app was removed from the device.
    Unregistered,
    /// The payload exceeds 4096 bytes, 5120 for `VoIP`.
    PayloadTooLarge,
    /// A second new provider token within 20 minutes on one connection.
    TooManyProviderTokenUpdates,
    /// Too many pushes to one device.
    TooManyRequests,
    /// Apple's fault.
    InternalServerError,
    /// Apple's fault, for now.
    ServiceUnavailable,
    /// The server is going away.
    Shutdown,
}

impl ApnsReason {
    /// The name in the body of the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadCollapseId => "BadCollapseId",
            Self::BadDeviceToken => "BadDeviceToken",
            Self::BadExpirationDate => "BadExpirationDate",
            Self::BadMessageId => "BadMessageId",
            Self::BadPriority => "BadPriority",
            Self::BadTopic => "BadTopic",
            Self::DeviceTokenNotForTopic => "DeviceTokenNotForTopic",
            Self::DuplicateHeaders => "DuplicateHeaders",
            Self::IdleTimeout => "IdleTimeout",
            Self::InvalidPushType => "InvalidPushType",
            Self::MissingDeviceToken => "MissingDeviceToken",
            Self::MissingTopic => "MissingTopic",
            Self::PayloadEmpty => "PayloadEmpty",
            Self::TopicDisallowed => "TopicDisallowed",
            Self::ExpiredProviderToken => "ExpiredProviderToken",
            Self::Forbidden => "Forbidden",
            Self::InvalidProviderToken => "InvalidProviderToken",
            Self::MissingProviderToken => "MissingProviderToken",
            Self::BadCertificate => "BadCertificate",
            Self::BadCertificateEnvironment => "BadCertificateEnvironment",
            Self::BadEnvironmentKeyIdInToken => "BadEnvironmentKeyIdInToken",
            Self::UnrelatedKeyIdInToken => "UnrelatedKeyIdInToken",
            Self::BadPath => "BadPath",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::ExpiredToken => "ExpiredToken",
            Self::Unregistered => "Unregistered",
            Self::PayloadTooLarge => "PayloadTooLarge",
            Self::TooManyProviderTokenUpdates => "TooManyProviderTokenUpdates",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalServerError => "InternalServerError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Shutdown => "Shutdown",
        }
    }

    /// Whether it is found only once the provider token was accepted.
    pub(super) fn comes_after_token(self) -> bool {
        let before = [
            Self::BadPath,
            Self::MethodNotAllowed,
            Self::MissingDeviceToken,
            Self::TooManyProviderTokenUpdates,
        ];
        self.status() != StatusCode::FORBIDDEN && !before.contains(&self)
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadCollapseId
            | Self::BadDeviceToken
            | Self::BadExpirationDate
            | Self::BadMessageId
            | Self::BadPriority
            | Self::BadTopic
            | Self::DeviceTokenNotForTopic
            | Self::DuplicateHeaders
            | Self::IdleTimeout
            | Self::InvalidPushType
            | Self::MissingDeviceToken
            | Self::MissingTopic
            | Self::PayloadEmpty
            | Self::TopicDisallowed => StatusCode::BAD_REQUEST,
            Self::BadCertificate
            | Self::BadCertificateEnvironment
            | Self::BadEnvironmentKeyIdInToken
            | Self::ExpiredProviderToken
            | Self::Forbidden
            | Self::InvalidProviderToken
            | Self::MissingProviderToken
            | Self::UnrelatedKeyIdInToken => StatusCode::FORBIDDEN,
            Self::BadPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ExpiredToken | Self::Unregistered => StatusCode::GONE,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyProviderTokenUpdates | Self::TooManyRequests => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable | Self::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A refusal that a test can order for pushes that are otherwise correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum ApnsFailure {
    /// 400 `IdleTimeout`.
    IdleTimeout,
    /// 403 `Forbidden`.
    Forbidden,
    /// 500 `InternalServerError`.
    InternalServerError,
    /// 503 `ServiceUnavailable`.
    ServiceUnavailable,
    /// 503 `Shutdown`.
    Shutdown,
}

impl From<ApnsFailure> for ApnsReason {
    fn from(failure: ApnsFailure) -> Self {
        match failure {
            ApnsFailure::IdleTimeout => Self::IdleTimeout,
            ApnsFailure::Forbidden => Self::Forbidden,
            ApnsFailure::InternalServerError => Self::InternalServerError,
            ApnsFailure::ServiceUnavailable => Self::ServiceUnavailable,
            ApnsFailure::Shutdown => Self::Shutdown,
        }
    }
}
