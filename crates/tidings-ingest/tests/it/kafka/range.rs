//! Positions that are not in the log, and two nodes with one name.

use tidings_core::ports::CheckpointStore;
use tidings_testkit::services::unique_name;

use super::{
    broker::{create_topic, delete_records_before, delete_topic, produce},
    node::{Load, Node, config, until, until_done},
    store::TestStore,
};

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_deleted_unread_stop_the_partition_until_its_position_is_moved() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(300, 3, 1);
    let (store, config) = (TestStore::open(), config(&[&topic]));
    produce(&topic, &load.drafts[..100]).await;
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 100).await;
    node.stop().await;
    produce(&topic, &load.drafts[100..]).await;
    delete_records_before(&topic, 150).await;

    let node = Node::start(&store, &config);
    let why = node.stopped_because().await;
    assert!(
        why.contains("position 100 is before the oldest record (150; the end is 300)"),
        "{why}"
    );
    assert!(why.contains("tidings offsets set"), "{why}");
    assert_eq!(store.records_done(&config.group).await, 100, "never moved silently");

    let (id, _) = store.list_checkpoints(&config.group).await.unwrap().remove(0);
    store.set_checkpoint(&id, Some(150)).await.unwrap();
    until_done(&store, &config.group, 300).await;
    assert_eq!(store.events_of("u0").await.len(), 34 + 50);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_not_mistaken_for_the_old_one() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(100, 3, 1);
    let (store, config) = (TestStore::open(), config(&[&topic]));
    produce(&topic, &load.drafts).await;
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 100).await;
    // While it is being read: the partition is lost and comes back.
    delete_topic(&topic).await;
    node.until("the topic is gone", |health| health.partitions.is_empty()).await;
    let remade = async || {
        let made = std::panic::AssertUnwindSafe(create_topic(&topic, 1));
        futures_util::FutureExt::catch_unwind(made).await.is_ok()
    };
    until("the topic is made anew", remade).await;
    let why = node.stopped_because().await;
    assert!(why.contains("position 100 is beyond the end of the log (0;"), "{why}");
    assert_eq!(store.records_done(&config.group).await, 100, "never moved silently");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_one_static_id_the_first_ends_and_says_why() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(200, 2, 1);
    let mut config = config(&[&topic]);
    config.instance_id = Some("node-1".to_owned());
    let store = TestStore::open();
    let first = Node::start(&store, &config);
    produce(&topic, &load.drafts[..100]).await;
    until_done(&store, &config.group, 100).await;
    let second = Node::start(&store, &config);
    first.until("it has ended", |health| health.fatal.is_some()).await;
    let why = first.health.snapshot().fatal.unwrap();
    assert!(why.contains("same kafka.instance_id"), "{why}");
    assert!(!first.health.snapshot().is_well());
    produce(&topic, &load.drafts[100..]).await;
    until_done(&store, &config.group, 200).await;
    load.assert_stored_once_in_order(&store).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_newer_group_protocol_it_is_the_second_that_ends() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(200, 2, 1);
    let mut config = config(&[&topic]);
    for option in ["session.timeout.ms", "heartbeat.interval.ms"] {
        config.options.remove(option);
    }
    config.options.insert("group.protocol".to_owned(), "consumer".to_owned());
    config.instance_id = Some("node-1".to_owned());
    let store = TestStore::open();
    let first = Node::start(&store, &config);
    produce(&topic, &load.drafts[..100]).await;
    until_done(&store, &config.group, 100).await;
    let second = Node::start(&store, &config);
    second.until("it has ended", |health| health.fatal.is_some()).await;
    let why = second.health.snapshot().fatal.unwrap();
    assert!(why.contains("same kafka.instance_id"), "{why}");
    produce(&topic, &load.drafts[100..]).await;
    until_done(&store, &config.group, 200).await;
    load.assert_stored_once_in_order(&store).await;
    first.stop().await;
    second.stop().await;
}
