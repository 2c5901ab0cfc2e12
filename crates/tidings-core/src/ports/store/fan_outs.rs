//! Events on their way to the followers of a user.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    batch::PlannedEvent,
    clock::Timestamp,
    fan_out::{FanOut, FanOutBacklog},
    ids::GraphId,
    ports::StoreError,
};

/// Events on their way to the followers of a user. They begin and move on with
/// [`NotificationStore::append`](super::NotificationStore::append).
#[async_trait]
pub trait FanOutStore: Send + Sync + 'static {
    /// Leases up to `limit` unfinished fan-outs to the followers of `graph` that nobody holds at `now`,
    /// those first that have waited longest: since they began, or since their last lease ended; of those
    /// that wait as long, the ones first that nobody has had. A lease ends after `lease` unless a step
    /// prolongs or ends it: a worker that dies loses nothing. Of many workers that claim at once, each
    /// gets fan-outs of its own.
    ///
    /// A fan-out of before graphs had ids is for whoever claims it first, and of that graph from then on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; what was leased by then is free again after `lease`.
    async fn claim_fan_outs(
        &self,
        graph: GraphId,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<FanOut>, StoreError>;

    /// Does ahead what storing `page` would begin with and needs no transaction with it, so that it is
    /// done while the page before is being stored. Changes nothing that anyone sees, also if the page
    /// never comes. A store that gains nothing from it does nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; the page can be stored all the same.
    async fn prepare_page(&self, _page: &PlannedEvent) -> Result<(), StoreError> {
        Ok(())
    }

    /// How much is still to be done, here and elsewhere. What has no graph yet is here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn fan_out_backlog(&self, graph: GraphId) -> Result<FanOutBacklog, StoreError>;
}
