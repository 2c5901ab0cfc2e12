//! How far the logs that events come from have been stored.

use async_trait::async_trait;

use crate::{
    checkpoint::{Checkpoint, PartitionId},
    ports::StoreError,
};

/// How far the logs that events come from have been stored. Positions move with
/// [`NotificationStore::append`](super::NotificationStore::append), in the transaction of the rows.
#[async_trait]
pub trait CheckpointStore: Send + Sync + 'static {
    /// Takes a partition over: raises its epoch by one, so that whoever held it can commit no more,
    /// and says where to go on. A partition that was never claimed has epoch 1 and no position then.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if it was not taken over, or nobody knows: claiming again is safe.
    async fn claim_partition(&self, partition: &PartitionId) -> Result<Checkpoint, StoreError>;

    /// Moves a position by hand, `None` to where a new partition starts; raises the epoch like a
    /// claim, so that a consumer at work is fenced.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn set_checkpoint(
        &self,
        partition: &PartitionId,
        next_offset: Option<i64>,
    ) -> Result<Checkpoint, StoreError>;

    /// All checkpoints of a consumer group, ordered by topic and partition.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_checkpoints(
        &self,
        group: &str,
    ) -> Result<Vec<(PartitionId, Checkpoint)>, StoreError>;
}
