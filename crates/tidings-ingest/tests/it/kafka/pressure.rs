//! A store that is slow, hangs, fails, or loses its answers.

use std::{sync::atomic::Ordering, time::Duration};

use tidings_core::{batch::BatchLimits, ports::CheckpointStore};
use tidings_ingest::kafka::{KafkaHealth, PartitionHealth, PartitionState};
use tidings_testkit::services::unique_name;
use tokio::time::Instant;

use super::{
    broker::{Draft, create_topic, produce},
    node::{Load, Node, config, event_json, until, until_done},
    pipeline::LIMITS,
    store::{Mood, TestStore},
};
use crate::doubles::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_hangs_partitions_are_paused_memory_is_bounded_and_the_node_stays() {
    const QUEUE_BYTES: usize = 1 << 20;
    // What a partition may have beyond its share: the record that filled it, and the rows of what was
    // planned when it was full, a batch and a few.
    const BEYOND_BYTES: usize = 4_096 + 1_030 * 56;
    let topic = unique_name("events");
    create_topic(&topic, 2).await;
    let load = Load::new(30_000, 20, 2);
    let mut config = config(&[&topic]);
    config.queue_bytes = QUEUE_BYTES;
    config.options.insert("max.poll.interval.ms".to_owned(), "6000".to_owned());
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    produce(&topic, &load.drafts[..2]).await;
    until_done(&store, &config.group, 2).await;
    store.be(Mood::Hangs);
    produce(&topic, &load.drafts[2..]).await;
    node.until("both partitions are paused", |health| {
        health.partitions.len() == 2 && health.partitions.iter().all(|it| it.paused)
    })
    .await;
    // Longer than a member may leave out its polls.
    let end = Instant::now() + Duration::from_secs(7);
    until("seven seconds have passed", async || {
        let health = node.health.snapshot();
        let held: usize = health.partitions.iter().map(|it| it.held_bytes).sum();
        assert!(held <= QUEUE_BYTES + 2 * BEYOND_BYTES, "{held} bytes are held");
        assert!(health.partitions.len() == 2 && health.connected, "{health:?}");
        Instant::now() >= end
    })
    .await;
    store.be(Mood::Fine);
    until_done(&store, &config.group, 30_000).await;
    load.assert_stored_once_in_order(&store).await;
    for (_, checkpoint) in store.list_checkpoints(&config.group).await.unwrap() {
        assert_eq!(checkpoint.epoch.0, 1, "it never left the group");
    }
    node.stop().await;
}

/// An event for users u0, u1, …
fn for_many(id: &str, users: usize) -> Draft {
    let users: Vec<_> = (0..users).map(|n| format!("u{n}")).collect();
    let audience = serde_json::json!({ "users": users });
    let event = serde_json::json!({"id": id, "source": "s", "type": "t", "audience": audience});
    Draft::of(event.to_string())
}

/// An event for the followers of a star.
fn for_followers(id: &str) -> Draft {
    let audience = serde_json::json!({ "followers_of": "star" });
    let event = serde_json::json!({"id": id, "source": "s", "type": "t", "audience": audience});
    Draft::of(event.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_events_for_many_count_against_what_may_be_queued() {
    const QUEUE_BYTES: usize = 64 << 10;
    const USERS: usize = 2_000;
    // Forty bytes and more for each, which is more than may be queued at all.
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let drafts: Vec<_> = (0..100).map(|n| for_many(&format!("e{n}"), USERS)).collect();
    let mut config = config(&[&topic]);
    config.queue_bytes = QUEUE_BYTES;
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    produce(&topic, &drafts[..1]).await;
    until_done(&store, &config.group, 1).await;
    store.be(Mood::Hangs);
    produce(&topic, &drafts[1..]).await;
    node.until("the rows are counted", |health| {
        health.partitions.iter().all(|it| it.paused) && held_by(health) > QUEUE_BYTES + RECORD_BYTES
    })
    .await;
    store.be(Mood::Fine);
    until_done(&store, &config.group, 100).await;
    assert_eq!(store.events_of("u1999").await.len(), 100);
    node.until("nothing is held", |health| held_by(health) == 0).await;
    node.stop().await;
}

/// What is held while the store hangs, once all of a full queue is planned that is planned ahead. The
/// first event is for followers: the graph fails until the queue is full.
async fn held_ahead_of_a_store_that_hangs(
    queue_bytes: usize,
    batch: BatchLimits,
    drafts: &[Draft],
) -> usize {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let mut config = config(&[&topic]);
    config.queue_bytes = queue_bytes;
    let store = TestStore::open();
    let node = Node::start_with(&store, &config, batch);
    node.graph.set_followers(FOLLOWERS);
    produce(&topic, &[for_many("first", 1)]).await;
    until_done(&store, &config.group, 1).await;
    node.graph.fail(Fault::Graph);
    store.be(Mood::Hangs);
    produce(&topic, drafts).await;
    let full = |health: &KafkaHealth| health.partitions.iter().any(|it| it.paused);
    node.until("the queue is full", full).await;
    node.graph.fail(Fault::None);
    node.until("it is planned ahead", |health| held_by(health) > queue_bytes + 16 * 1024).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let held = held_by(&node.health.snapshot());
    store.be(Mood::Fine);
    until_done(&store, &config.group, drafts.len() + 1).await;
    node.stop().await;
    held
}

fn held_by(health: &KafkaHealth) -> usize {
    health.partitions.iter().map(|it| it.held_bytes).sum()
}

/// Followers of the star.
const FOLLOWERS: usize = 90;
/// What a row takes at most.
const ROW_BYTES: usize = 56;
/// What a record takes at most besides its share: the one that filled it.
const RECORD_BYTES: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn of_small_events_for_many_half_a_share_is_planned_ahead_of_a_store_that_hangs() {
    const QUEUE_BYTES: usize = 64 << 10;
    let drafts: Vec<_> = (0..1_000).map(|n| for_followers(&format!("e{n}"))).collect();
    // All of them would fit into one batch, and their rows take four megabytes.
    let batch = BatchLimits { max_rows: 10_000, ..LIMITS };
    let held = held_ahead_of_a_store_that_hangs(QUEUE_BYTES, batch, &drafts).await;
    // Thirty are planned at a time, and are being stored; half a share and one more is in the open
    // batch; and thirty are ready.
    let rows = (30 + 1 + 30) * FOLLOWERS * ROW_BYTES + QUEUE_BYTES / 2;
    assert!(held <= QUEUE_BYTES + RECORD_BYTES + rows, "{held} bytes are held");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_large_events_few_are_planned_ahead_of_a_store_that_hangs() {
    const QUEUE_BYTES: usize = 512 << 10;
    const USERS: usize = 2_000;
    let wide = (1..100).map(|n| for_many(&format!("e{n}"), USERS));
    let drafts: Vec<_> = std::iter::once(for_followers("e0")).chain(wide).collect();
    let held = held_ahead_of_a_store_that_hangs(QUEUE_BYTES, LIMITS, &drafts).await;
    // One is being stored at most, one is in the open batch, and four are ready: as many records as
    // have 64 KiB.
    let rows = 6 * USERS * ROW_BYTES;
    assert!(held <= QUEUE_BYTES + RECORD_BYTES + rows, "{held} bytes are held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_from_the_start_is_waited_for_and_the_health_says_so() {
    let topic = unique_name("events");
    create_topic(&topic, 2).await;
    let load = Load::new(1_000, 20, 2);
    produce(&topic, &load.drafts).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    store.be(Mood::Down);
    let node = Node::start(&store, &config);
    let waits = |health: &KafkaHealth| {
        let waits = |it: &PartitionHealth| match &it.state {
            PartitionState::Waiting { why } => why.contains("told to be down"),
            _ => false,
        };
        health.partitions.len() == 2 && health.partitions.iter().all(waits)
    };
    node.until("no claim succeeds", waits).await;
    assert!(!node.health.snapshot().is_well());
    store.be(Mood::Fine);
    until_done(&store, &config.group, 1_000).await;
    store.be(Mood::Down);
    let more = Load::new(1_010, 20, 2);
    produce(&topic, &more.drafts[1_000..]).await;
    node.until("nothing is stored", waits).await;
    store.be(Mood::Fine);
    until_done(&store, &config.group, 1_010).await;
    more.assert_stored_once_in_order(&store).await;
    node.until("all is well", KafkaHealth::is_well).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_whose_answers_are_lost_are_not_made_twice() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(2_000, 20, 1);
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    produce(&topic, &load.drafts[..100]).await;
    until_done(&store, &config.group, 100).await;
    store.be(Mood::LosesAnswers);
    produce(&topic, &load.drafts[100..]).await;
    let before = store.appends.load(Ordering::SeqCst);
    until("some tries", async || store.appends.load(Ordering::SeqCst) > before + 3).await;
    store.be(Mood::Fine);
    until_done(&store, &config.group, 2_000).await;
    load.assert_stored_once_in_order(&store).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_can_be_stopped_while_the_store_is_down() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(100, 2, 1);
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    produce(&topic, &load.drafts[..1]).await;
    until_done(&store, &config.group, 1).await;
    store.be(Mood::Down);
    produce(&topic, &load.drafts[1..]).await;
    node.until("it waits", |health| !health.is_well()).await;
    node.stop().await;
    store.be(Mood::Fine);
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 100).await;
    load.assert_stored_once_in_order(&store).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_leaves_while_it_is_paused_and_comes_back_is_read_on() {
    let topic = unique_name("events");
    create_topic(&topic, 2).await;
    let load = Load::new(10_000, 20, 2);
    let mut config = config(&[&topic]);
    config.queue_bytes = 256 << 10;
    let store = TestStore::open();
    let first = Node::start(&store, &config);
    produce(&topic, &load.drafts[..2]).await;
    until_done(&store, &config.group, 2).await;
    store.be(Mood::Hangs);
    produce(&topic, &load.drafts[2..]).await;
    let paused = |count| {
        move |health: &KafkaHealth| {
            health.partitions.len() == count && health.partitions.iter().all(|it| it.paused)
        }
    };
    first.until("both partitions are paused", paused(2)).await;
    let second = Node::start(&store, &config);
    first.until("one partition has left", paused(1)).await;
    second.kill().await;
    first.until("it is back", |health| health.partitions.len() == 2).await;
    store.be(Mood::Fine);
    until_done(&store, &config.group, 10_000).await;
    load.assert_stored_once_in_order(&store).await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_is_out_of_reach_holds_up_its_partition_and_drops_nothing() {
    let topic = unique_name("events");
    create_topic(&topic, 2).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    node.graph.set_followers(20);
    node.graph.fail(Fault::Graph);
    let to_followers =
        r#"{"id":"post","source":"s","type":"t","audience":{"followers_of":"star"}}"#;
    produce(&topic, &[Draft::of(event_json("e1", "ann"))]).await;
    produce(&topic, &[Draft::of(to_followers), Draft::of(event_json("e2", "ann"))]).await;
    produce(&topic, &[Draft { partition: 1, ..Draft::of(event_json("e3", "ben")) }]).await;
    until_done(&store, &config.group, 2).await;
    node.until("the partition waits", |health| !health.is_well()).await;
    assert_eq!(store.events_of("ann").await, ["e1"], "in order");
    assert_eq!(store.events_of("ben").await, ["e3"], "the other partition goes on");
    node.graph.fail(Fault::None);
    until_done(&store, &config.group, 4).await;
    assert_eq!(store.events_of("ann").await, ["e1", "e2"]);
    assert_eq!(store.events_of("f19").await, ["post"]);
    assert!(store.dead_letters().await.is_empty());
    node.stop().await;
}
