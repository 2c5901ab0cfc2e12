//! Whom to follow.

mod engine;
mod request;

pub use engine::{RecommendationEngine, RecommendedGraph};
pub use request::{MAX_RECOMMENDATIONS, RecommendRequest};
