//! Configuration: one file of defaults that is also the reference, a file of the user's, the
//! environment, flags.

mod check;
mod docs;
mod load;
mod model;
mod secret;

pub use check::ConfigProblem;
pub use docs::reference_markdown;
pub use load::{ConfigError, Sources, load};
pub use model::{
    ApiKeySection, ApnsSection, AuthSection, BusSection, Config, FanOutSection, FcmSection,
    IntakeSection, KafkaFormat, KafkaSection, KafkaStart, KafkaTopicSection, LogFormat, LogSection,
    PostgresSection, PushSection, RealtimeSection, RetentionSection, RoutingSection, ServerSection,
    StoreSection, TokensSection,
};
pub use secret::Secret;

/// The default configuration, with a comment on every option.
pub const DEFAULT_TOML: &str = include_str!("../../../../config/tidings.default.toml");
