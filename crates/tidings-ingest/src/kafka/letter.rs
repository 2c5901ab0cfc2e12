//! Records that cannot become notifications: as dead letters, and in a topic of their own.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use tidings_core::{
    checkpoint::PartitionId,
    clock::Timestamp,
    dead_letter::{NewDeadLetter, Origin, RecordOrigin, Stage},
};

use super::{
    chunk::{Chunk, Record},
    config::KafkaConfig,
    measure,
    options::{self, KafkaSetupError},
};

/// How long a dead letter may wait for room in the producer's queue.
const QUEUE_WAIT: Duration = Duration::from_secs(1);
/// Dead letters that are on their way to the brokers at a time.
const MOST_IN_FLIGHT: usize = 1_000;
/// How long nothing is tried after a failure, which took as long as the producer's patience: a topic
/// that does not exist must not cost every batch that.
const SHUT: Duration = Duration::from_secs(30);

/// A record and why it is dead.
#[derive(Debug, Clone)]
pub(super) struct DeadRecord {
    pub(super) chunk: Arc<Chunk>,
    pub(super) index: usize,
    pub(super) stage: Stage,
    pub(super) reason: Arc<str>,
}

impl DeadRecord {
    fn record(&self) -> Record<'_> {
        self.chunk.record(self.index)
    }

    /// The letter as the store keeps it, with at most `kept` bytes of the value, and as many of the
    /// key and the headers.
    pub(super) fn letter(&self, id: &PartitionId, kept: usize, at: Timestamp) -> NewDeadLetter {
        let record = self.record();
        let value = record.value().unwrap_or_default();
        let headers = record.headers().map(|(name, value)| (name.to_owned(), value.map(Vec::from)));
        let origin = RecordOrigin {
            topic: id.topic.to_string(),
            partition: id.partition,
            offset: record.offset(),
            key: record.key().map(Vec::from),
            headers: headers.collect(),
        };
        NewDeadLetter {
            origin: Origin::Kafka(origin.cut_to(kept)),
            stage: self.stage,
            reason: self.reason.to_string(),
            payload: value[..value.len().min(kept)].to_vec(),
            payload_bytes: value.len() as u64,
            at,
        }
    }
}

/// Produces dead letters to `<topic><suffix>`, as they came, with the headers of Kafka Connect
/// ("KIP-298: Error Handling in Connect").
pub(super) struct DeadLetterTopics {
    producer: FutureProducer,
    suffix: String,
    /// Until when nothing is tried because the brokers took nothing.
    shut_until: Mutex<Option<Instant>>,
}

impl DeadLetterTopics {
    /// `None` if the configuration names no suffix.
    pub(super) fn new(config: &KafkaConfig) -> Result<Option<Self>, KafkaSetupError> {
        let Some(suffix) = config.dead_letter_suffix.clone().filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let producer = options::producer(config).create();
        let producer = producer.map_err(KafkaSetupError::of_client)?;
        Ok(Some(Self { producer, suffix, shut_until: Mutex::default() }))
    }

    /// Produces `dead` and waits until the brokers have them: at least once. What they do not take is
    /// logged and counted, and holds nothing up: the store keeps the letter in any case.
    pub(super) async fn produce(&self, id: &PartitionId, dead: &[DeadRecord]) {
        let topic = format!("{}{}", id.topic, self.suffix);
        for some in dead.chunks(MOST_IN_FLIGHT) {
            if self.is_shut() {
                count_not_produced(some.len());
                continue;
            }
            let sent = join_all(some.iter().map(|it| self.send(&topic, id, it))).await;
            let failed = sent.iter().flatten().count();
            count_not_produced(failed);
            // What is too large for the topic says nothing of the next.
            let (too_large, others): (Vec<_>, Vec<_>) =
                sent.into_iter().flatten().partition(is_too_large);
            if !too_large.is_empty() {
                tracing::warn!(
                    topic,
                    letters = too_large.len(),
                    "dead letters are too large for their topic; the store keeps them"
                );
            }
            if let Some(error) = others.into_iter().next() {
                self.shut();
                tracing::error!(
                    %error,
                    topic,
                    failed,
                    "dead letters were not produced, nor will others be for {} s; the store keeps them",
                    SHUT.as_secs()
                );
            }
        }
    }

    fn is_shut(&self) -> bool {
        let until = *self.shut_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn shut(&self) {
        let until = Instant::now() + SHUT;
        *self.shut_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    async fn send(&self, topic: &str, id: &PartitionId, dead: &DeadRecord) -> Option<KafkaError> {
        let record = dead.record();
        let mut produced = FutureRecord::<[u8], [u8]>::to(topic).headers(headers(id, dead));
        produced.key = record.key();
        produced.payload = record.value();
        self.producer.send(produced, QUEUE_WAIT).await.err().map(|(error, _)| error)
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

fn count_not_produced(letters: usize) {
    metrics::counter!(measure::NOT_PRODUCED).increment(letters as u64);
}

fn headers(id: &PartitionId, dead: &DeadRecord) -> OwnedHeaders {
    let record = dead.record();
    let mut headers = OwnedHeaders::new_with_capacity(16);
    for (key, value) in record.headers() {
        headers = headers.insert(Header { key, value });
    }
    let (partition, offset) = (id.partition.to_string(), record.offset().to_string());
    for (key, value) in [
        ("__connect.errors.topic", &*id.topic),
        ("__connect.errors.partition", &partition),
        ("__connect.errors.offset", &offset),
        ("__connect.errors.connector.name", &*id.group),
        ("__connect.errors.task.id", "0"),
        ("__connect.errors.stage", dead.stage.as_str()),
        ("__connect.errors.exception.class.name", class_of(dead.stage)),
        ("__connect.errors.exception.message", &*dead.reason),
    ] {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    headers
}

fn class_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Decode => "tidings.DecodeError",
        Stage::Plan => "tidings.PlanError",
        Stage::Store => "tidings.StoreError",
    }
}
