//! Why a request did not succeed.

use std::time::Duration;

use serde::Deserialize;

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The node could not be reached, or did not answer in time.
    #[error("the node at {url} did not answer")]
    Unreachable {
        /// The node.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The node refused (RFC 9457).
    #[error("{title} ({status}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable name of the kind of problem.
        kind: String,
        /// The kind in words.
        title: String,
        /// What is wrong this time.
        detail: String,
        /// When to try again, if the node said.
        retry_after: Option<Duration>,
    },
    /// The answer is not what this client knows.
    #[error("the answer of {url} cannot be understood")]
    Unreadable {
        /// The node.
        url: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The address is not one, or no client can be made.
    #[error("{url:?} is not the address of a node")]
    Address {
        /// What was given.
        url: String,
    },
}

impl ApiError {
    /// How long the node asked to wait, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            Self::Unreadable { .. } | Self::Address { .. } => false,
        }
    }
}

/// The body of a refusal.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) detail: String,
}
