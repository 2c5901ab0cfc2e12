//! Topics on the real broker, and the producer that remembers what it wrote.

use std::time::Duration;

use futures_util::future::try_join_all;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    ledger::Ledger,
    story::{Draft, Story},
    until::DEADLINE,
};

/// Records that are under way to the broker at once.
const IN_FLIGHT: usize = 5_000;

/// Speaks to the broker as its administrator.
pub(crate) struct Admin {
    client: AdminClient<DefaultClientContext>,
    options: AdminOptions,
}

impl Admin {
    pub(crate) fn of(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
        Self { client: config.create().unwrap(), options }
    }

    pub(crate) async fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_topic_with(topic, partitions, &[]).await;
    }

    /// Makes a topic with options such as `cleanup.policy`.
    pub(crate) async fn create_topic_with(
        &self,
        topic: &str,
        partitions: i32,
        options: &[(&str, &str)],
    ) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in options {
            new = new.set(name, value);
        }
        let made = self.client.create_topics(&[new], &self.options).await.unwrap();
        made[0].as_ref().unwrap();
    }

    /// Removes a topic; fine if it fails: the next run has names of its own.
    pub(crate) async fn remove_topic(&self, topic: &str) {
        let removed = self.client.delete_topics(&[topic], &self.options).await;
        drop(removed);
    }

    /// Deletes the records of a partition before `offset`.
    pub(crate) async fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut before = rdkafka::TopicPartitionList::new();
        before.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).unwrap();
        self.client.delete_records(&before, &self.options).await.unwrap();
    }
}

/// Produces records, and remembers what it wrote where.
pub(crate) struct Writer {
    producer: FutureProducer,
    pub(crate) ledger: Ledger,
}

impl Writer {
    pub(crate) fn new(brokers: &str, topic: &str) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("linger.ms", "5")
            .set("message.max.bytes", "4000000")
            // However long the broker is away, each record is written, and once.
            .set("message.timeout.ms", "0")
            .set("reconnect.backoff.max.ms", "500")
            .set("enable.idempotence", "true");
        Self { producer: config.create().unwrap(), ledger: Ledger::of(topic) }
    }

    /// Produces `drafts`, in their order per partition, and waits until the broker has them.
    pub(crate) async fn write(&mut self, drafts: &[Draft]) {
        for some in drafts.chunks(IN_FLIGHT) {
            let sent: Vec<_> = some.iter().map(|draft| self.send(draft)).collect();
            for (draft, delivered) in some.iter().zip(try_join_all(sent).await.unwrap()) {
                let place = delivered.map_err(|(error, _)| error).unwrap();
                assert_eq!(place.partition, draft.partition);
                self.ledger.note(draft, place.offset);
            }
        }
    }

    fn send(&self, draft: &Draft) -> rdkafka::producer::DeliveryFuture {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &draft.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record =
            FutureRecord::<[u8], [u8]>::to(&self.ledger.topic).partition(draft.partition);
        record.key = draft.key.as_deref().map(str::as_bytes);
        record.payload = draft.value.as_deref();
        self.producer.send_result(record.headers(headers)).map_err(|(error, _)| error).unwrap()
    }
}

/// A writer that goes on writing while something is broken.
pub(crate) struct Stream {
    stop: CancellationToken,
    task: JoinSet<(Writer, Story)>,
}

impl Stream {
    /// Writes about `per_second` records a second until it is stopped.
    pub(crate) fn start(mut writer: Writer, mut story: Story, per_second: usize) -> Self {
        const PACE: Duration = Duration::from_millis(25);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while !stopped.is_cancelled() {
                writer.write(&story.take((per_second / 40).max(1))).await;
                tokio::time::sleep(PACE).await;
            }
            (writer, story)
        });
        Self { stop, task }
    }

    /// Stops it; all that it began to write is written by then.
    pub(crate) async fn stop(mut self) -> (Writer, Story) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task.join_next()).await;
        ended
            .unwrap_or_else(|_| panic!("the broker does not take what is produced"))
            .unwrap()
            .unwrap()
    }
}
