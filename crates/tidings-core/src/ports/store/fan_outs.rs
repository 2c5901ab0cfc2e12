//! Events on their way to the followers of a user.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    fan_out::{FanOut, FanOutBacklog},
    ports::StoreError,
};

/// Events on their way to the followers of a user. They begin and move on with
/// [`NotificationStore::append`](super::NotificationStore::append).
#[async_trait]
pub trait FanOutStore: Send + Sync + 'static {
    /// Leases up to `limit` unfinished fan-outs that nobody holds at `now`, the oldest first. A lease
    /// ends after `lease` unless a step prolongs it: a worker that dies loses nothing. Of many workers
    /// that claim at once, each gets fan-outs of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; what was leased by then is free again after `lease`.
    async fn claim_fan_outs(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<FanOut>, StoreError>;

    /// How much is still to be done.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn fan_out_backlog(&self) -> Result<FanOutBacklog, StoreError>;
}
