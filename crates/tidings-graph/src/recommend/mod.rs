//! Whom to follow.

mod engine;
pub mod evaluate;
mod request;

pub use engine::{RecommendationEngine, RecommendedGraph};
pub use request::{MAX_RECOMMENDATIONS, RecommendRequest};
