//! The engine.

use std::{
    fmt,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tidings_core::{
    error_chain::ErrorChain,
    ids::UserId,
    ports::{BoxError, GraphError, SocialGraphStore},
    recommendation::Recommendation,
};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    adjacency::Adjacency, limits::POPULAR_FOUND, model::Model, ranking::Ranking,
    request::RecommendRequest, subgraph::Subgraph,
};
use crate::embedded::EmbeddedGraphStore;

/// For how long it is taken as known who is popular.
const POPULAR_AGE: Duration = Duration::from_secs(600);
/// The same where few are found, as in a graph that is only being filled, or none because of a fault.
const FEW_POPULAR_AGE: Duration = Duration::from_secs(10);
/// Rankings whose buffers are kept; one may have come to some 25 MB.
const KEPT_RANKINGS: usize = 2;

/// Which graph the engine reads.
#[derive(Clone)]
pub enum RecommendedGraph {
    /// The embedded graph, whose index is read directly.
    Embedded(Arc<EmbeddedGraphStore>),
    /// Any other, through the port.
    Other(Arc<dyn SocialGraphStore>),
}

/// Recommends whom to follow; see the [module](super).
#[derive(Clone)]
pub struct RecommendationEngine(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) graph: RecommendedGraph,
    /// What it ranks by before it has learned from its graph, and learns from each time.
    pub(super) first: Model,
    model: RwLock<Arc<Model>>,
    popular: Mutex<Option<Popular>>,
    /// Held by whoever finds out who is popular.
    finding: tokio::sync::Mutex<()>,
    /// For each computation under way, also of a request that nobody waits for any more.
    pub(super) turns: Arc<Semaphore>,
    /// Buffers that wait for the next request.
    rankings: Mutex<Vec<Ranking>>,
}

/// Who has the most followers.
#[derive(Clone)]
struct Popular {
    good_until: Instant,
    users: Arc<[UserId]>,
}

impl fmt::Debug for RecommendationEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.0.model();
        f.debug_struct("RecommendationEngine").field("model", &model).finish_non_exhaustive()
    }
}

impl RecommendationEngine {
    /// An engine over this graph, with the model that is built in.
    #[must_use]
    pub fn new(graph: RecommendedGraph) -> Self {
        Self::with_model(graph, Model::built_in())
    }

    /// An engine over this graph with a model.
    #[must_use]
    pub fn with_model(graph: RecommendedGraph, model: Model) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Inner {
            graph,
            model: RwLock::new(Arc::new(model.clone())),
            first: model,
            popular: Mutex::new(None),
            finding: tokio::sync::Mutex::new(()),
            turns: Arc::new(Semaphore::new(cores)),
            rankings: Mutex::new(Vec::new()),
        }))
    }

    /// Recommends users whom `request.user` does not follow, the best first: never the user, nor anyone
    /// of whom either has blocked or muted the other, nor anyone whom the request rules out.
    ///
    /// A user who is not known, or of whom little is known, is recommended popular accounts. The same
    /// graph and request give the same answer, but for who is popular, which is found out every ten
    /// minutes, and until the engine [learns](RecommendationEngine::fit) anew. It takes a bounded amount of work for any user; call it within a Tokio runtime, on whose
    /// threads for blocking work it computes, as many requests at once as there are cores. One whose future is
    /// dropped computes to its end, and the next waits for that.
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
        let popular = inner.popular().await;
        match &self.0.graph {
            RecommendedGraph::Embedded(store) => {
                let store = Arc::clone(store);
                compute(&self.0.turns, move || {
                    let mut ranking = inner.take_ranking();
                    ranking.find(&*store, &request, &popular)?;
                    let finished = finish(&mut ranking, &*store, &request, &inner.model());
                    inner.keep_ranking(ranking);
                    finished
                })
                .await
            }
            RecommendedGraph::Other(store) => {
                let mut graph = Subgraph::fetch(&**store, &request.user).await?;
                graph.know(popular.iter().chain(request.among.iter().flatten()));
                let mut ranking = inner.take_ranking();
                let found = compute(&self.0.turns, move || {
                    ranking.find(&graph, &request, &popular)?;
                    Ok((ranking, graph, request))
                });
                let (mut ranking, mut graph, request) = found.await?;
                let explain = request.explain;
                graph.fetch_facts(&**store, &request.user, ranking.nodes(), explain).await?;
                compute(&self.0.turns, move || {
                    let finished = finish(&mut ranking, &graph, &request, &inner.model());
                    inner.keep_ranking(ranking);
                    finished
                })
                .await
            }
        }
    }
}

/// Computes on a thread where that may take a while, when it is its turn.
pub(super) async fn compute<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    compute: impl FnOnce() -> Result<T, GraphError> + Send + 'static,
) -> Result<T, GraphError> {
    let failed = |source: BoxError| GraphError::Unavailable {
        op: "recommend_users",
        backend: "recommending",
        source,
    };
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|it| failed(it.into()))?;
    let computed = tokio::task::spawn_blocking(move || {
        let computed = compute();
        // Only now: a request that nobody waits for any more still takes its core.
        drop(turn);
        computed
    });
    computed.await.map_err(|it| failed(it.into()))?
}

impl Inner {
    /// The model as it is now.
    pub(super) fn model(&self) -> Arc<Model> {
        Arc::clone(&self.model.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ranks by another model from the next request on.
    pub(super) fn set_model(&self, model: Model) {
        *self.model.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
    }

    pub(super) fn take_ranking(&self) -> Ranking {
        let mut kept = self.rankings.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    pub(super) fn keep_ranking(&self, ranking: Ranking) {
        let mut kept = self.rankings.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_RANKINGS {
            kept.push(ranking);
        }
    }

    /// Who is popular. While one request finds it out anew, the others take what is known; where that
    /// fails, all do, for a while. The first ones wait.
    pub(super) async fn popular(&self) -> Arc<[UserId]> {
        let known = self.known_popular();
        let is_good = |it: &Popular| Instant::now() < it.good_until;
        if let Some(known) = known.as_ref().filter(|it| is_good(it)) {
            return Arc::clone(&known.users);
        }
        let _finding = match (self.finding.try_lock(), known) {
            (Ok(finding), _) => finding,
            (Err(_), Some(known)) => return known.users,
            (Err(_), None) => self.finding.lock().await,
        };
        let known = self.known_popular();
        if let Some(known) = known.as_ref().filter(|it| is_good(it)) {
            return Arc::clone(&known.users);
        }
        let (users, age): (Arc<[UserId]>, _) = match self.find_popular().await {
            Ok(found) if found.len() < POPULAR_FOUND => (found.into(), FEW_POPULAR_AGE),
            Ok(found) => (found.into(), POPULAR_AGE),
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "who is popular cannot be found out: recommending without");
                (known.map_or_else(|| Arc::from([]), |it| it.users), FEW_POPULAR_AGE)
            }
        };
        let popular = Popular { good_until: Instant::now() + age, users: Arc::clone(&users) };
        *self.popular.lock().unwrap_or_else(PoisonError::into_inner) = Some(popular);
        users
    }

    fn known_popular(&self) -> Option<Popular> {
        self.popular.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn find_popular(&self) -> Result<Vec<UserId>, GraphError> {
        let found = match &self.graph {
            RecommendedGraph::Embedded(store) => {
                let (store, runtime) = (Arc::clone(store), Handle::current());
                // It looks at every user, without a pause.
                let find = move || runtime.block_on(store.get_most_followed(POPULAR_FOUND));
                compute(&self.turns, find).await?
            }
            RecommendedGraph::Other(store) => store.get_most_followed(POPULAR_FOUND).await?,
        };
        Ok(found.into_iter().map(|it| it.0).collect())
    }
}
