use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message};
use tidings_testkit::services::{kafka_bootstrap, unique_name};

use crate::{DEADLINE, within};

#[tokio::test]
async fn what_is_produced_to_kafka_is_consumed_in_order_and_its_offset_is_kept() {
    let topic = unique_name("smoke");
    let group = unique_name("group");
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    let new_topic = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    let made = within(admin.create_topics(&[new_topic], &options)).await.unwrap();
    assert_eq!(made, [Ok(topic.clone())]);

    let producer: FutureProducer = client().create().unwrap();
    for payload in ["one", "two", "three"] {
        let record = FutureRecord::to(&topic).key("u_7").payload(payload);
        within(producer.send(record, DEADLINE)).await.unwrap();
    }

    assert_eq!(consume(&topic, &group, 2).await, ["one", "two"]);
    // A later member of the group goes on where the first one committed.
    assert_eq!(consume(&topic, &group, 1).await, ["three"]);

    let removed = within(admin.delete_topics(&[&topic], &options)).await.unwrap();
    assert_eq!(removed, [Ok(topic)]);
}

/// Reads `count` messages as the group's only member, commits them and leaves.
async fn consume(topic: &str, group: &str, count: usize) -> Vec<String> {
    let consumer: StreamConsumer = client()
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut payloads = Vec::new();
    while payloads.len() < count {
        let message = within(consumer.recv()).await.unwrap();
        payloads.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
        consumer.commit_message(&message, CommitMode::Sync).unwrap();
    }
    payloads
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka_bootstrap());
    config
}
