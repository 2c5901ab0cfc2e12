//! Configuration: one file of defaults that is also the reference, a file of the user's, the
//! environment, flags.

mod check;
mod docs;
mod graph_cache;
mod load;
mod model;
mod push;
mod recommendations;
mod routing;
mod secret;

pub use check::ConfigProblem;
pub use docs::reference_markdown;
pub use graph_cache::{GraphCacheRedisSection, GraphCacheSection};
pub use load::{ConfigError, Sources, load};
pub use model::{
    ApiKeySection, AuthSection, BusSection, Config, FanOutSection, FollowEventsSection,
    GraphSection, IntakeSection, KafkaFormat, KafkaSection, KafkaStart, KafkaTopicSection,
    LogFormat, LogSection, Neo4jSection, PostgresSection, RealtimeSection, RetentionSection,
    ServerSection, StoreSection, TokensSection,
};
pub use push::{
    ApnsSection, BreakerSection, FcmSection, PushAppsSection, PushSection, WebPushSection,
};
pub use recommendations::{MAX_LIST, RecommendationsSection};
pub use routing::{PushKind, PushTargets, PushUnless, RoutingRuleSection, RoutingSection};
pub use secret::Secret;

/// The default configuration, with a comment on every option.
pub const DEFAULT_TOML: &str = include_str!("../../../../config/tidings.default.toml");
