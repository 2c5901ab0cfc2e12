//! Producers that use transactions: their marks take offsets and are no records.

use tidings_core::{checkpoint::PartitionId, ports::CheckpointStore};
use tidings_ingest::kafka::{KafkaHealth, KafkaStart, PartitionState};
use tidings_testkit::services::unique_name;

use super::{
    broker::{Draft, create_topic, delete_records_before, produce, produce_in_transaction},
    node::{Node, config, event_json, until, until_done},
    store::TestStore,
};

fn events(name: &str, count: usize) -> Vec<Draft> {
    (0..count).map(|n| Draft::of(event_json(&format!("{name}-{n}"), "ann"))).collect()
}

fn has_no_lag(health: &KafkaHealth) -> bool {
    !health.partitions.is_empty()
        && health.partitions.iter().all(|it| it.high.is_some() && it.lag == Some(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_producer_has_aborted_is_told_to_nobody_and_no_lag_is_left_of_it() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    for (name, commits) in [("a", true), ("b", false), ("c", true)] {
        produce_in_transaction(&topic, &events(name, 10), commits).await;
    }
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    // 30 records and the marks of three transactions, the last of which has no record after it.
    until_done(&store, &config.group, 33).await;
    let told = store.events_of("ann").await;
    assert_eq!((told.len(), &*told[0], &*told[10]), (20, "a-0", "c-0"));
    node.until("no lag", has_no_lag).await;
    // While it is idle, and nothing but what nobody is to hear of.
    produce_in_transaction(&topic, &events("d", 5), false).await;
    until_done(&store, &config.group, 39).await;
    node.until("no lag", has_no_lag).await;
    assert_eq!(store.events_of("ann").await.len(), 20);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_retention_has_emptied_behind_a_transaction_is_read_on() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    produce_in_transaction(&topic, &events("a", 10), true).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 11).await;
    node.stop().await;
    delete_records_before(&topic, 11).await;
    let node = Node::start(&store, &config);
    produce(&topic, &events("b", 5)).await;
    until_done(&store, &config.group, 16).await;
    assert_eq!(store.events_of("ann").await.len(), 15);
    let reads = |health: &KafkaHealth| {
        health.partitions.iter().all(|it| it.state == PartitionState::Reading)
    };
    node.until("it reads", reads).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_was_set_back_is_not_taken_for_passed_because_the_client_was_there() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    produce(&topic, &events("unread", 50)).await;
    let mut config = config(&[&topic]);
    config.start = KafkaStart::Latest;
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 50).await;
    produce_in_transaction(&topic, &events("a", 10), true).await;
    until_done(&store, &config.group, 61).await;
    assert_eq!(store.events_of("ann").await.len(), 10);
    let id = PartitionId {
        group: config.group.as_str().into(),
        topic: topic.as_str().into(),
        partition: 0,
    };
    store.set_checkpoint(&id, Some(0)).await.unwrap();
    // The node learns of it by the next record; a client that fetched up to 61 begins anew at 0.
    produce(&topic, &events("b", 1)).await;
    until("all is read", async || store.events_of("ann").await.len() == 61).await;
    until_done(&store, &config.group, 62).await;
    node.stop().await;
}
