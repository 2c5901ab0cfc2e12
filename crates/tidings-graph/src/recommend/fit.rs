//! Learning from the graph at hand.
//!
//! Whether follows are returned, and which ways of follows lead to the next one, differs from graph to
//! graph more than any one model can know. So the newest follows of a sample of users are held out, one
//! user at a time, the engine looks whom it would recommend to each without these, and the weights of its
//! model are [learned](super::learn) from which of them the user has followed in truth. If lists that were
//! not learned from tell that this is far worse, the model that the engine came with ranks.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rpds::HashTrieSetSync;
use tidings_core::{
    follow::NeighbourSide,
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
};

use tokio::{runtime::Handle, sync::Semaphore};

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
    /// Users who were looked at: fewer than wanted where no more follow five others.
    pub drawn: usize,
    /// Those of them who were learned from: a follow that was held out is among their candidates.
    pub users: usize,
    /// These follows.
    pub follows: usize,
    /// What was learned of the order of candidates, and of that of anybody; `None` from too few users, and
    /// all is as it was.
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
    /// Those who are `hidden` teach nothing: neither whom they follow, nor that they are followed.
    ///
    /// It costs about as much as a list for each of these users, one after the other, and for a thousand
    /// some seconds of one core at the end and 25 MB for a while. Dropped, it ends with its next step.
    ///
    /// # Errors
    ///
    /// As [`RecommendationEngine::recommend_users`]. Nothing changes then.
    pub async fn fit(
        &self,
        users: usize,
        hidden: &HashTrieSetSync<UserId>,
    ) -> Result<Fit, GraphError> {
        let Found { drawn, choices: [candidates, anyone] } =
            self.0.find_choices(users, hidden).await?;
        let (users, follows) = (candidates.lists(), candidates.chosen());
        if users < LEAST_LISTS {
            return Ok(Fit { drawn, users, follows, learned: None });
        }
        let stop = Arc::new(AtomicBool::new(false));
        let _dropped = StopWhenDropped(Arc::clone(&stop));
        let mut model = self.0.first.clone();
        // Beside the turns of requests, which it would take for seconds.
        let turn = Arc::new(Semaphore::new(1));
        let learning = compute(&turn, move || {
            let learned = model.learn(&candidates, &anyone, &stop);
            Ok((model, learned))
        });
        let (model, learned) = learning.await?;
        self.0.set_model(model);
        Ok(Fit { drawn, users, follows, learned: Some(learned) })
    }

    /// What there is to learn from: of up to so many users the candidates, and which of them they follow;
    /// and whom they follow beside others, drawn from all users and from the popular ones.
    ///
    /// # Errors
    ///
    /// As [`RecommendationEngine::recommend_users`].
    pub async fn choices(&self, users: usize) -> Result<[Choices; 2], GraphError> {
        Ok(self.0.find_choices(users, &HashTrieSetSync::default()).await?.choices)
    }
}

/// What there is to learn from, of so many users.
struct Found {
    drawn: usize,
    choices: [Choices; 2],
}

/// Stops what runs on another thread once nobody waits for it any more.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sample {
    /// Draws up to so many of `anyone`, without those who are hidden.
    async fn draw(
        store: &dyn SocialGraphStore,
        mut anyone: Vec<UserId>,
        most: usize,
        hidden: &HashTrieSetSync<UserId>,
    ) -> Result<Self, GraphError> {
        anyone.retain(|it| !hidden.contains(it));
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
        let followed = lists(store, some, NeighbourSide::Following, REMOTE_LIST_ENTRIES).await?;
        Ok(Self { users, anyone, followed })
    }

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
    async fn find_choices(
        self: &Arc<Self>,
        users: usize,
        hidden: &HashTrieSetSync<UserId>,
    ) -> Result<Found, GraphError> {
        let popular = self.popular().await;
        let sample = self.sample(users, &popular, hidden).await?;
        let mut choices = [(); 2].map(|()| Choices::default());
        for user in &sample.users {
            let request = RecommendRequest {
                among: Some(sample.others(user)),
                hidden: hidden.clone(),
                ..RecommendRequest::new(user.clone(), 1)
            };
            choices = self.add_choices(request, &popular, choices).await?;
        }
        Ok(Found { drawn: sample.users.len(), choices })
    }

    async fn sample(
        &self,
        most: usize,
        popular: &[UserId],
        hidden: &HashTrieSetSync<UserId>,
    ) -> Result<Sample, GraphError> {
        match &self.graph {
            RecommendedGraph::Embedded(store) => {
                let (store, hidden) = (Arc::clone(store), hidden.clone());
                let runtime = Handle::current();
                // It looks at some thousand users, without a pause.
                let sample = move || {
                    let anyone = store.sample(LOOKED_AT.saturating_mul(most))?;
                    runtime.block_on(Sample::draw(&*store, anyone, most, &hidden))
                };
                compute(&self.turns, sample).await
            }
            RecommendedGraph::Other(store) => {
                let fans = NeighbourSide::Followers;
                let found = lists(&**store, popular, fans, POPULAR_FOLLOWERS).await?;
                Sample::draw(&**store, shuffled(found), most, hidden).await
            }
        }
    }

    async fn add_choices(
        self: &Arc<Self>,
        mut request: RecommendRequest,
        popular: &Arc<[UserId]>,
        mut choices: [Choices; 2],
    ) -> Result<[Choices; 2], GraphError> {
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
                    let (follows, hidden) = (&graph.follows, &request.hidden);
                    ranking.add_choices(&graph, node, follows, hidden, &mut choices)?;
                    inner.keep_ranking(ranking);
                    Ok(choices)
                };
                compute(&self.turns, add).await
            }
            RecommendedGraph::Other(store) => {
                let mut graph = Subgraph::fetch_held_out(&**store, &request.user).await?;
                name(&mut request, &graph, &graph.held_out().followees)?;
                graph.know(popular.iter().chain(request.among.iter().flatten()));
                let mut ranking = inner.take_ranking();
                let found = compute(&self.turns, move || {
                    ranking.find(&graph, &request, &popular)?;
                    Ok((ranking, graph, request))
                });
                let (mut ranking, mut graph, request) = found.await?;
                graph.fetch_facts(&**store, &request.user, ranking.nodes(), false).await?;
                let Some(node) = graph.node(&request.user)? else { return Ok(choices) };
                compute(&self.turns, move || {
                    let (follows, hidden) = (graph.held_out(), &request.hidden);
                    ranking.add_choices(&graph, node, follows, hidden, &mut choices)?;
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
