//! Where what happened is kept: one trait per noun, all of them on one transactional store.

mod answers;
mod checkpoints;
mod dead_letters;
mod deliveries;
mod delivery_log;
mod devices;
mod fan_outs;
mod notifications;
mod recommendation_feedback;
mod retention;
mod revocations;

pub use answers::{AnswerStore, KeptAnswer, MAX_IDEMPOTENCY_KEY_BYTES, RequestKey};
pub use checkpoints::CheckpointStore;
pub use dead_letters::DeadLetterStore;
pub use deliveries::{DeliveryStore, DuePush, DueRetry, Prune, PushJob, PushSettlement, Renewal};
pub use delivery_log::{
    DeliveryFilter, DeliveryLogStore, DeliveryNumber, DeliveryPlace, LogPage, LoggedDelivery,
    MAX_LOG_LOOKS, NotificationLogPage, UserLogPage,
};
pub use devices::DeviceStore;
pub use fan_outs::FanOutStore;
pub use notifications::NotificationStore;
pub use recommendation_feedback::{
    MAX_FEEDBACK, RecommendationFeedbackStore, UnrecommendableChange,
};
pub use retention::{Cutoffs, Forgotten, RetentionStore};
pub use revocations::{Revocation, RevocationStore};

/// A store of everything: what a node runs on.
pub trait Store:
    NotificationStore
    + DeviceStore
    + DeliveryStore
    + DeliveryLogStore
    + DeadLetterStore
    + CheckpointStore
    + FanOutStore
    + RetentionStore
    + AnswerStore
    + RevocationStore
    + RecommendationFeedbackStore
{
}

impl<T> Store for T where
    T: NotificationStore
        + DeviceStore
        + DeliveryStore
        + DeliveryLogStore
        + DeliveryLogStore
        + DeadLetterStore
        + CheckpointStore
        + FanOutStore
        + RetentionStore
        + AnswerStore
        + RevocationStore
        + RecommendationFeedbackStore
{
}
