//! Google's error bodies.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::transport::Answer;

const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const QUOTA_FAILURE: &str = "type.googleapis.com/google.rpc.QuotaFailure";

/// The kinds of refusal, each a row of [`Status::row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// The JSON does not fit the API: refused before FCM sees it, so without an `FcmError`.
    InvalidJson,
    InvalidArgument,
    Unregistered,
    SenderIdMismatch,
    QuotaExceeded,
    Unavailable,
    Internal,
    ThirdPartyAuthError,
    MissingCredential,
    InvalidCredential,
    /// Another project than the credential's.
    PermissionDenied,
    /// No such path.
    NotFound,
}

/// HTTP status, canonical status, FCM's error code if it is FCM's, and the usual message.
type Row = (StatusCode, &'static str, Option<&'static str>, &'static str);

impl Status {
    /// Rows marked `inferred` combine a documented error code with a status that the documentation
    /// leaves open.
    fn row(self) -> Row {
        let bad = StatusCode::BAD_REQUEST;
        let argument = "Request contains an invalid argument.";
        match self {
            Self::InvalidJson => (bad, "INVALID_ARGUMENT", None, argument),
            Self::InvalidArgument => (bad, "INVALID_ARGUMENT", Some("INVALID_ARGUMENT"), argument),
            Self::Unregistered => (
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                Some("UNREGISTERED"),
                "Requested entity was not found.",
            ),
            // Inferred.
            Self::SenderIdMismatch => (
                StatusCode::FORBIDDEN,
                "PERMISSION_DENIED",
                Some("SENDER_ID_MISMATCH"),
                "SenderId mismatch",
            ),
            Self::QuotaExceeded => (
                StatusCode::TOO_MANY_REQUESTS,
                "RESOURCE_EXHAUSTED",
                Some("QUOTA_EXCEEDED"),
                "Resource has been exhausted (e.g. check quota).",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                Some("UNAVAILABLE"),
                "The service is currently unavailable.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                Some("INTERNAL"),
                "Internal error encountered.",
            ),
            // Inferred.
            Self::ThirdPartyAuthError => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHENTICATED",
                Some("THIRD_PARTY_AUTH_ERROR"),
                "Auth error from APNS or Web Push Service",
            ),
            Self::MissingCredential => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHENTICATED",
                None,
                "Request is missing required authentication credential. Expected OAuth 2 access \
                 token, login cookie or other valid authentication credential.",
            ),
            Self::InvalidCredential => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHENTICATED",
                None,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, \
                 login cookie or other valid authentication credential.",
            ),
            Self::PermissionDenied => (
                StatusCode::FORBIDDEN,
                "PERMISSION_DENIED",
                None,
                "Permission 'cloudmessaging.messages.create' denied on the project (or it may not \
                 exist).",
            ),
            Self::NotFound => {
                (StatusCode::NOT_FOUND, "NOT_FOUND", None, "Requested entity was not found.")
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct FieldViolation {
    field: String,
    description: String,
}

/// Why a message was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: Status,
    message: Option<String>,
    violation: Option<FieldViolation>,
    is_of_device: bool,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// The usual answer of this kind.
    pub(super) fn plain(status: Status) -> Self {
        Self { status, message: None, violation: None, is_of_device: false, retry_after: None }
    }

    /// FCM itself objects to a field.
    pub(super) fn invalid_field(field: &str, description: impl Into<String>) -> Self {
        Self::violating(Status::InvalidArgument, field, description.into())
    }

    /// Too many messages to one device. That an answer says which quota it was is documented
    /// ("An extension of type google.rpc.QuotaFailure is returned"); its words are inferred.
    pub(super) fn device_quota() -> Self {
        Self { is_of_device: true, ..Self::plain(Status::QuotaExceeded) }
    }

    /// The JSON does not fit the API; `field` is empty where there is none to name.
    pub(super) fn invalid_json(field: &str, description: impl Into<String>) -> Self {
        Self::violating(Status::InvalidJson, field, description.into())
    }

    fn violating(status: Status, field: &str, description: String) -> Self {
        let violation = FieldViolation { field: field.to_owned(), description };
        Self {
            status,
            message: Some(violation.description.clone()),
            violation: Some(violation),
            is_of_device: false,
            retry_after: None,
        }
    }

    /// Replaces the message beside the details.
    pub(super) fn message(mut self, message: &str) -> Self {
        self.message = Some(message.to_owned());
        self
    }

    /// Adds `Retry-After`, if there is one.
    pub(super) fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// What the ledger counts it under: FCM's code, else the canonical status.
    pub(super) fn reason(&self) -> &'static str {
        let (_, status, code, _) = self.status.row();
        code.unwrap_or(status)
    }

    pub(super) fn answer(&self) -> Answer {
        let (http, status, code, usual) = self.status.row();
        let mut details: Vec<Value> = Vec::new();
        if let Some(code) = code {
            details.push(json!({ "@type": FCM_ERROR, "errorCode": code }));
        }
        if let Some(FieldViolation { field, description }) = &self.violation {
            let violation = if field.is_empty() {
                json!({ "description": description })
            } else {
                json!({ "field": field, "description": description })
            };
            details.push(json!({ "@type": BAD_REQUEST, "fieldViolations": [violation] }));
        }
        if self.is_of_device {
            let violation =
                json!({ "subject": "device", "description": "Device message rate exceeded" });
            details.push(json!({ "@type": QUOTA_FAILURE, "violations": [violation] }));
        }
        let message = self.message.as_deref().unwrap_or(usual);
        let mut error = json!({ "code": http.as_u16(), "message": message, "status": status });
        if !details.is_empty() {
            error["details"] = details.into();
        }
        let mut answer = Answer::json(http, &json!({ "error": error }));
        if let Some(after) = self.retry_after {
            answer.headers.push((header::RETRY_AFTER, HeaderValue::from(after.as_secs())));
        }
        answer
    }
}
