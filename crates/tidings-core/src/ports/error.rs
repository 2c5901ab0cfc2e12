//! What can go wrong behind a port, by what the caller can do about it.

/// A cause of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

use crate::{checkpoint::PartitionId, fan_out::FanOutId};

/// What a batch moves on, and somebody else may have taken over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A partition of a log.
    Partition(PartitionId),
    /// A fan-out.
    FanOut(FanOutId),
}

/// Why a store did not do what it was asked. Nothing was written unless the method says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// More rows than a store takes at once.
    #[error("batch of {got} rows exceeds the limit of {limit}")]
    BatchTooLarge {
        /// Rows it has.
        got: usize,
        /// Rows it may have.
        limit: usize,
    },
    /// Others have taken over what the batch was to move on.
    #[error("{} claims of the batch were taken over by others", claims.len())]
    Fenced {
        /// What was taken over.
        claims: Vec<Claim>,
    },
    /// The store will not take a value, now or later.
    #[error("{op} was refused by the {backend} store")]
    Refused {
        /// The operation.
        op: &'static str,
        /// The technology.
        backend: &'static str,
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// The store cannot be reached, is full or is closing: the same call may succeed later.
    #[error("{op} did not reach the {backend} store")]
    Unavailable {
        /// The operation.
        op: &'static str,
        /// The technology.
        backend: &'static str,
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// What the store holds cannot be read: a person has to look.
    #[error("the {backend} store holds a {what} that cannot be read")]
    Corrupt {
        /// The technology.
        backend: &'static str,
        /// What could not be read.
        what: &'static str,
        /// The cause.
        #[source]
        source: BoxError,
    },
}

impl StoreError {
    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Why a social graph store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A user cannot follow themself.
    #[error("a user cannot follow themself")]
    SelfFollow,
    /// A user cannot block themself.
    #[error("a user cannot block themself")]
    SelfBlock,
    /// A user cannot mute themself.
    #[error("a user cannot mute themself")]
    SelfMute,
    /// One of the two has blocked the other: neither can follow the other.
    #[error("one of the two users has blocked the other")]
    Blocked,
    /// The cursor is not one that this store gave for this list.
    #[error("the cursor does not belong to this list")]
    BadCursor,
    /// The graph has as many users as it can number.
    #[error("the graph has no room for more users than {limit}")]
    Full {
        /// Users it can hold.
        limit: u64,
    },
    /// The store cannot be reached, is full or is closing: the same call may succeed later.
    #[error("{op} did not reach the {backend} graph")]
    Unavailable {
        /// The operation.
        op: &'static str,
        /// The technology.
        backend: &'static str,
        /// The cause.
        #[source]
        source: BoxError,
    },
    /// What the store holds cannot be read: a person has to look.
    #[error("the {backend} graph holds a {what} that cannot be read")]
    Corrupt {
        /// The technology.
        backend: &'static str,
        /// What could not be read.
        what: &'static str,
        /// The cause.
        #[source]
        source: BoxError,
    },
}

impl GraphError {
    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
