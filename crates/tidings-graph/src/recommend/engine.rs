//! The engine.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use tidings_core::{
    follow::NeighbourSide,
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
    recommendation::Recommendation,
};

use super::request::{MAX_RECOMMENDATIONS, RecommendRequest};
use crate::embedded::EmbeddedGraphStore;

/// Which graph the engine reads.
#[derive(Clone)]
pub enum RecommendedGraph {
    /// The embedded graph, whose index is read directly.
    Embedded(Arc<EmbeddedGraphStore>),
    /// Any other, through the port.
    Other(Arc<dyn SocialGraphStore>),
}

/// Recommends whom to follow.
pub struct RecommendationEngine {
    graph: RecommendedGraph,
}

impl std::fmt::Debug for RecommendationEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecommendationEngine").finish_non_exhaustive()
    }
}

impl RecommendationEngine {
    /// An engine over this graph.
    #[must_use]
    pub fn new(graph: RecommendedGraph) -> Self {
        Self { graph }
    }

    /// Recommends users whom `request.user` does not follow, the best first. A user who is not known,
    /// or of whom little is known, is recommended popular accounts. The same graph and request give the
    /// same answer.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    pub async fn recommend_users(
        &self,
        request: RecommendRequest,
    ) -> Result<Vec<Recommendation>, GraphError> {
        let store: &dyn SocialGraphStore = match &self.graph {
            RecommendedGraph::Embedded(store) => &**store,
            RecommendedGraph::Other(store) => &**store,
        };
        let own = std::slice::from_ref(&request.user);
        let own = store.get_neighbours(own, NeighbourSide::Following, 1_000).await?;
        let followed = own.into_iter().next().unwrap_or_default().users;
        let mut counts: HashMap<UserId, u32> = HashMap::new();
        for lists in store.get_neighbours(&followed, NeighbourSide::Following, 1_000).await? {
            for user in lists.users {
                *counts.entry(user).or_default() += 1;
            }
        }
        counts.retain(|user, _| {
            *user != request.user
                && !followed.contains(user)
                && !request.excluded.contains(user)
                && !request.hidden.contains(user)
                && request.among.as_ref().is_none_or(|among| among.contains(user))
        });
        let mut ranked: Vec<_> = counts.into_iter().collect();
        ranked.sort_unstable_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
        ranked.truncate(request.limit.min(MAX_RECOMMENDATIONS));
        let score = |count: u32| 1.0 - 1.0 / (1.0 + f64::from(count));
        #[expect(clippy::cast_possible_truncation, reason = "a score needs few digits")]
        let recommend = |(user, count)| Recommendation {
            user,
            score: score(count) as f32,
            reasons: Vec::new(),
        };
        Ok(ranked.into_iter().map(recommend).collect())
    }
}
