//! Whom to follow.
//!
//! ```text
//! user ──► signals ──────────────────────────► candidates ──► features ──► model ──► filters ──► answer
//!          · alike, collaborative: three steps   the best by    relative      weights,  support,    reasons
//!          · friends of friends, two steps       each signal,   to the best   learned   factors
//!          · walks: personalised PageRank        followers,     of the same   from the
//!          · who follows the user                popular ones   user          graph
//! ```
//!
//! All of it is computed for one request from the graph as it is, within `limits`: a new follow changes
//! the next answer, and a user with a million followers costs no more than any other.

pub(crate) mod adjacency;
mod best;
#[cfg(test)]
mod bounds;
mod candidates;
#[cfg(test)]
mod drawn;
mod engine;
pub mod evaluate;
mod explain;
mod features;
mod fit;
mod hold_out;
mod learn;
mod limits;
mod model;
mod push;
mod ranking;
mod request;
mod signals;
mod subgraph;
mod tally;

pub use engine::{RecommendationEngine, RecommendedGraph};
pub use fit::Fit;
pub use learn::{Choices, Learned};
pub use model::{Model, ModelError};
pub use request::{MAX_RECOMMENDATIONS, RecommendRequest};
