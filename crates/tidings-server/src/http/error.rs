//! Errors as RFC 9457 `application/problem+json`, each with a stable `type`.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_core::{
    error_chain::ErrorChain,
    event::EventError,
    ports::{GraphError, StoreError},
};
use tidings_ingest::IntakeError;
use utoipa::ToSchema;

use crate::{
    auth::{AuthError, Forbidden},
    recommendations::RecommendError,
};

/// What a client is told to wait when a part is down and nobody knows for how long.
const USUAL_RETRY: Duration = Duration::from_secs(2);

/// An error answer (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

/// What a problem says. Boxed, because most results are not problems.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ProblemDetails)]
struct Details {
    /// Names the kind of problem, and stays the same across versions.
    #[serde(rename = "type")]
    #[schema(example = "urn:tidings:problem:invalid-event")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: String,
    /// The field that is at fault, as a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// More, depending on the kind.
    #[serde(flatten)]
    #[schema(ignore)]
    more: Map<String, Value>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem of the kind `slug`.
    pub fn new(
        status: StatusCode,
        slug: &str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Details {
            kind: format!("urn:tidings:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            more: Map::new(),
            retry_after: None,
        }))
    }

    /// Input that cannot be accepted; `field` is a path, empty for the whole.
    pub fn bad_input(field: &str, detail: impl Into<String>) -> Self {
        let problem =
            Self::new(StatusCode::BAD_REQUEST, "invalid-input", "The input is not valid", detail);
        problem.at(field)
    }

    /// What the path names does not exist.
    pub fn not_found(what: &str) -> Self {
        let detail = format!("there is no such {what}");
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// The body is longer than `limit` bytes.
    pub fn body_too_large(limit: usize) -> Self {
        let detail = format!("the body has more than {limit} bytes, the most that is taken here");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large", detail)
    }

    /// A part that the request needs is not there now.
    pub fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut problem = Self::new(status, "unavailable", "Temporarily unavailable", detail);
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// More comes in than the node takes.
    pub fn too_busy(detail: impl Into<String>, retry_after: Duration) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut problem = Self::new(status, "busy", "Too busy", detail);
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// Our own fault; the log has the details.
    pub fn internal() -> Self {
        let detail = "the node failed; its log says why, under this request's x-request-id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// Names the field at fault.
    #[must_use]
    pub fn at(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned()).filter(|field| !field.is_empty());
        self
    }

    /// Adds a member that only this kind has.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.more.insert(name.to_owned(), value);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        if let Some(wait) = self.0.retry_after {
            let secs = wait.as_millis().div_ceil(1000).max(1).to_string();
            headers.extend(HeaderValue::from_str(&secs).ok().map(|it| (header::RETRY_AFTER, it)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "invalid-event", "The event is not valid", error.to_string())
            .at(error.field())
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        Self::new(status, "not-authenticated", "Not authenticated", error.to_string())
    }
}

impl From<Forbidden> for Problem {
    fn from(error: Forbidden) -> Self {
        match error {
            Forbidden::BadUser => Self::bad_input("user", error.to_string()),
            Forbidden::NoMe => Self::bad_input("user", error.to_string()),
            _ => Self::new(StatusCode::FORBIDDEN, "not-allowed", "Not allowed", error.to_string()),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // Causes may name files and addresses: they are for the log, not for the client.
        tracing::error!(error = %ErrorChain(&error), "a store operation failed");
        if error.is_transient() {
            Self::unavailable("the notification store is not available", USUAL_RETRY)
        } else {
            Self::internal()
        }
    }
}

impl From<GraphError> for Problem {
    fn from(error: GraphError) -> Self {
        match error {
            GraphError::SelfFollow | GraphError::SelfBlock | GraphError::SelfMute => {
                Self::bad_input("other", error.to_string())
            }
            GraphError::Blocked => {
                let status = StatusCode::CONFLICT;
                Self::new(status, "blocked", "A block stands between them", error.to_string())
            }
            GraphError::BadCursor => Self::bad_input("cursor", error.to_string()),
            error => {
                tracing::error!(error = %ErrorChain(&error), "a graph operation failed");
                if error.is_transient() {
                    Self::unavailable("the social graph is not available", USUAL_RETRY)
                } else {
                    Self::internal()
                }
            }
        }
    }
}

impl From<RecommendError> for Problem {
    fn from(error: RecommendError) -> Self {
        match error {
            RecommendError::Busy { retry_after } => {
                Self::unavailable(error.to_string(), retry_after)
            }
            RecommendError::Graph(error) => error.into(),
            RecommendError::Store(error) => error.into(),
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match &error {
            IntakeError::Busy { retry_after } => Self::too_busy(error.to_string(), *retry_after),
            IntakeError::Late { retry_after } => Self::unavailable(error.to_string(), *retry_after),
            IntakeError::Store(cause) if !cause.is_transient() => Self::internal(),
            // The pipeline and the graph have logged the cause.
            _ => Self::unavailable(error.to_string(), USUAL_RETRY),
        }
    }
}
