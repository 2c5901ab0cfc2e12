//! What the engine needs of the world: one trait per part, with its contract.
//!
//! A port says what holds for callers (atomicity, order, duplicates, limits), and a contract suite
//! in `tidings-testkit` proves it on every adapter.

mod error;
mod live;
mod push;
mod social_graph;
mod store;

pub use error::{BoxError, Claim, GraphError, StoreError};
pub use live::{Attendance, LiveNotifications, Presence, RealtimeBus, SessionHint};
pub use push::PushProvider;
pub use social_graph::{Cursor, CursorError, Page, SocialGraphStore};
pub use store::{
    AnswerStore, CheckpointStore, Cutoffs, DeadLetterStore, DeliveryFilter, DeliveryLogStore,
    DeliveryNumber, DeliveryPlace, DeliveryStore, DeviceStore, DuePush, DueRetry, FanOutStore,
    Forgotten, KeptAnswer, LogPage, LoggedDelivery, MAX_FEEDBACK, MAX_IDEMPOTENCY_KEY_BYTES,
    MAX_LOG_LOOKS, NotificationLogPage, NotificationStore, Prune, PushJob, PushSettlement,
    RecommendationFeedbackStore, Renewal, RequestKey, RetentionStore, Revocation, RevocationStore,
    Store, UnrecommendableChange, UserLogPage,
};
