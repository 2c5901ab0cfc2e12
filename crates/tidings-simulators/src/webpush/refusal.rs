//! Why a message is not taken.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::encryption::DecryptError;
use crate::transport::Answer;

/// Why a message is not taken. The texts are ours: the RFCs leave the body of a refusal open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The path is no endpoint of this service.
    NoEndpoint,
    MethodNotAllowed,
    /// The subscription has expired (RFC 8030, section 7.3).
    Expired,
    /// The same, as push services of browsers say it.
    Gone,
    /// RFC 8292, section 4.2: 401 without a credential.
    MissingVapid,
    /// The same section: 403 for one that is not right.
    BadVapid(&'static str),
    /// The subscription is for another key.
    OtherKey,
    MissingTtl,
    BadTtl,
    BadUrgency,
    BadTopic,
    ContentEncoding,
    Undecryptable(DecryptError),
    SigningKeyEncrypts,
    TooLarge,
    TooMany(Option<Duration>),
    Internal,
    Unavailable(Option<Duration>),
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::NoEndpoint | Self::Expired => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Gone => StatusCode::GONE,
            Self::MissingVapid => StatusCode::UNAUTHORIZED,
            Self::BadVapid(_) | Self::OtherKey => StatusCode::FORBIDDEN,
            Self::MissingTtl
            | Self::BadTtl
            | Self::BadUrgency
            | Self::BadTopic
            | Self::ContentEncoding
            | Self::Undecryptable(_)
            | Self::SigningKeyEncrypts => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The name under which the ledger counts it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NoEndpoint => "NoEndpoint",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::Expired => "Expired",
            Self::Gone => "Gone",
            Self::MissingVapid => "MissingVapid",
            Self::BadVapid(_) => "BadVapid",
            Self::OtherKey => "OtherKey",
            Self::MissingTtl => "MissingTtl",
            Self::BadTtl => "BadTtl",
            Self::BadUrgency => "BadUrgency",
            Self::BadTopic => "BadTopic",
            Self::ContentEncoding => "ContentEncoding",
            Self::Undecryptable(_) => "Undecryptable",
            Self::SigningKeyEncrypts => "SigningKeyEncrypts",
            Self::TooLarge => "TooLarge",
            Self::TooMany(_) => "TooMany",
            Self::Internal => "Internal",
            Self::Unavailable(_) => "Unavailable",
        }
    }

    fn message(self) -> String {
        match self {
            Self::NoEndpoint => "there is no such endpoint".into(),
            Self::MethodNotAllowed => "messages are sent with POST".into(),
            Self::Expired => "the subscription has expired".into(),
            Self::Gone => "the subscription is gone".into(),
            Self::MissingVapid => "the request has no vapid credential".into(),
            Self::BadVapid(what) => format!("the vapid credential is not right: {what}"),
            Self::OtherKey => "the subscription is for another application server key".into(),
            Self::MissingTtl => "the TTL header is missing".into(),
            Self::BadTtl => "TTL is not a number of seconds".into(),
            Self::BadUrgency => "Urgency is none of very-low, low, normal and high".into(),
            Self::BadTopic => "Topic is not 1 to 32 characters of base64url".into(),
            Self::ContentEncoding => "Content-Encoding is not aes128gcm".into(),
            Self::Undecryptable(error) => error.to_string(),
            Self::SigningKeyEncrypts => "the message is encrypted with the signing key".into(),
            Self::TooLarge => "the body is too long".into(),
            Self::TooMany(_) => "too many messages".into(),
            Self::Internal => "internal error".into(),
            Self::Unavailable(_) => "not available for now".into(),
        }
    }

    pub(super) fn answer(self) -> Answer {
        let status = self.status();
        let mut answer = Answer::json(
            status,
            &json!({
                "code": status.as_u16(),
                "error": status.canonical_reason(),
                "message": self.message(),
            }),
        );
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("vapid");
            answer.headers.push((header::WWW_AUTHENTICATE, challenge));
        }
        if let Self::TooMany(Some(after)) | Self::Unavailable(Some(after)) = self {
            answer.headers.push((header::RETRY_AFTER, HeaderValue::from(after.as_secs())));
        }
        answer
    }
}

impl From<DecryptError> for Refusal {
    fn from(error: DecryptError) -> Self {
        Self::Undecryptable(error)
    }
}
