//! What became of an event.

use std::{sync::Arc, time::Duration};

use tidings_core::ports::{GraphError, StoreError};

/// An event whose notifications are durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Notifications that are new.
    pub stored: usize,
    /// Recipients who had theirs from an earlier delivery of the same event.
    pub duplicates: usize,
    /// Whether a durable job tells more followers, in the background.
    pub fans_out: bool,
}

impl Accepted {
    /// Whether everyone had theirs already.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.stored == 0 && self.duplicates > 0
    }
}

/// Why an event was not accepted. It may be partly stored; sending it again completes it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// More events are waiting for the store than the queue holds.
    #[error("the intake queue is full")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store took too long to answer. The notifications may be stored yet.
    #[error(
        "the store has not answered in time; whether the notifications are stored is not known: \
         send the same again, nothing is stored twice"
    )]
    Late {
        /// When to try again.
        retry_after: Duration,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// Somebody else has taken over what the rows were to move on.
    #[error("others have taken over")]
    Fenced(#[source] Arc<StoreError>),
    /// The store did not take the notifications.
    #[error("the notifications were not stored")]
    Store(#[source] Arc<StoreError>),
    /// The graph did not say who follows.
    #[error("the followers could not be read")]
    Graph(#[source] Arc<GraphError>),
}

impl IntakeError {
    /// Whether other events would fare the same just now.
    #[must_use]
    pub fn concerns_all(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Late { .. } | Self::Stopping => true,
            Self::Store(cause) => cause.is_transient(),
            Self::Fenced(_) | Self::Graph(_) => false,
        }
    }

    /// Whether the same event may be accepted later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Late { .. } | Self::Stopping => true,
            Self::Fenced(_) => false,
            Self::Store(cause) => cause.is_transient(),
            Self::Graph(cause) => cause.is_transient(),
        }
    }
}
