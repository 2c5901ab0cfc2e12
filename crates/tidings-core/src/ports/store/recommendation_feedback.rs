//! What users make of recommendations, and who is not to be recommended.

use async_trait::async_trait;

use crate::{clock::Timestamp, ids::UserId, ports::StoreError, recommendation::Feedback};

/// The newest dismissals, and the newest impressions, that are kept of one user.
pub const MAX_FEEDBACK: usize = 2_000;

/// Somebody is not to be recommended, or may be again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrecommendableChange {
    /// Counts changes: each has a greater one than all before it, and none is used again.
    pub change: u64,
    /// Who.
    pub user: UserId,
    /// Whether they are not to be recommended, to anyone.
    pub is_unrecommendable: bool,
}

/// What users make of recommendations, and who is not to be recommended.
#[async_trait]
pub trait RecommendationFeedbackStore: Send + Sync + 'static {
    /// Remembers that `user` does not want to be shown `others`, 1 to [`MAX_FEEDBACK`] of them. Of one
    /// who was dismissed before the later time stands. Beyond [`MAX_FEEDBACK`] the oldest are dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::BatchTooLarge`] before any write; [`StoreError::Unavailable`] if nothing was
    /// written.
    async fn dismiss(
        &self,
        user: &UserId,
        others: &[UserId],
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Takes a dismissal back; fine if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn undismiss(&self, user: &UserId, other: &UserId) -> Result<(), StoreError>;

    /// Counts that `user` was shown each of `shown` once more, however often it is named; 1 to
    /// [`MAX_FEEDBACK`] of them. Beyond [`MAX_FEEDBACK`] those that were shown longest ago are dropped.
    ///
    /// A call that is made twice counts twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::BatchTooLarge`] before any write; [`StoreError::Unavailable`] if nothing was
    /// written.
    async fn add_impressions(
        &self,
        user: &UserId,
        shown: &[UserId],
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// All that is kept of `user`: at most [`MAX_FEEDBACK`] dismissals and as many impressions, the
    /// newest first, those of the same time by id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn feedback(&self, user: &UserId) -> Result<Feedback, StoreError>;

    /// Keeps `user` from being recommended to anyone. Doing it twice makes one change.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn put_unrecommendable(&self, user: &UserId) -> Result<(), StoreError>;

    /// Lets `user` be recommended again; fine if it was so, and no change then.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn remove_unrecommendable(&self, user: &UserId) -> Result<(), StoreError>;

    /// Up to `limit` changes after the change `after`, in their order: all who are not to be
    /// recommended, and those who were once and may be again.
    ///
    /// Changes become visible in their order, so whoever goes on from the last one misses none. Of a
    /// user only the newest is listed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_unrecommendable(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<UnrecommendableChange>, StoreError>;

    /// Erases a user: what they dismissed and were shown, where others dismissed or were shown them, and
    /// whether they are to be recommended. That makes no change to be listed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn erase_feedback(&self, user: &UserId) -> Result<(), StoreError>;
}
