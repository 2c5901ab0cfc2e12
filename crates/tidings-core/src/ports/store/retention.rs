//! Forgetting what is too old.

use async_trait::async_trait;

use crate::{clock::Timestamp, ports::StoreError};

/// What may be forgotten. `None` keeps all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// Notifications that were stored before this.
    pub notifications: Option<Timestamp>,
    /// Notifications whose event expired before this.
    pub expired: Option<Timestamp>,
    /// Rows of the delivery log that are older than this.
    pub deliveries: Option<Timestamp>,
    /// Answers under an idempotency key that are older than this.
    pub answers: Option<Timestamp>,
    /// Devices that were last registered before this.
    pub devices: Option<Timestamp>,
    /// Recommendations that were last shown before this.
    pub impressions: Option<Timestamp>,
}

/// What one call of [`RetentionStore::forget`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Notifications removed.
    pub notifications: u64,
    /// Events removed, once nobody's notification refers to them.
    pub events: u64,
    /// Rows of the delivery log removed.
    pub deliveries: u64,
    /// Devices removed.
    pub devices: u64,
    /// Recommendations that were shown, removed.
    pub impressions: u64,
    /// Whether everything has been looked at since the last call that said so.
    pub complete: bool,
}

/// Forgets what is too old, a bounded piece at a time.
#[async_trait]
pub trait RetentionStore: Send + Sync + 'static {
    /// Removes up to about `limit` rows that `cutoffs` names, and goes on next time where it stopped.
    ///
    /// Of an inbox only the oldest notifications go, without a gap: one that is kept keeps all that
    /// come after it, so `seq` has no holes from `InboxState::forgotten_seq` on. What waits for a push
    /// goes with its notification. An event goes when no notification refers to it and it is older
    /// than the cut-off; with it goes the memory that it was ever told.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn forget(&self, cutoffs: Cutoffs, limit: usize) -> Result<Forgotten, StoreError>;
}
