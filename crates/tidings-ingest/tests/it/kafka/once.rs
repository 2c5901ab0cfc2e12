//! Each record once: while all is well, over restarts, with several nodes, and told again.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tidings_core::{checkpoint::PartitionId, ports::CheckpointStore};
use tidings_ingest::kafka::KafkaStart;
use tidings_testkit::services::unique_name;

use super::{
    broker::{Draft, create_topic, grow_topic, produce},
    node::{Load, Node, config, event_json, until, until_done},
    store::TestStore,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_stored_once_and_in_order() {
    let topic = unique_name("events");
    create_topic(&topic, 3).await;
    let load = Load::new(3_000, 30, 3);
    produce(&topic, &load.drafts).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 3_000).await;
    load.assert_stored_once_in_order(&store).await;
    node.until("no lag", |health| {
        health.is_well()
            && health.partitions.len() == 3
            && health.partitions.iter().all(|it| it.lag == Some(0))
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a failure names its seed")]
async fn a_node_that_is_killed_again_and_again_loses_nothing_and_tells_nobody_twice() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let topic = unique_name("events");
    create_topic(&topic, 3).await;
    let load = Load::new(20_000, 60, 3);
    produce(&topic, &load.drafts).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    for _ in 0..8 {
        let before = store.records_done(&config.group).await;
        let node = Node::start(&store, &config);
        let some = random.random_range(1..2_000);
        until("some more records", async || {
            let done = store.records_done(&config.group).await;
            done >= (before + some).min(20_000)
        })
        .await;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..5_000))).await;
        node.kill().await;
    }
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 20_000).await;
    node.stop().await;
    load.assert_stored_once_in_order(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_and_leave_share_the_work_without_doing_any_twice() {
    let topic = unique_name("events");
    create_topic(&topic, 4).await;
    let load = Load::new(16_000, 80, 4);
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let shares =
        |count| move |health: &tidings_ingest::kafka::KafkaHealth| health.partitions.len() == count;
    let first = Node::start(&store, &config);
    produce(&topic, &load.drafts[..4_000]).await;
    first.until("all partitions", shares(4)).await;
    let second = Node::start(&store, &config);
    produce(&topic, &load.drafts[4_000..8_000]).await;
    second.until("half of the partitions", shares(2)).await;
    first.until("the other half", shares(2)).await;
    produce(&topic, &load.drafts[8_000..12_000]).await;
    first.kill().await;
    let third = Node::start(&store, &config);
    third.until("half of the partitions", shares(2)).await;
    produce(&topic, &load.drafts[12_000..]).await;
    second.stop().await;
    until_done(&store, &config.group, 16_000).await;
    third.until("all partitions", shares(4)).await;
    third.stop().await;
    load.assert_stored_once_in_order(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_partition_was_claimed_by_another_is_fenced_and_goes_on_where_that_stopped() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(4_000, 10, 1);
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let id = PartitionId {
        group: config.group.as_str().into(),
        topic: topic.as_str().into(),
        partition: 0,
    };
    let node = Node::start(&store, &config);
    for (round, part) in load.drafts.chunks(1_000).enumerate() {
        produce(&topic, part).await;
        until("some records", async || {
            store.records_done(&config.group).await > i64::try_from(round * 1_000).unwrap()
        })
        .await;
        let theirs = store.claim_partition(&id).await.unwrap().epoch;
        // A record more, so that there is something to be fenced with.
        produce(&topic, &[Draft::of(event_json(&format!("x{round}"), "other"))]).await;
        until("the node claims it again", async || {
            store.list_checkpoints(&config.group).await.unwrap()[0].1.epoch > theirs
        })
        .await;
    }
    until_done(&store, &config.group, 4_004).await;
    load.assert_stored_once_in_order(&store).await;
    assert_eq!(store.events_of("other").await, ["x0", "x1", "x2", "x3"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_replayed_and_events_that_are_produced_twice_change_nothing() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let load = Load::new(500, 5, 1);
    produce(&topic, &load.drafts).await;
    produce(&topic, &load.drafts).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 1_000).await;
    let (id, _) = store.list_checkpoints(&config.group).await.unwrap().remove(0);
    store.set_checkpoint(&id, Some(0)).await.unwrap();
    // The node reads on without a restart once it is fenced.
    produce(&topic, &[Draft::of(event_json("last", "other"))]).await;
    until_done(&store, &config.group, 1_001).await;
    load.assert_stored_once_in_order(&store).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_appears_later_and_grows_is_read_from_its_beginning() {
    let topic = unique_name("events");
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    node.until("connected", |health| health.connected).await;
    create_topic(&topic, 1).await;
    let load = Load::new(300, 3, 3);
    let in_first: Vec<_> = load.drafts.iter().filter(|it| it.partition == 0).cloned().collect();
    produce(&topic, &in_first).await;
    until_done(&store, &config.group, 100).await;
    grow_topic(&topic, 3).await;
    let in_rest: Vec<_> = load.drafts.iter().filter(|it| it.partition != 0).cloned().collect();
    produce(&topic, &in_rest).await;
    until_done(&store, &config.group, 300).await;
    load.assert_stored_once_in_order(&store).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_begins_with_the_latest_keeps_its_place_from_then_on() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    produce(&topic, &[Draft::of(event_json("before", "ann"))]).await;
    let mut config = config(&[&topic]);
    config.start = KafkaStart::Latest;
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 1).await;
    node.stop().await;
    assert!(store.events_of("ann").await.is_empty());
    // Nobody is there when it comes; it is not skipped for that.
    produce(&topic, &[Draft::of(event_json("meanwhile", "ann"))]).await;
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 2).await;
    assert_eq!(store.events_of("ann").await, ["meanwhile"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_that_begin_with_the_latest_are_asked_for_and_all_of_them_begin() {
    const PARTITIONS: usize = 64;
    let topic = unique_name("events");
    create_topic(&topic, 64).await;
    let load = Load::new(2 * PARTITIONS, PARTITIONS, PARTITIONS);
    produce(&topic, &load.drafts[..PARTITIONS]).await;
    let mut config = config(&[&topic]);
    config.start = KafkaStart::Latest;
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    // The place of each is stored before anything of it is read.
    until_done(&store, &config.group, PARTITIONS).await;
    produce(&topic, &load.drafts[PARTITIONS..]).await;
    until_done(&store, &config.group, 2 * PARTITIONS).await;
    for user in 0..PARTITIONS {
        let told = store.events_of(&format!("u{user}")).await;
        assert_eq!(told, [format!("e{}", user + PARTITIONS)]);
    }
    for (_, checkpoint) in store.list_checkpoints(&config.group).await.unwrap() {
        assert_eq!(checkpoint.epoch.0, 1, "it never left the group");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_more_people_than_a_batch_holds_is_stored_among_the_others() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let users: Vec<_> = (0..5_000).map(|n| format!("u{n}")).collect();
    let wide = serde_json::json!({
        "id": "wide", "source": "s", "type": "t", "audience": {"users": users},
    });
    let drafts = [event_json("before", "u0"), wide.to_string(), event_json("after", "u0")];
    produce(&topic, &drafts.map(Draft::of)).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 3).await;
    assert_eq!(store.events_of("u0").await, ["before", "wide", "after"]);
    assert_eq!(store.events_of("u4999").await, ["wide"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_group_protocol_of_the_broker_does_as_well() {
    let topic = unique_name("events");
    create_topic(&topic, 4).await;
    let load = Load::new(8_000, 40, 4);
    let (store, mut config) = (TestStore::open(), config(&[&topic]));
    for option in ["session.timeout.ms", "heartbeat.interval.ms"] {
        config.options.remove(option);
    }
    config.options.insert("group.protocol".to_owned(), "consumer".to_owned());
    let first = Node::start(&store, &config);
    produce(&topic, &load.drafts[..4_000]).await;
    first.until("all partitions", |health| health.partitions.len() == 4).await;
    let second = Node::start(&store, &config);
    second.until("half of the partitions", |health| health.partitions.len() == 2).await;
    produce(&topic, &load.drafts[4_000..]).await;
    first.stop().await;
    until_done(&store, &config.group, 8_000).await;
    second.stop().await;
    load.assert_stored_once_in_order(&store).await;
}
