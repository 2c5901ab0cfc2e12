//! How far a log has been stored.

use std::{fmt, sync::Arc};

/// A partition of a log, as one consumer group reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The consumer group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number in its topic.
    pub partition: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of group {}", self.topic, self.partition, self.group)
    }
}

/// How often a partition has been taken over. Whoever took it last may move its position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Who may move a partition's position, and where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The epoch that the last take-over began.
    pub epoch: Epoch,
    /// The offset of the first record that has not been stored; `None` before the first was.
    pub next_offset: Option<i64>,
}

/// Moves the position of a partition together with what its records became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch that the consumer claimed.
    pub epoch: Epoch,
    /// Where the position is believed to be.
    pub from: Option<i64>,
    /// The offset after the last record that is stored or dead with this transaction.
    pub to: i64,
}

impl Advance {
    /// Takes `later` over if it starts where this ends, else gives it back.
    pub(crate) fn try_extend(&mut self, later: Self) -> Result<(), Self> {
        let follows = later.partition == self.partition
            && later.epoch == self.epoch
            && later.from == Some(self.to);
        if !follows {
            return Err(later);
        }
        self.to = later.to;
        Ok(())
    }
}
