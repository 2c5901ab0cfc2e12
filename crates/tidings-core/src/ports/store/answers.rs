//! Answers that are given again when a request is repeated.

use async_trait::async_trait;

use crate::{clock::Timestamp, ports::StoreError};

/// The longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Names a request that its sender may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Who sends it: keys of different senders have nothing to do with each other.
    pub sender: String,
    /// The sender's key, 1 to [`MAX_IDEMPOTENCY_KEY_BYTES`] bytes.
    pub key: String,
}

/// The answer that a request got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Digest (SHA-256) of what was asked: a key that comes with another request is a mistake.
    pub request_digest: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// When it was given.
    pub at: Timestamp,
}

/// Answers by the idempotency key of their request.
#[async_trait]
pub trait AnswerStore: Send + Sync + 'static {
    /// The answer that was kept under `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn find_answer(&self, key: &RequestKey) -> Result<Option<KeptAnswer>, StoreError>;

    /// Keeps an answer, durably. The first one under a key stands.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn put_answer(&self, key: &RequestKey, answer: KeptAnswer) -> Result<(), StoreError>;
}
