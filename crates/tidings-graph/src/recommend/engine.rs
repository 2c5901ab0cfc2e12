//! The engine.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tidings_core::{
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
    recommendation::Recommendation,
};

use super::{
    adjacency::Adjacency,
    features::{FEATURES, Row},
    limits::POPULAR_CANDIDATES,
    model::Model,
    ranking::Ranking,
    request::RecommendRequest,
    subgraph::Subgraph,
};
use crate::embedded::EmbeddedGraphStore;

/// For how long it is taken as known who is popular.
const POPULAR_AGE: Duration = Duration::from_secs(600);
/// Rankings whose buffers are kept.
const KEPT_RANKINGS: usize = 8;

/// Which graph the engine reads.
#[derive(Clone)]
pub enum RecommendedGraph {
    /// The embedded graph, whose index is read directly.
    Embedded(Arc<EmbeddedGraphStore>),
    /// Any other, through the port.
    Other(Arc<dyn SocialGraphStore>),
}

impl RecommendedGraph {
    fn store(&self) -> &dyn SocialGraphStore {
        match self {
            Self::Embedded(store) => &**store,
            Self::Other(store) => &**store,
        }
    }
}

/// Recommends whom to follow; see the [module](super).
#[derive(Clone)]
pub struct RecommendationEngine(Arc<Inner>);

struct Inner {
    graph: RecommendedGraph,
    model: Model,
    popular: tokio::sync::Mutex<Option<Popular>>,
    /// Buffers that wait for the next request.
    rankings: Mutex<Vec<Ranking>>,
}

/// Who has the most followers.
#[derive(Clone)]
struct Popular {
    found: Instant,
    users: Arc<[UserId]>,
}

impl fmt::Debug for RecommendationEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecommendationEngine").field("model", &self.0.model).finish_non_exhaustive()
    }
}

impl RecommendationEngine {
    /// An engine over this graph.
    #[must_use]
    pub fn new(graph: RecommendedGraph) -> Self {
        let (popular, rankings) = (tokio::sync::Mutex::new(None), Mutex::new(Vec::new()));
        Self(Arc::new(Inner { graph, model: Model::built_in(), popular, rankings }))
    }

    /// Recommends users whom `request.user` does not follow, the best first: never the user, nor anyone
    /// of whom either has blocked or muted the other, nor anyone whom the request rules out.
    ///
    /// A user who is not known, or of whom little is known, is recommended popular accounts. The same
    /// graph and request give the same answer, but for who is popular, which is found out every ten
    /// minutes. It takes a bounded amount of work for any user; call it within a Tokio runtime, on whose
    /// threads for blocking work it computes. One whose future is dropped computes to its end.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unavailable`].
    pub async fn recommend_users(
        &self,
        request: RecommendRequest,
    ) -> Result<Vec<Recommendation>, GraphError> {
        self.run(request, |ranking, graph, request, model| ranking.rank(graph, request, model))
            .await
    }

    /// What the model is told of everyone that `request` finds or names, for training it: who they are,
    /// their features, and how many of them are candidates and not only named.
    ///
    /// # Errors
    ///
    /// As [`RecommendationEngine::recommend_users`].
    pub async fn features(
        &self,
        request: RecommendRequest,
    ) -> Result<(Vec<UserId>, Vec<Row>, usize), GraphError> {
        self.run(request, |ranking, graph, _, _| {
            ranking.weigh(graph)?;
            let users = ranking.nodes().iter().map(|it| graph.user(*it));
            let users = users.collect::<Result<Option<Vec<_>>, _>>()?.unwrap_or_default();
            let (rows, pool) = ranking.rows();
            Ok((users, rows.to_vec(), pool))
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        request: RecommendRequest,
        finish: impl FnOnce(
            &mut Ranking,
            &dyn Adjacency,
            &RecommendRequest,
            &Model,
        ) -> Result<T, GraphError>
        + Send
        + 'static,
    ) -> Result<T, GraphError> {
        let inner = Arc::clone(&self.0);
        let popular = inner.popular().await?;
        match &self.0.graph {
            RecommendedGraph::Embedded(store) => {
                let store = Arc::clone(store);
                compute(move || {
                    let mut ranking = inner.take_ranking();
                    ranking.find(&*store, &request, &popular)?;
                    let finished = finish(&mut ranking, &*store, &request, &inner.model);
                    inner.keep_ranking(ranking);
                    finished
                })
                .await
            }
            RecommendedGraph::Other(store) => {
                let mut graph = Subgraph::fetch(&**store, &request.user).await?;
                graph.know(popular.iter().chain(request.among.iter().flatten()));
                let mut ranking = inner.take_ranking();
                let found = compute(move || {
                    ranking.find(&graph, &request, &popular)?;
                    Ok((ranking, graph, request))
                });
                let (mut ranking, mut graph, request) = found.await?;
                graph.fetch_facts(&**store, &request.user, ranking.nodes()).await?;
                compute(move || {
                    let finished = finish(&mut ranking, &graph, &request, &inner.model);
                    inner.keep_ranking(ranking);
                    finished
                })
                .await
            }
        }
    }
}

/// Computes on a thread where that may take a while.
async fn compute<T: Send + 'static>(
    compute: impl FnOnce() -> Result<T, GraphError> + Send + 'static,
) -> Result<T, GraphError> {
    let computed = tokio::task::spawn_blocking(compute).await;
    computed.map_err(|source| GraphError::Unavailable {
        op: "recommend_users",
        backend: "recommending",
        source: source.into(),
    })?
}

impl Inner {
    fn take_ranking(&self) -> Ranking {
        let mut kept = self.rankings.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    fn keep_ranking(&self, ranking: Ranking) {
        let mut kept = self.rankings.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_RANKINGS {
            kept.push(ranking);
        }
    }

    /// Who is popular. While one request finds it out anew, the others take what is known.
    async fn popular(&self) -> Result<Arc<[UserId]>, GraphError> {
        let mut popular = self.popular.lock().await;
        if let Some(known) = &*popular
            && known.found.elapsed() < POPULAR_AGE
        {
            return Ok(Arc::clone(&known.users));
        }
        let most = self.graph.store().get_most_followed(POPULAR_CANDIDATES).await?;
        let users: Arc<[UserId]> = most.into_iter().map(|it| it.0).collect();
        *popular = Some(Popular { found: Instant::now(), users: Arc::clone(&users) });
        Ok(users)
    }
}

/// The names of the features, in the order of [`RecommendationEngine::features`].
#[must_use]
pub fn feature_names() -> &'static [&'static str] {
    &FEATURES
}
