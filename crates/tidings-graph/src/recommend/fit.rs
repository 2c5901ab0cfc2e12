//! Learning from the graph at hand.
//!
//! Whether follows are returned, and which ways of follows lead to the next one, differs from graph to
//! graph more than any one model can know. So the newest follows of a sample of users are held out, one
//! user at a time, the engine looks whom it would recommend to each without these, and the weights of its
//! model are [learned](super::learn) from which of them the user has followed in truth. If lists that were
//! not learned from tell that this is far worse, nothing changes.

use std::{collections::HashSet, sync::Arc};

use tidings_core::{
    follow::NeighbourSide,
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
};

use tokio::sync::Semaphore;

use super::{
    adjacency::Adjacency,
    engine::{Inner, RecommendationEngine, RecommendedGraph, compute},
    hold_out::HeldOut,
    learn::{Choices, Learned},
    limits::{OWN_ENTRIES, REMOTE_LIST_ENTRIES},
    request::RecommendRequest,
    subgraph::Subgraph,
};
use crate::hash::{hash_bytes, mix};

/// Users of fewer follows are not learned from.
const LEAST_FOLLOWS: u64 = 5;
/// So many users are looked at for each that is wanted: many follow hardly anybody.
const LOOKED_AT: usize = 8;
/// Fewer lists than this teach nothing.
const LEAST_LISTS: usize = 20;
/// Users and popular ones who are held against those whom a user has followed.
const OTHERS: usize = 30;
/// Users whose follows tell who is popular.
const POPULARITY_USERS: usize = 400;
/// The newest followers of each popular account, of whom users are drawn where no other way leads to them.
const POPULAR_FOLLOWERS: usize = 20;
/// Users that a store is asked about at once.
const ASKED: usize = 500;

/// What came of learning from a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Users who were learned from.
    pub users: usize,
    /// Follows of theirs that were held out and are among the candidates.
    pub follows: usize,
    /// What was learned of the order of candidates, and of that of anybody; `None` from too few users.
    pub learned: Option<[Learned; 2]>,
}

/// Users of a graph.
struct Sample {
    /// Those to learn from.
    users: Vec<UserId>,
    /// Anyone.
    anyone: Vec<UserId>,
    /// Those whom users follow, the popular ones more often.
    followed: Vec<UserId>,
}

impl RecommendationEngine {
    /// Learns from up to so many users of the graph how to weigh what speaks for a candidate, and
    /// recommends by that from now on, unless it is far worse than the model that it came with. The same graph
    /// gives the same, but for who is popular.
    ///
    /// It costs about as much as a list for each of these users, one after the other, and some seconds of
    /// one core at the end.
    ///
    /// # Errors
    ///
    /// As [`RecommendationEngine::recommend_users`]. Nothing changes then.
    pub async fn fit(&self, users: usize) -> Result<Fit, GraphError> {
        let [candidates, anyone] = self.choices(users).await?;
        let (users, follows) = (candidates.lists(), candidates.chosen());
        if users < LEAST_LISTS {
            return Ok(Fit { users, follows, learned: None });
        }
        let mut model = self.0.first.clone();
        // Beside the turns of requests, which it would take for seconds.
        let turn = Arc::new(Semaphore::new(1));
        let learning = compute(&turn, move || {
            let learned = model.learn(&candidates, &anyone);
            Ok((model, learned))
        });
        let (model, learned) = learning.await?;
        self.0.set_model(model);
        Ok(Fit { users, follows, learned: Some(learned) })
    }

    /// What there is to learn from: of up to so many users the candidates, and which of them they follow;
    /// and whom they follow beside others, drawn from all users and from the popular ones.
    ///
    /// # Errors
    ///
    /// As [`RecommendationEngine::recommend_users`].
    pub async fn choices(&self, users: usize) -> Result<[Choices; 2], GraphError> {
        let sample = self.0.sample(users).await?;
        let popular = self.0.popular().await;
        let mut choices = [(); 2].map(|()| Choices::default());
        for user in &sample.users {
            let others = sample.others(user);
            choices = self.0.add_choices(user, others, &popular, choices).await?;
        }
        Ok(choices)
    }
}

impl Sample {
    /// Some users to hold against those whom a user has followed.
    fn others(&self, user: &UserId) -> Vec<UserId> {
        let seed = hash_bytes(0, user.as_str().as_bytes());
        let drawn = [&self.anyone, &self.followed].into_iter().flat_map(|from| {
            (0..OTHERS as u64).filter_map(move |place| {
                let hash = usize::try_from(mix(seed ^ place) >> 32).unwrap_or(0);
                from.get(hash % from.len().max(1)).cloned()
            })
        });
        drawn.collect()
    }
}

impl Inner {
    async fn sample(&self, most: usize) -> Result<Sample, GraphError> {
        let (store, anyone): (Arc<dyn SocialGraphStore>, _) = match &self.graph {
            RecommendedGraph::Embedded(store) => {
                (Arc::clone(store) as _, store.sample(LOOKED_AT.saturating_mul(most))?)
            }
            RecommendedGraph::Other(store) => {
                let popular = self.popular().await;
                let fans = NeighbourSide::Followers;
                let found = lists(&**store, &popular, fans, POPULAR_FOLLOWERS).await?;
                (Arc::clone(store), shuffled(found))
            }
        };
        let mut users = Vec::new();
        for asked in anyone.chunks(ASKED) {
            let found = store.get_neighbours(asked, NeighbourSide::Following, 0).await?;
            let found = asked.iter().zip(found).filter(|it| it.1.total >= LEAST_FOLLOWS);
            users.extend(found.map(|it| it.0.clone()).take(most - users.len()));
            if users.len() == most {
                break;
            }
        }
        let some = &users[..users.len().min(POPULARITY_USERS)];
        let followed = lists(&*store, some, NeighbourSide::Following, REMOTE_LIST_ENTRIES).await?;
        Ok(Sample { users, anyone, followed })
    }

    async fn add_choices(
        self: &Arc<Self>,
        user: &UserId,
        others: Vec<UserId>,
        popular: &Arc<[UserId]>,
        mut choices: [Choices; 2],
    ) -> Result<[Choices; 2], GraphError> {
        let mut request =
            RecommendRequest { among: Some(others), ..RecommendRequest::new(user.clone(), 1) };
        let (inner, popular) = (Arc::clone(self), Arc::clone(popular));
        match &self.graph {
            RecommendedGraph::Embedded(store) => {
                let store = Arc::clone(store);
                let add = move || {
                    let Some(node) = store.node(&request.user)? else { return Ok(choices) };
                    let graph = HeldOut::new(&*store, node, OWN_ENTRIES)?;
                    name(&mut request, &graph, &graph.follows.followees)?;
                    let mut ranking = inner.take_ranking();
                    ranking.find(&graph, &request, &popular)?;
                    ranking.add_choices(&graph, node, &graph.follows, &mut choices)?;
                    inner.keep_ranking(ranking);
                    Ok(choices)
                };
                compute(&self.turns, add).await
            }
            RecommendedGraph::Other(store) => {
                let mut graph = Subgraph::fetch_held_out(&**store, user).await?;
                name(&mut request, &graph, &graph.held_out().followees)?;
                graph.know(popular.iter().chain(request.among.iter().flatten()));
                let mut ranking = inner.take_ranking();
                let found = compute(&self.turns, move || {
                    ranking.find(&graph, &request, &popular)?;
                    Ok((ranking, graph))
                });
                let (mut ranking, mut graph) = found.await?;
                graph.fetch_facts(&**store, user, ranking.nodes()).await?;
                let Some(node) = graph.node(user)? else { return Ok(choices) };
                compute(&self.turns, move || {
                    ranking.add_choices(&graph, node, graph.held_out(), &mut choices)?;
                    inner.keep_ranking(ranking);
                    Ok(choices)
                })
                .await
            }
        }
    }
}

/// Names those whose follows are held out, beside the others of a request.
fn name(
    request: &mut RecommendRequest,
    graph: &dyn Adjacency,
    followees: &[u32],
) -> Result<(), GraphError> {
    for followee in followees {
        request.among.get_or_insert_default().extend(graph.user(*followee)?);
    }
    Ok(())
}

/// The newest neighbours of users on one side, one list after the other.
async fn lists(
    store: &dyn SocialGraphStore,
    users: &[UserId],
    side: NeighbourSide,
    most: usize,
) -> Result<Vec<UserId>, GraphError> {
    let mut found = Vec::new();
    for users in users.chunks(ASKED) {
        let lists = store.get_neighbours(users, side, most).await?;
        found.extend(lists.into_iter().flat_map(|it| it.users));
    }
    Ok(found)
}

/// Each once, in an order that says nothing.
fn shuffled(users: Vec<UserId>) -> Vec<UserId> {
    let users = HashSet::<UserId>::from_iter(users);
    let mut users: Vec<_> = users.into_iter().collect();
    users.sort_by_cached_key(|it| (hash_bytes(0, it.as_str().as_bytes()), it.clone()));
    users
}
