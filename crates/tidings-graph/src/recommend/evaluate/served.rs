//! What the engine really serves.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use tidings_core::{ids::UserId, ports::GraphError};
use tokio::runtime::Handle;

use super::{
    super::{MAX_RECOMMENDATIONS, RecommendRequest, RecommendationEngine},
    follows::Follows,
    measures::LIST_LENGTH,
};

/// An engine over a store with the training graph, asked as an app asks it.
pub struct ServedEngine {
    engine: RecommendationEngine,
    runtime: Handle,
    numbers: HashMap<UserId, u32>,
}

impl fmt::Debug for ServedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedEngine").field("users", &self.numbers.len()).finish_non_exhaustive()
    }
}

/// What the engine says for a user.
pub(super) struct Served {
    pub(super) top: Vec<u32>,
    pub(super) took: Duration,
    scores: HashMap<u32, f64>,
}

impl Served {
    /// The score of one whom the engine was asked about. Those whom it left out are alike, and below all
    /// others.
    pub(super) fn score(&self, user: u32) -> f64 {
        self.scores.get(&user).copied().unwrap_or(f64::NEG_INFINITY)
    }
}

impl ServedEngine {
    /// Asks `engine`, for users of `follows`. Its store has to hold what
    /// [`Experiment::load`](super::Experiment::load) brings in, and no more. It is asked on `runtime`, from
    /// threads that are not the runtime's own.
    #[must_use]
    pub fn new(engine: RecommendationEngine, runtime: Handle, follows: &Follows) -> Self {
        let numbers = (0..).zip(&follows.users).map(|(number, user)| (user.clone(), number));
        Self { engine, runtime, numbers: numbers.collect() }
    }

    /// Asks for a list, and what the engine makes of each of `among`.
    pub(super) fn ask(
        &self,
        follows: &Follows,
        user: u32,
        among: impl Iterator<Item = u32>,
    ) -> Result<Served, GraphError> {
        let id = |number: u32| follows.users[number as usize].clone();
        let request = RecommendRequest::new(id(user), LIST_LENGTH);
        let begun = Instant::now();
        let listed = self.runtime.block_on(self.engine.recommend_users(request))?;
        let took = begun.elapsed();
        let mut among: Vec<u32> = among.collect();
        among.sort_unstable();
        among.dedup();
        let number = |user: &UserId| self.numbers.get(user).copied();
        let mut scores = HashMap::with_capacity(among.len());
        // As many as one answer may have: who was cut off would count as refused.
        for part in among.chunks(MAX_RECOMMENDATIONS) {
            let mut request = RecommendRequest::new(id(user), MAX_RECOMMENDATIONS);
            request.among = Some(part.iter().copied().map(id).collect());
            let scored = self.runtime.block_on(self.engine.recommend_users(request))?;
            let scored = scored.iter();
            scores.extend(scored.filter_map(|it| Some((number(&it.user)?, f64::from(it.score)))));
        }
        Ok(Served { top: listed.iter().filter_map(|it| number(&it.user)).collect(), took, scores })
    }
}
