//! A store that is far away, and nodes with a cache before it.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use tempfile::TempDir;
use tidings_core::{
    clock::Timestamp,
    ids::{GraphId, UserId},
    ports::{GraphError, SocialGraphStore},
};
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, GraphCache, GraphCacheConfig, RedisCacheConfig,
    cache::GraphCacheHealthHandle,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::around::{Around, Call, With};

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1)
}

/// Waits for a state, with a deadline.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// What happens on the way to the store.
pub(crate) struct Far {
    store: Arc<EmbeddedGraphStore>,
    _directory: TempDir,
    /// How long the way is at most, there and back: for one call in four, random, below this.
    pub(crate) delay: Mutex<Duration>,
    /// Writes are done, and their answer is lost.
    pub(crate) loses_answers: AtomicBool,
    /// Writes are done, and their answer never comes.
    pub(crate) holds_answers: AtomicBool,
    /// Reads fail.
    pub(crate) refuses_reads: AtomicBool,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Far {
    pub(crate) fn open(delay: Duration) -> Arc<With<Self>> {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(directory.path())).unwrap();
        Arc::new(With(Self {
            store: Arc::new(store),
            _directory: directory,
            delay: Mutex::new(delay),
            loses_answers: AtomicBool::default(),
            holds_answers: AtomicBool::default(),
            refuses_reads: AtomicBool::default(),
            reads: AtomicU64::default(),
            writes: AtomicU64::default(),
        }))
    }

    /// The store without the way.
    pub(crate) fn near(&self) -> &EmbeddedGraphStore {
        &self.store
    }

    /// Reads that have arrived since this was last asked.
    pub(crate) fn take_reads(&self) -> u64 {
        self.reads.swap(0, SeqCst)
    }

    async fn travel(&self) {
        let delay = *self.delay.lock().unwrap();
        // One in four takes its time, so that it is overtaken by many.
        if !delay.is_zero() && rand::random_ratio(1, 4) {
            sleep(delay.mul_f64(rand::random())).await;
        }
    }
}

fn lost() -> GraphError {
    GraphError::Unavailable { op: "test", backend: "far", source: "lost".into() }
}

#[async_trait]
impl Around for Far {
    async fn before(&self, call: Call) -> Result<Arc<dyn SocialGraphStore>, GraphError> {
        self.travel().await;
        if call == Call::Read && self.refuses_reads.load(SeqCst) {
            return Err(lost());
        }
        let counter = if call == Call::Read { &self.reads } else { &self.writes };
        counter.fetch_add(1, SeqCst);
        Ok(Arc::clone(&self.store) as _)
    }

    async fn after(&self, call: Call) -> Result<(), GraphError> {
        self.travel().await;
        if call == Call::Write && self.holds_answers.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        let is_lost = call == Call::Write && self.loses_answers.load(SeqCst);
        if is_lost { Err(lost()) } else { Ok(()) }
    }

    fn id(&self) -> GraphId {
        self.store.id()
    }
}

/// A node: a cache, and what works for it.
pub(crate) struct Node {
    pub(crate) cache: Arc<GraphCache>,
    pub(crate) health: GraphCacheHealthHandle,
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl Node {
    pub(crate) fn start(store: Arc<dyn SocialGraphStore>, config: &GraphCacheConfig) -> Self {
        let (cache, worker) = GraphCache::new(store, config).unwrap();
        let (stop, health) = (CancellationToken::new(), worker.health());
        let mut work = JoinSet::new();
        work.spawn(worker.run(stop.clone()));
        Self { cache: Arc::new(cache), health, stop, work }
    }

    /// Starts, and waits until the cache is open.
    pub(crate) async fn open(store: Arc<dyn SocialGraphStore>, config: &GraphCacheConfig) -> Self {
        let node = Self::start(store, config);
        node.is_open().await;
        node
    }

    pub(crate) async fn is_open(&self) {
        until("the cache is open", async || self.health.snapshot().is_open).await;
    }

    /// Ends it in good order.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.work.join_next().await {
            ended.unwrap();
        }
    }

    /// Ends it as `kill -9` does: it does not sign off.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Deref for Node {
    type Target = GraphCache;
    fn deref(&self) -> &GraphCache {
        &self.cache
    }
}

/// Sends each call to any of several nodes.
pub(crate) struct Any(Vec<Node>);

impl Any {
    /// Waits until the cache is open on all of them.
    pub(crate) async fn are_open(&self) {
        for node in &self.0 {
            node.is_open().await;
        }
    }
}

#[async_trait]
impl Around for Any {
    async fn before(&self, _: Call) -> Result<Arc<dyn SocialGraphStore>, GraphError> {
        let node = &self.0[rand::random_range(0..self.0.len())];
        Ok(Arc::clone(&node.cache) as _)
    }

    async fn after(&self, _: Call) -> Result<(), GraphError> {
        Ok(())
    }

    fn id(&self) -> GraphId {
        self.0[0].id()
    }
}

/// What all nodes of these tests have in common: everything is over soon.
pub(crate) fn config() -> GraphCacheConfig {
    let mut config = GraphCacheConfig::default();
    config.l1_bytes = 16 << 20;
    config.warm_up_questions = 0;
    config.write_lease = Duration::from_secs(2);
    config
}

/// With Redis at `url`, under `prefix`.
pub(crate) fn shared_config(url: &str, prefix: &str) -> GraphCacheConfig {
    let mut redis = RedisCacheConfig::new(url);
    prefix.clone_into(&mut redis.prefix);
    redis.lease = Duration::from_millis(400);
    redis.answer_timeout = Duration::from_millis(200);
    redis.connect_timeout = Duration::from_secs(1);
    redis.hold = Duration::from_millis(1_800);
    let mut config = config();
    config.redis = Some(redis);
    config
}

/// With time enough for a busy machine, where it matters that the cache stays open.
pub(crate) fn patient_config(url: &str, prefix: &str) -> GraphCacheConfig {
    let mut config = shared_config(url, prefix);
    let redis = config.redis.as_mut().unwrap();
    redis.lease = Duration::from_secs(1);
    redis.answer_timeout = Duration::from_secs(1);
    redis.hold = Duration::from_secs(6);
    config
}

/// Two nodes with one Redis, each call to any of them.
pub(crate) async fn two_nodes(
    store: Arc<dyn SocialGraphStore>,
    config: &GraphCacheConfig,
) -> With<Any> {
    let [one, two] = [(); 2].map(|()| Node::start(Arc::clone(&store), config));
    one.is_open().await;
    two.is_open().await;
    With(Any(vec![one, two]))
}
