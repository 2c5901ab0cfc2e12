//! Users who were signed out everywhere.

use async_trait::async_trait;

use crate::{clock::Timestamp, ids::UserId, ports::StoreError};

/// A user's tokens are refused that were issued before some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Counts changes: each revocation has a greater one than all before it, and none is used again.
    pub change: u64,
    /// Whose tokens.
    pub user: UserId,
    /// Tokens that were issued before this are refused.
    pub before: Timestamp,
}

/// Which tokens are refused: at most one [`Revocation`] of a user, the one that refuses most.
#[async_trait]
pub trait RevocationStore: Send + Sync + 'static {
    /// Refuses the user's tokens that were issued before `before`, durably, and returns the time that
    /// stands: the latest one ever given. One that changes nothing makes no change to be listed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn put_revocation(
        &self,
        user: &UserId,
        before: Timestamp,
    ) -> Result<Timestamp, StoreError>;

    /// Up to `limit` revocations that were made after the change `after`, in the order of changes.
    ///
    /// Changes become visible in their order, so whoever goes on from the last one misses none. Of a
    /// user who was revoked again only the newest is listed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_revocations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Revocation>, StoreError>;

    /// Forgets up to `limit` revocations of tokens issued before a time that is earlier than `cutoff`,
    /// and returns how many: tokens do not live that long.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn forget_revocations(&self, cutoff: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
