//! Topics and records on the real broker.

use std::time::Duration;

use futures_util::future::try_join_all;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tidings_testkit::services::{kafka_bootstrap, unique_name};

pub(super) const DEADLINE: Duration = Duration::from_secs(60);

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka_bootstrap());
    config
}

fn admin() -> (AdminClient<DefaultClientContext>, AdminOptions) {
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    (client().create().unwrap(), options)
}

pub(super) async fn create_topic(topic: &str, partitions: i32) {
    let (admin, options) = admin();
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    admin.create_topics(&[new], &options).await.unwrap()[0].as_ref().unwrap();
}

pub(super) async fn delete_topic(topic: &str) {
    let (admin, options) = admin();
    admin.delete_topics(&[topic], &options).await.unwrap()[0].as_ref().unwrap();
}

pub(super) async fn grow_topic(topic: &str, partitions: usize) {
    let (admin, options) = admin();
    let grown = NewPartitions::new(topic, partitions);
    admin.create_partitions(&[grown], &options).await.unwrap()[0].as_ref().unwrap();
}

/// Deletes the records of partition 0 before `offset`.
pub(super) async fn delete_records_before(topic: &str, offset: i64) {
    let (admin, options) = admin();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    admin.delete_records(&before, &options).await.unwrap();
}

/// A record to produce.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) partition: i32,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Draft {
    pub(super) fn of(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }
}

/// Produces records, in their order per partition, and waits until the broker has them.
pub(super) async fn produce(topic: &str, drafts: &[Draft]) {
    let producer: FutureProducer =
        client().set("linger.ms", "5").set("enable.idempotence", "true").create().unwrap();
    send(&producer, topic, drafts).await;
}

/// Produces records in a transaction, which it then commits or aborts.
pub(super) async fn produce_in_transaction(topic: &str, drafts: &[Draft], commits: bool) {
    let producer: FutureProducer =
        client().set("transactional.id", unique_name("transaction")).create().unwrap();
    let producer = in_background(producer, |it| it.init_transactions(DEADLINE)).await;
    producer.begin_transaction().unwrap();
    send(&producer, topic, drafts).await;
    let end = move |it: &FutureProducer| match commits {
        true => it.commit_transaction(DEADLINE),
        false => it.abort_transaction(DEADLINE),
    };
    drop(in_background(producer, end).await);
}

async fn in_background(
    producer: FutureProducer,
    act: impl FnOnce(&FutureProducer) -> KafkaResult<()> + Send + 'static,
) -> FutureProducer {
    let acting = move || {
        act(&producer).unwrap();
        producer
    };
    tokio::task::spawn_blocking(acting).await.unwrap()
}

async fn send(producer: &FutureProducer, topic: &str, drafts: &[Draft]) {
    let sent = drafts.iter().map(|draft| {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &draft.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).partition(draft.partition);
        record.key = draft.key.as_deref();
        record.payload = draft.value.as_deref();
        producer.send_result(record.headers(headers)).map_err(|(error, _)| error).unwrap()
    });
    let sent: Vec<_> = sent.collect();
    for delivered in try_join_all(sent).await.unwrap() {
        delivered.map_err(|(error, _)| error).unwrap();
    }
}

/// Reads the first `count` records of partition 0.
pub(super) async fn read(topic: &str, count: usize) -> Vec<OwnedMessage> {
    let topic = topic.to_owned();
    let reading = move || {
        let consumer: BaseConsumer = client().set("group.id", "reader").create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&from).unwrap();
        let deadline = std::time::Instant::now() + DEADLINE;
        let mut messages = Vec::new();
        while messages.len() < count {
            assert!(std::time::Instant::now() < deadline, "{} of {count} records", messages.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                messages.push(message.detach());
            }
        }
        messages
    };
    tokio::task::spawn_blocking(reading).await.unwrap()
}

pub(super) fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let value = headers.iter().find(|header| header.key == name)?.value?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}
