//! Nodes that read Kafka, as many as a test wants, on one store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidings_core::{
    batch::BatchLimits,
    clock::SystemClock,
    ports::{CheckpointStore, NotificationStore},
    retry::RetryPolicy,
};
use tidings_ingest::kafka::{
    KafkaConfig, KafkaHealth, KafkaHealthHandle, KafkaNotificationConsumer, PartitionState,
};
use tidings_testkit::services::{kafka_bootstrap, unique_name};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    broker::{DEADLINE, Draft},
    pipeline,
    store::TestStore,
};
use crate::doubles::Recorder;

/// A configuration that notices everything fast.
pub(super) fn config(topics: &[&str]) -> KafkaConfig {
    let mut config =
        KafkaConfig::new(kafka_bootstrap(), unique_name("group"), topics.iter().copied());
    config.retry = RetryPolicy { max_attempts: u32::MAX, base_ms: 10, cap_ms: 200 };
    for (name, value) in [
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
        ("topic.metadata.refresh.interval.ms", "500"),
        ("statistics.interval.ms", "200"),
    ] {
        config.options.insert(name.to_owned(), value.to_owned());
    }
    config
}

/// A node with a consumer.
pub(super) struct Node {
    pub(super) health: KafkaHealthHandle,
    pub(super) graph: Arc<Recorder>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Node {
    pub(super) fn start(store: &Arc<TestStore>, config: &KafkaConfig) -> Self {
        Self::start_with(store, config, pipeline::LIMITS)
    }

    /// Starts it with batches of another size.
    pub(super) fn start_with(
        store: &Arc<TestStore>,
        config: &KafkaConfig,
        batch: BatchLimits,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let notifications: Arc<dyn NotificationStore> = store.clone();
        let checkpoints: Arc<dyn CheckpointStore> = store.clone();
        let graph = Arc::new(Recorder::default());
        // The pipeline outlives the consumer, as in a real node.
        let parts = pipeline::start(batch, notifications, &graph, &mut tasks);
        let consumer = KafkaNotificationConsumer::new(
            config.clone(),
            parts.planner,
            parts.handle,
            checkpoints,
            Arc::new(SystemClock),
        );
        let consumer = consumer.unwrap();
        let health = consumer.health();
        let consumer_stop = stop.clone();
        let pipeline_stop = parts.stop;
        tasks.spawn(async move {
            consumer.run(consumer_stop).await;
            pipeline_stop.cancel();
        });
        Self { health, graph, stop, tasks }
    }

    /// Stops it in order.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        let ended = async {
            while let Some(done) = self.tasks.join_next().await {
                done.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, ended).await.unwrap();
    }

    /// Ends it where it stands, as `kill -9` would: nothing is finished, nobody is told.
    pub(super) async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    /// Waits until the health is as `wanted` says; if it never is, says what it was at last.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&KafkaHealth) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let health = self.health.snapshot();
            if wanted(&health) {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain: {what}: {health:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a partition is stopped, and says why.
    pub(super) async fn stopped_because(&self) -> String {
        let why = |health: &KafkaHealth| {
            health.partitions.iter().find_map(|it| match &it.state {
                PartitionState::Stopped { why } => Some(why.clone()),
                _ => None,
            })
        };
        self.until("a partition stops", |health| why(health).is_some()).await;
        why(&self.health.snapshot()).unwrap()
    }
}

/// Waits until `is_so`, looking again and again; fails after a minute.
pub(super) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the group has stored, or put away, so many records.
pub(super) async fn until_done(store: &TestStore, group: &str, records: usize) {
    let records = i64::try_from(records).unwrap();
    until(&format!("{records} records done"), async || store.records_done(group).await == records)
        .await;
}

pub(super) fn event_json(id: &str, user: &str) -> String {
    format!(r#"{{"id":"{id}","source":"s","type":"t","audience":{{"users":["{user}"]}}}}"#)
}

/// Numbered events for `users` users, who each are in one of `partitions` partitions.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) drafts: Vec<Draft>,
    expected: BTreeMap<String, Vec<String>>,
}

impl Load {
    pub(super) fn new(events: usize, users: usize, partitions: usize) -> Self {
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut drafts = Vec::with_capacity(events);
        for number in 0..events {
            let user = number % users;
            let (id, name) = (format!("e{number}"), format!("u{user}"));
            let partition = i32::try_from(user % partitions).unwrap();
            drafts.push(Draft { partition, ..Draft::of(event_json(&id, &name)) });
            expected.entry(name).or_default().push(id);
        }
        Self { drafts, expected }
    }

    /// Everyone has each event once, in the order in which they were produced.
    pub(super) async fn assert_stored_once_in_order(&self, store: &TestStore) {
        for (user, events) in &self.expected {
            assert_eq!(&store.events_of(user).await, events, "the inbox of {user}");
        }
    }
}
