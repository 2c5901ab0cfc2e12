//! Topics that are compacted, truncated, or not there yet.

use std::{collections::BTreeMap, process::Command, time::Duration};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tidings_testkit::services::unique_name;

use crate::{
    broker::Admin,
    harness::Node,
    ledger::Ledger,
    scene::{Scene, Setup, StoreKind, start},
    story::{Draft, Meaning, Story},
    until::{DEADLINE, until, until_some},
    verify::{assert_exact, dead_letters, inbox, part, positions, until_drained},
};

/// Runs `tidings offsets …` against a node.
fn offsets(node: &Node, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.arg("offsets").args(args).args(["--url", node.url()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What stopped the partition, as readiness says.
async fn stopped_because(node: &Node, name: &str) -> String {
    until_some("readiness names the partition", async || {
        let kafka = part(node, "kafka").await?;
        let text = kafka.to_string();
        (kafka["up"] == false && text.contains(name)).then_some(text)
    })
    .await
}

async fn truncated(store: StoreKind) {
    let scene = Scene::new(Setup::new(store, 2)).await;
    let (mut writer, mut story) = (scene.writer(), Story::new(3, 20, 2));
    writer.write(&story.take(1_000)).await;
    let node = scene.start();
    until_drained(&node, &writer.ledger).await;
    node.kill();
    let before = writer.ledger.clone();
    // Records that nobody will ever see, of one partition; the other goes on.
    let mut lost = scene.writer();
    lost.ledger = before.clone();
    lost.write(&story.take(400)).await;
    let cut = lost.ledger.ends[&0];
    scene.admin.delete_records_before(&scene.topic, 0, cut).await;
    let mut ledger = without(&lost.ledger, 0, before.ends[&0]..cut);
    let node = start(&scene.site);
    let why = stopped_because(&node, &scene.topic).await;
    let (from, to) = (before.ends[&0].to_string(), cut.to_string());
    assert!(why.contains(&from) && why.contains(&to), "{from} and {to}: {why}");
    assert!(why.contains("tidings offsets set"), "{why}");
    until("the other partition goes on", async || {
        let positions = positions(&node).await.unwrap_or_default();
        positions.get(&(scene.topic.clone(), 1)) == Some(&ledger.ends[&1])
    })
    .await;
    let stands = positions(&node).await.unwrap();
    assert_eq!(stands[&(scene.topic.clone(), 0)], before.ends[&0], "it never jumps by itself");
    offsets(&node, &["set", "--topic", &scene.topic, "--partition", "0", "--offset", &to]);
    let mut writer = scene.writer();
    writer.ledger = std::mem::take(&mut ledger);
    writer.write(&story.take(400)).await;
    until_drained(&node, &writer.ledger).await;
    until("it is ready again", async || {
        part(&node, "kafka").await.is_some_and(|it| it["up"] == true)
    })
    .await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

/// What is left to be told when some records of a partition are gone. An event that came again later
/// would be lost with them; the story's duplicates come soon after, and are cut too.
fn without(ledger: &Ledger, partition: i32, gone: std::ops::Range<i64>) -> Ledger {
    let is_gone = |place: &(i32, i64)| place.0 == partition && gone.contains(&place.1);
    let mut left = ledger.clone();
    left.letters.retain(|place| !is_gone(place));
    for inbox in left.told.values_mut() {
        inbox.retain(|_, place| !is_gone(place));
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_partition_stops_is_named_and_goes_on_when_it_is_moved_on_sqlite() {
    truncated(StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_partition_stops_is_named_and_goes_on_when_it_is_moved_on_postgres() {
    truncated(StoreKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_moved_back_is_noticed_where_no_record_comes_and_nothing_is_told_twice()
{
    let scene = Scene::new(Setup::new(StoreKind::Sqlite, 2)).await;
    let mut writer = scene.writer();
    writer.write(&Story::new(5, 20, 2).take(500)).await;
    let node = scene.start();
    until_drained(&node, &writer.ledger).await;
    offsets(&node, &["set", "--topic", &scene.topic, "--partition", "1", "--offset", "0"]);
    assert_eq!(positions(&node).await.unwrap()[&(scene.topic.clone(), 1)], 0);
    until_drained(&node, &writer.ledger).await;
    for (user, told) in &writer.ledger.told {
        assert_eq!(inbox(&node, user).await.len(), told.len(), "{user} was told again");
    }
    // What cannot be decoded is a dead letter again, each time that it is read.
    let twice = writer.ledger.letters.iter().filter(|(partition, _)| *partition == 1).count();
    let letters = dead_letters(&node, &scene.topic).await;
    assert_eq!(letters.len(), writer.ledger.letters.len() + twice);
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_yet_is_read_from_its_beginning_when_it_does() {
    let setup = Setup::new(StoreKind::Sqlite, 2);
    let scene = Scene::on_topic(setup, unique_name("events"), "node-1").await;
    let node = scene.start();
    until("the broker is connected", async || part(&node, "kafka").await.is_some()).await;
    assert!(positions(&node).await.unwrap().is_empty());
    until("readiness says that it is missing", async || {
        let kafka = part(&node, "kafka").await.unwrap();
        kafka["reason"] == "topic-not-available" && kafka.to_string().contains(&scene.topic)
    })
    .await;
    scene.admin.create_topic(&scene.topic, 2).await;
    let mut writer = scene.writer();
    writer.write(&Story::new(4, 20, 2).take(1_000)).await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    until("readiness is well again", async || part(&node, "kafka").await.unwrap()["up"] == true)
        .await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

/// The records of partition 0 that the broker still has, by offset.
fn records_left(brokers: &str, topic: &str) -> BTreeMap<i64, Option<Vec<u8>>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", topic);
    config.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let (_, end) = consumer.fetch_watermarks(topic, 0, DEADLINE).unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let mut records = BTreeMap::new();
    loop {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.unwrap();
            let value = message.payload().map(<[u8]>::to_vec);
            records.insert(message.offset(), value);
            // What was written last is never compacted away.
            if message.offset() + 1 == end {
                return records;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_read_across_its_gaps() {
    let setup = Setup::new(StoreKind::Postgres, 1);
    let topic = unique_name("compacted");
    let options = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "200"),
    ];
    Admin::of(&setup.brokers).create_topic_with(&topic, 1, &options).await;
    let scene = Scene::on_topic(setup, topic, "node-1").await;
    let users = vec!["ann".to_owned()];
    let drafts: Vec<_> = (0..2_000)
        .map(|n| Draft {
            key: Some(format!("k{}", n % 7)),
            ..Draft::event(&format!("e{n}"), &users)
        })
        .collect();
    let mut writer = scene.writer();
    writer.write(&drafts).await;
    let brokers = scene.setup.brokers.clone();
    let look = async |writer: &mut crate::broker::Writer, round: usize| {
        // A segment is rolled by the next record only, and compacted only then.
        let event = format!("tick{round}");
        let tick = Draft { key: Some(event.clone()), ..Draft::event(&event, &users) };
        writer.write(&[tick]).await;
        let (brokers, topic) = (brokers.clone(), scene.topic.clone());
        tokio::task::spawn_blocking(move || records_left(&brokers, &topic)).await.unwrap()
    };
    let mut round = 0;
    let left = loop {
        let left = look(&mut writer, round).await;
        if left.len() < 1_000 {
            break left;
        }
        round += 1;
        assert!(round < 600, "the broker does not compact: {} records", left.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let node = scene.start();
    let ledger = ledger_of(&scene.topic, &left);
    until_drained(&node, &ledger).await;
    // The broker may have compacted more meanwhile, never less.
    let stored = inbox(&node, "ann").await;
    let known: Vec<_> = ledger.told["ann"].keys().collect();
    assert!(stored.iter().all(|event| known.contains(&event)), "{stored:?}");
    let still = look(&mut writer, round + 1).await;
    let ledger = ledger_of(&scene.topic, &still);
    until_drained(&node, &ledger).await;
    let stored = inbox(&node, "ann").await;
    for event in ledger.told["ann"].keys() {
        assert!(stored.contains(event), "{event} is in the topic and was not told");
    }
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

fn ledger_of(topic: &str, records: &BTreeMap<i64, Option<Vec<u8>>>) -> Ledger {
    let mut ledger = Ledger::of(topic);
    for (offset, value) in records {
        let json: serde_json::Value = serde_json::from_slice(value.as_ref().unwrap()).unwrap();
        let event = json["id"].as_str().unwrap().to_owned();
        let meaning = Meaning::Tells { event, users: vec!["ann".to_owned()] };
        ledger.note(&Draft { meaning, ..Draft::poison(None) }, *offset);
    }
    ledger
}
