//! A store that kills its own process at a named call: a decorator of the ports, in a node built from the
//! library. What a proxy cannot see of SQLite, which is no server, is reached that way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use tidings_core::{
    batch::{AppendedEvent, BatchLimits, NotificationBatch},
    checkpoint::{Checkpoint, PartitionId},
    clock::{Clock, SystemClock, Timestamp},
    ids::{NotificationId, Seq, UserId},
    inbox::{Acknowledgement, InboxState, Mark, Selection},
    notification::Notification,
    ports::{CheckpointStore, NotificationStore, StoreError},
    route::RoutingPolicy,
};
use tidings_delivery::realtime::ConnectionPool;
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore};
use tidings_ingest::{
    Planner, PlannerConfig,
    kafka::{KafkaConfig, KafkaNotificationConsumer},
    pipeline::{Pipeline, PipelineConfig},
};
use tidings_store::{SqliteConfig, SqliteStore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::process::signal;

/// A call of the store, and whether it has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeClaim,
    AfterClaim,
    /// Records were polled and planned, and no transaction has begun.
    BeforeAppend,
    /// The transaction is committed, and neither the pipeline nor the broker knows.
    AfterAppend,
}

pub(crate) const MOMENTS: [Moment; 4] =
    [Moment::BeforeClaim, Moment::AfterClaim, Moment::BeforeAppend, Moment::AfterAppend];

/// Kills the process when the moment has come for the n-th time.
struct Deadly {
    inner: SqliteStore,
    moment: Moment,
    left: AtomicU32,
}

impl Deadly {
    fn pass(&self, moment: Moment) {
        if moment == self.moment && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            signal(std::process::id(), "KILL");
            // The signal may take a moment; nothing may go on meanwhile.
            loop {
                std::thread::park();
            }
        }
    }
}

#[async_trait]
impl NotificationStore for Deadly {
    async fn append(
        &self,
        batch: Arc<NotificationBatch>,
        now: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        self.pass(Moment::BeforeAppend);
        let appended = self.inner.append(batch, now).await;
        self.pass(Moment::AfterAppend);
        appended
    }

    async fn inbox(&self, user: &UserId) -> Result<InboxState, StoreError> {
        self.inner.inbox(user).await
    }

    async fn list_after(
        &self,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        self.inner.list_after(user, after, limit).await
    }

    async fn list_newest(
        &self,
        user: &UserId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        self.inner.list_newest(user, before, limit).await
    }

    async fn find(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        self.inner.find(id).await
    }

    async fn mark(
        &self,
        user: &UserId,
        mark: Mark,
        selection: Selection,
        now: Timestamp,
    ) -> Result<InboxState, StoreError> {
        self.inner.mark(user, mark, selection, now).await
    }

    async fn acknowledge(&self, acknowledged: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        self.inner.acknowledge(acknowledged).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}

#[async_trait]
impl CheckpointStore for Deadly {
    async fn claim_partition(&self, partition: &PartitionId) -> Result<Checkpoint, StoreError> {
        self.pass(Moment::BeforeClaim);
        let claimed = self.inner.claim_partition(partition).await;
        self.pass(Moment::AfterClaim);
        claimed
    }

    async fn set_checkpoint(
        &self,
        partition: &PartitionId,
        next_offset: Option<i64>,
    ) -> Result<Checkpoint, StoreError> {
        self.inner.set_checkpoint(partition, next_offset).await
    }

    async fn list_checkpoints(
        &self,
        group: &str,
    ) -> Result<Vec<(PartitionId, Checkpoint)>, StoreError> {
        self.inner.list_checkpoints(group).await
    }
}

const PIPELINE: PipelineConfig = PipelineConfig {
    batch: BatchLimits { max_rows: 500, max_bytes: 4 << 20, max_age: Duration::ZERO },
    queue_jobs: 64,
    queue_bytes: 16 << 20,
    queue_wait: Duration::from_secs(1),
    lanes: 1,
};

/// Reads `orders["topic"]` until the moment has come. Never returns.
pub(crate) async fn run_until_killed(orders: &Value) {
    let text = |name: &str| orders[name].as_str().unwrap().to_owned();
    let moment = MOMENTS.into_iter().find(|it| format!("{it:?}") == text("moment")).unwrap();
    let left = AtomicU32::new(u32::try_from(orders["call"].as_u64().unwrap()).unwrap());
    let dir = std::path::PathBuf::from(text("dir"));
    let inner = SqliteStore::open(SqliteConfig::new(&dir)).unwrap();
    let store = Arc::new(Deadly { inner, moment, left });
    let graph = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir.join("graph"))).unwrap();
    let pool = Arc::new(ConnectionPool::new(1, 1, 1));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let notifications: Arc<dyn NotificationStore> = store.clone();
    let (pipeline, handle) =
        Pipeline::new(PIPELINE, notifications, pool.clone(), Arc::new(|| {}), Arc::clone(&clock));
    let planning = PlannerConfig { routing: RoutingPolicy::default(), page: 100 };
    let planner = Planner::new(planning, Arc::new(graph), pool, Arc::clone(&clock));
    let topic = text("topic");
    let mut config = KafkaConfig::new(text("brokers"), topic.as_str(), [topic.as_str()]);
    config.instance_id = Some("node-1".to_owned());
    config.options.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    let consumer = KafkaNotificationConsumer::new(config, planner, handle, store, clock).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(pipeline.run(CancellationToken::new()));
    tasks.spawn(consumer.run(CancellationToken::new()));
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}
