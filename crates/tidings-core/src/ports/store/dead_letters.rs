//! Inputs that could not become notifications.

use async_trait::async_trait;

use crate::{
    dead_letter::{DeadLetter, DeadLetterId, NewDeadLetter},
    ports::StoreError,
};

/// Inputs that could not become notifications. Those of a log come in with
/// [`NotificationStore::append`](super::NotificationStore::append), in the transaction that moves past them.
#[async_trait]
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Keeps letters, durably, in their order. Beyond the number that the store was told to keep,
    /// the oldest are dropped; returns how many were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn append_dead_letters(&self, letters: Vec<NewDeadLetter>) -> Result<u64, StoreError>;

    /// Up to `limit` letters before `before`, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_dead_letters(
        &self,
        before: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// The letter with this number.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn find_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError>;

    /// Removes a letter; fine if there is none. Says whether there was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn remove_dead_letter(&self, id: DeadLetterId) -> Result<bool, StoreError>;

    /// How many letters are kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn count_dead_letters(&self) -> Result<u64, StoreError>;
}
