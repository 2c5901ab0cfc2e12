//! Makes lists of whom to follow.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidings_core::{
    clock::Clock,
    ids::UserId,
    ports::{GraphError, RecommendationFeedbackStore, StoreError},
    recommendation::Recommendation,
};
use tidings_graph::recommend::{Fit, RecommendRequest, RecommendationEngine};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    discount::ImpressionDiscount,
    hidden::HiddenUsers,
    lists::{ListCache, ListKey},
    measure::Measures,
};

/// When to ask again after a refusal: places are free again within milliseconds, and whoever is refused
/// has many beside them.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How lists are made.
#[derive(Debug, Clone)]
pub struct RecommenderConfig {
    /// How many a list has unless told.
    pub limit: usize,
    /// How many of a user's followees have to follow whoever is recommended and does not follow the user.
    pub least_known: u32,
    /// What being shown in vain takes off a score.
    pub discount: ImpressionDiscount,
    /// How long lists are given again as they are; not at all if zero.
    pub cache: Duration,
    /// Bytes of lists that are kept.
    pub cache_bytes: u64,
    /// Lists that are made at once.
    pub concurrency: usize,
    /// Requests that may wait for that beside them.
    pub waiting: usize,
}

/// Why nothing is recommended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecommendError {
    /// As many wait as may.
    #[error("too many requests for recommendations wait (recommendations.waiting)")]
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The graph did not answer.
    #[error("the graph did not say whom to follow")]
    Graph(#[from] GraphError),
    /// What the user made of recommendations so far cannot be read.
    #[error("what the user dismissed is not known")]
    Store(#[from] StoreError),
}

/// What a server asks for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Who wants to know whom to follow.
    pub user: UserId,
    /// How many at most.
    pub limit: usize,
    /// Whether each comes with its reasons.
    pub explain: bool,
    /// Nobody but these; anyone if nothing.
    pub among: Option<Vec<UserId>>,
    /// What the app multiplies scores by.
    pub boosts: HashMap<UserId, f32>,
}

/// Makes lists of whom to follow.
pub struct Recommender {
    engine: RecommendationEngine,
    store: Arc<dyn RecommendationFeedbackStore>,
    hidden: Arc<HiddenUsers>,
    clock: Arc<dyn Clock>,
    config: RecommenderConfig,
    lists: ListCache,
    /// Those who are let in: who wait, and whose list is being made.
    places: Semaphore,
    /// Those whose list is being made.
    turns: Semaphore,
    measures: Measures,
}

impl Recommender {
    /// Makes lists with `engine` and what `store` knows of the users.
    #[must_use]
    pub fn new(
        engine: RecommendationEngine,
        store: Arc<dyn RecommendationFeedbackStore>,
        hidden: Arc<HiddenUsers>,
        clock: Arc<dyn Clock>,
        config: RecommenderConfig,
    ) -> Self {
        let turns = config.concurrency.max(1);
        Self {
            engine,
            store,
            hidden,
            clock,
            lists: ListCache::new(config.cache, config.cache_bytes),
            places: Semaphore::new(turns + config.waiting),
            turns: Semaphore::new(turns),
            measures: Measures::new(),
            config,
        }
    }

    /// How many a list has unless told.
    #[must_use]
    pub fn usual_limit(&self) -> usize {
        self.config.limit
    }

    /// Learns from up to so many users of the graph how to recommend, and recommends so from now on unless
    /// that is far worse.
    ///
    /// # Errors
    ///
    /// As [`RecommendationEngine::fit`].
    pub async fn learn(&self, users: usize) -> Result<Fit, GraphError> {
        let fit = self.engine.fit(users, &self.hidden.users()).await?;
        if fit.learned.is_some() {
            self.forget_all_lists();
        }
        Ok(fit)
    }

    /// Whom `user` may want to follow, the best first; for a short time the same list again.
    ///
    /// # Errors
    ///
    /// [`RecommendError`].
    pub async fn list(
        &self,
        user: UserId,
        limit: usize,
        explain: bool,
    ) -> Result<Arc<[Recommendation]>, RecommendError> {
        let key = ListKey { user, limit, explain };
        if let Some(list) = self.lists.find(&key) {
            self.measures.cached.increment(1);
            return Ok(self.without_hidden(list));
        }
        let moment = self.lists.moment(&key.user);
        let user = key.user.clone();
        let query = Query { user, limit, explain, among: None, boosts: HashMap::new() };
        let list = self.query(query).await?.into();
        self.lists.keep(key, &list, moment);
        Ok(list)
    }

    /// Whoever was hidden since a list was made is not on it.
    fn without_hidden(&self, list: Arc<[Recommendation]>) -> Arc<[Recommendation]> {
        let hidden = self.hidden.users();
        if !list.iter().any(|it| hidden.contains(&it.user)) {
            return list;
        }
        list.iter().filter(|it| !hidden.contains(&it.user)).cloned().collect()
    }

    /// Makes a list as `query` wants it.
    ///
    /// # Errors
    ///
    /// [`RecommendError`].
    pub async fn query(&self, query: Query) -> Result<Vec<Recommendation>, RecommendError> {
        let begun = Instant::now();
        let Ok(_place) = self.places.try_acquire() else {
            self.measures.refused.increment(1);
            return Err(RecommendError::Busy { retry_after: RETRY_AFTER });
        };
        let made = self.make(query).await;
        match &made {
            Ok(_) => self.measures.computed.increment(1),
            Err(_) => self.measures.failed.increment(1),
        }
        self.measures.duration.record(begun.elapsed());
        made
    }

    async fn make(&self, query: Query) -> Result<Vec<Recommendation>, RecommendError> {
        // It is never closed; without a turn the list would be made all the same.
        let _turn = self.turns.acquire().await;
        let Query { user, limit, explain, among, boosts } = query;
        let feedback = self.store.feedback(&user).await?;
        let now = self.clock.now();
        let factors = self.config.discount.factors(&feedback.impressions, boosts, now);
        let request = RecommendRequest {
            explain,
            among,
            excluded: HashSet::from_iter(feedback.dismissed),
            hidden: self.hidden.users(),
            least_known: self.config.least_known,
            factors,
            ..RecommendRequest::new(user, limit)
        };
        // What is dropped here computes to its end, beside the turns: some milliseconds.
        Ok(self.engine.recommend_users(request).await?)
    }

    /// Remembers that `user` does not want to be shown `others`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn dismiss(&self, user: &UserId, others: &[UserId]) -> Result<(), StoreError> {
        self.store.dismiss(user, others, self.clock.now()).await?;
        self.forget_lists(user);
        Ok(())
    }

    /// Takes a dismissal back.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn undismiss(&self, user: &UserId, other: &UserId) -> Result<(), StoreError> {
        self.store.undismiss(user, other).await?;
        self.forget_lists(user);
        Ok(())
    }

    /// Counts that `user` was shown `shown`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn add_impressions(&self, user: &UserId, shown: &[UserId]) -> Result<(), StoreError> {
        self.store.add_impressions(user, shown, self.clock.now()).await?;
        self.forget_lists(user);
        Ok(())
    }

    /// Recommends `user` to nobody.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn hide(&self, user: &UserId) -> Result<(), StoreError> {
        self.hidden.hide(user).await
    }

    /// Lets `user` be recommended again.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn show(&self, user: &UserId) -> Result<(), StoreError> {
        self.hidden.show(user).await
    }

    /// Forgets that `user`, whom the store and the graph have forgotten, is not to be recommended.
    pub fn forget_user(&self, user: &UserId) {
        self.hidden.forget(user);
    }

    /// Drops the lists of `user`, who follows, blocks or mutes somebody now, or has stopped it.
    pub fn forget_lists(&self, user: &UserId) {
        self.lists.forget(user);
    }

    /// Drops everyone's lists.
    pub fn forget_all_lists(&self) {
        self.lists.forget_all();
    }
}
