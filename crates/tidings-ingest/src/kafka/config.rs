//! What a consumer reads, and its limits.

use std::{collections::BTreeMap, fmt};

use tidings_core::retry::RetryPolicy;

/// How the values of a topic's records are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RecordFormat {
    /// By the record's headers: `ce_specversion` means CloudEvents in binary mode, a `content-type` of
    /// `application/cloudevents+json` in structured mode, anything else Tidings JSON.
    #[default]
    Auto,
    /// Tidings JSON.
    Tidings,
    /// CloudEvents 1.0: in binary mode with a header `ce_specversion`, else in structured mode.
    CloudEvents,
}

/// A topic to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTopic {
    /// Its name. It need not exist yet.
    pub name: String,
    /// How its records are read.
    pub format: RecordFormat,
}

/// Where a partition begins that this group never read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KafkaStart {
    /// With the oldest record that the broker still has.
    #[default]
    Earliest,
    /// After the newest record at the time of the first claim. The place is stored at once, so that
    /// later records are not skipped by a restart. Applies to partitions that are added, too.
    Latest,
}

/// When a partition is stopped because nearly nothing in it is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// The records that are looked at: the last so many. It never trips before half of them are in.
    pub records: usize,
    /// The share of bad ones that trips it, in percent; above 100 it never trips.
    pub bad_percent: u8,
}

/// What a [`KafkaNotificationConsumer`](super::KafkaNotificationConsumer) reads, and its limits.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// The consumer group; positions are kept in the store under this name.
    pub group: String,
    /// `group.instance.id`: a name for this node that outlives its restarts.
    pub instance_id: Option<String>,
    /// The topics.
    pub topics: Vec<KafkaTopic>,
    /// Where a partition begins that was never read.
    pub start: KafkaStart,
    /// Bytes of records, and of the rows that they become, that may be in memory between the client and
    /// the store, over all partitions.
    pub queue_bytes: usize,
    /// Bytes of records of one partition, and of their rows, that may be in memory. A partition gets its share of
    /// `queue_bytes`, and at most this.
    pub partition_queue_bytes: usize,
    /// Dead letters are produced to the topic's name with this suffix too, for example `.dlq`.
    pub dead_letter_suffix: Option<String>,
    /// Bytes of a dead record's value that are kept in the store.
    pub dead_letter_payload_bytes: usize,
    /// When a partition is stopped.
    pub breaker: BreakerConfig,
    /// How long the waits are while the store or the graph is out of reach. The attempts are not
    /// counted: nothing is given up.
    pub retry: RetryPolicy,
    /// Options of librdkafka by their names.
    pub options: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// The defaults for a group that reads topics of any format.
    #[must_use]
    pub fn new(
        brokers: impl Into<String>,
        group: impl Into<String>,
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let topics = topics
            .into_iter()
            .map(|name| KafkaTopic { name: name.into(), format: RecordFormat::default() });
        Self {
            brokers: brokers.into(),
            group: group.into(),
            instance_id: None,
            topics: topics.collect(),
            start: KafkaStart::default(),
            queue_bytes: 16 << 20,
            partition_queue_bytes: 4 << 20,
            dead_letter_suffix: None,
            dead_letter_payload_bytes: 64 << 10,
            breaker: BreakerConfig { records: 200, bad_percent: 90 },
            retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 100, cap_ms: 10_000 },
            options: BTreeMap::new(),
        }
    }

    pub(super) fn format_of(&self, topic: &str) -> RecordFormat {
        self.topics.iter().find(|it| it.name == topic).map_or(RecordFormat::Auto, |it| it.format)
    }
}

impl fmt::Debug for KafkaConfig {
    /// Leaves the values of `options` out: passwords are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance_id", &self.instance_id)
            .field("topics", &self.topics)
            .field("start", &self.start)
            .field("queue_bytes", &self.queue_bytes)
            .field("partition_queue_bytes", &self.partition_queue_bytes)
            .field("dead_letter_suffix", &self.dead_letter_suffix)
            .field("dead_letter_payload_bytes", &self.dead_letter_payload_bytes)
            .field("breaker", &self.breaker)
            .field("retry", &self.retry)
            .field("options", &self.options.keys())
            .finish()
    }
}
