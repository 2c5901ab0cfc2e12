//! How good recommendations are on a graph at hand, measured offline.
//!
//! Some follows of each user are hidden, every method ranks all users whom the user does not follow in
//! what is left, and the hidden ones should come first. [`Follows`] is the graph, [`Experiment`] hides
//! and measures, [`Method`] names what is compared: what [`crate::RecommendationEngine`] serves, and
//! simple methods from the literature. The same graph, seed and number of users give the same figures,
//! times aside.

mod experiment;
#[cfg(test)]
mod floors;
mod follows;
mod graph;
mod measures;
mod methods;
mod negatives;
mod ranking;
mod served;
mod split;
mod summary;
#[cfg(test)]
mod tests;

pub use experiment::{EvaluateError, Experiment, Facts, Protocol};
pub use follows::{Direction, Follows, FollowsBuilder, TooManyUsers};
pub use measures::Measure;
pub use methods::{Method, UnknownMethod};
pub use served::ServedEngine;
pub use split::HoldOut;
pub use summary::{Estimate, Summary};
