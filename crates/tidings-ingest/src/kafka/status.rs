//! What is being done with a partition, and why one is read no further.

use std::{fmt, sync::Arc};

/// What is being done with a partition.
#[derive(Debug, Clone, Default)]
pub(super) enum Status {
    /// Its epoch is being raised, its position read.
    #[default]
    Claiming,
    Reading,
    /// Something that it needs is out of reach; it is tried again and again.
    Waiting(Arc<str>),
    Stopped(StopReason),
}

/// Why a partition is read no further until a person has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopReason {
    OutOfRange { position: i64, low: i64, high: i64 },
    MostlyBad { bad: usize, of: usize },
    Refused { offset: i64, why: Arc<str> },
    AllRefused { users: usize, why: Arc<str> },
    Failed,
}

impl StopReason {
    /// The name in metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::OutOfRange { .. } => "out_of_range",
            Self::MostlyBad { .. } => "mostly_bad",
            Self::Refused { .. } => "refused",
            Self::AllRefused { .. } => "all_refused",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { position, low, high } if position < low => write!(
                f,
                "position {position} is before the oldest record ({low}; the end is {high}): records \
                 were deleted before they were read; go on with `tidings offsets set`"
            ),
            Self::OutOfRange { position, low, high } => write!(
                f,
                "position {position} is beyond the end of the log ({high}; the oldest record is \
                 {low}): the topic was truncated or made anew; go on with `tidings offsets set`"
            ),
            Self::MostlyBad { bad, of } => write!(
                f,
                "{bad} of the last {of} records are no events: is it the right topic and format? It \
                 is tried again after a restart or a reassignment"
            ),
            Self::Refused { offset, why } => write!(
                f,
                "the store refuses the record at offset {offset} even as a dead letter ({why}); pass \
                 over it with `tidings offsets set`"
            ),
            Self::AllRefused { users, why } => write!(
                f,
                "the store has refused the events of {users} users and taken none in between ({why}): is \
                 it damaged? It is tried again after a restart or a reassignment"
            ),
            Self::Failed => f.write_str("its worker failed; it is tried again after a restart"),
        }
    }
}
