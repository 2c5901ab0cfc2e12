//! Tidings JSON and CloudEvents, by topic and by header.

use tidings_ingest::kafka::RecordFormat;
use tidings_testkit::services::unique_name;

use super::{
    broker::{Draft, create_topic, produce},
    node::{Node, config, event_json, until_done},
    store::TestStore,
};

const DATA: &str = r#"{"audience":{"users":["ann"]},"title":"hi"}"#;

fn structured(id: &str) -> Draft {
    let headers = vec![("content-type", "application/cloudevents+json; charset=UTF-8".to_owned())];
    let value =
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{DATA}}}"#);
    Draft { headers, ..Draft::of(value) }
}

fn binary(id: &str) -> Draft {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_source", "/s"),
        ("ce_type", "t"),
        ("ce_time", "2026-11-23T09:00:00Z"),
        ("content-type", "application/json"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
    Draft { headers, ..Draft::of(DATA) }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_topic_takes_every_format_by_its_headers() {
    let topic = unique_name("events");
    create_topic(&topic, 1).await;
    let tidings = Draft::of(event_json("plain", "ann"));
    produce(&topic, &[tidings, structured("structured"), binary("binary")]).await;
    let (store, config) = (TestStore::open(), config(&[&topic]));
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 3).await;
    assert_eq!(store.events_of("ann").await, ["plain", "structured", "binary"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_one_format_refuses_the_other_and_names_the_field() {
    let (tidings, cloud) = (unique_name("tidings"), unique_name("cloud"));
    for topic in [&tidings, &cloud] {
        create_topic(topic, 1).await;
    }
    let mut config = config(&[&tidings, &cloud]);
    config.topics[0].format = RecordFormat::Tidings;
    config.topics[1].format = RecordFormat::CloudEvents;
    let unmarked = Draft { headers: Vec::new(), ..structured("unmarked") };
    produce(&tidings, &[binary("binary")]).await;
    produce(&cloud, &[unmarked, binary("binary"), Draft::of(event_json("plain", "ann"))]).await;
    let store = TestStore::open();
    let node = Node::start(&store, &config);
    until_done(&store, &config.group, 4).await;
    assert_eq!(store.events_of("ann").await, ["unmarked", "binary"]);
    let mut reasons: Vec<_> =
        store.dead_letters().await.into_iter().map(|it| it.letter.reason).collect();
    reasons.sort();
    assert_eq!(reasons, ["id: is required", "specversion: is required"]);
    node.stop().await;
}
