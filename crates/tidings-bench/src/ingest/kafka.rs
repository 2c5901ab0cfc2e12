//! Topics, and what is produced to them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidings_core::clock::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use super::{
    endpoints::{HOST, KAFKA_PORT},
    story,
};

/// How long the broker may take to make or remove a topic.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the last records may take to be acknowledged.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// Partitions of every topic here.
pub(super) const PARTITIONS: i32 = 4;

/// `bootstrap.servers`.
pub(super) fn brokers() -> String {
    format!("{HOST}:{KAFKA_PORT}")
}

fn admin() -> anyhow::Result<AdminClient<DefaultClientContext>> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create()
        .context("Kafka cannot be reached: run `cargo xtask services up`")
}

pub(super) async fn create_topic(topic: &str, partitions: i32) -> anyhow::Result<()> {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
    let made = admin()?.create_topics([&new], &options).await;
    for result in made.context("Kafka cannot be reached: run `cargo xtask services up`")? {
        result.map_err(|(topic, code)| anyhow::anyhow!("topic {topic} was not made: {code}"))?;
    }
    Ok(())
}

pub(super) async fn delete_topic(topic: &str) -> anyhow::Result<()> {
    let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT));
    for result in admin()?.delete_topics(&[topic], &options).await? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => bail!("topic {topic} was not removed: {code}"),
        }
    }
    Ok(())
}

/// A topic full of events, and what is in it.
#[derive(Debug, Clone)]
pub(super) struct Backlog {
    pub(super) topic: String,
    pub(super) events: u64,
    /// Events in each partition.
    pub(super) in_partition: Vec<u64>,
    /// The number of the last event of each partition.
    pub(super) last_of_partition: Vec<u64>,
    /// Events that cannot be decoded.
    pub(super) poisoned: u64,
}

/// How a backlog is poisoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    None,
    /// One event of a hundred.
    OnePercent,
}

/// Produces `events` events to a new topic, as fast as the broker takes them.
///
/// All events of one user are in one partition, as a producer that keys by user has it.
pub(super) fn produce_backlog(
    topic: String,
    events: u64,
    poison: Poison,
    stop: &CancellationToken,
) -> anyhow::Result<Backlog> {
    let partitions = usize::try_from(PARTITIONS)?;
    let mut backlog = Backlog {
        topic,
        events,
        in_partition: vec![0; partitions],
        last_of_partition: vec![0; partitions],
        poisoned: 0,
    };
    let producer = producer("20")?;
    let mut event = Vec::new();
    for number in 0..events {
        if number % 1024 == 0 {
            ensure!(!stop.is_cancelled(), "stopped");
        }
        let user = story::user_of(number);
        story::write_event(number, &story::user_name(user), SystemClock.now(), &mut event);
        if poison == Poison::OnePercent && number % 100 == 99 {
            story::poison(&mut event);
            backlog.poisoned += 1;
        }
        let partition = usize::try_from(user)? % partitions;
        backlog.in_partition[partition] += 1;
        backlog.last_of_partition[partition] = number;
        send(&producer, &backlog.topic, partition, &story::user_name(user), &event)?;
    }
    producer.flush(FLUSH_TIMEOUT).context("the broker did not take all of the backlog")?;
    Ok(backlog)
}

/// A producer that waits up to `linger_ms` for company.
fn producer(linger_ms: &str) -> anyhow::Result<BaseProducer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("linger.ms", linger_ms)
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "100000")
        .create()?)
}

fn send(
    producer: &BaseProducer,
    topic: &str,
    partition: usize,
    key: &str,
    value: &[u8],
) -> anyhow::Result<()> {
    let mut record =
        BaseRecord::to(topic).partition(i32::try_from(partition)?).key(key).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// A stream of events at a steady rate.
pub(super) struct Steady {
    pub(super) topic: String,
    /// Events per second.
    pub(super) rate: u64,
    /// Events in all; it ends earlier when it is stopped.
    pub(super) events: u64,
    /// Who is told of an event.
    pub(super) user_of: fn(u64) -> String,
    /// Is told of every event before it is produced: its number.
    pub(super) producing: Arc<dyn Fn(u64) + Send + Sync>,
}

/// What a steady stream was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streamed {
    pub(super) events: u64,
    pub(super) took: Duration,
}

/// Produces the stream until it ends or `stop` says so; blocks.
///
/// What a tick of a millisecond has missed, the next makes up for. An event's `time` is the moment in
/// which it is handed to the client.
pub(super) fn stream(steady: &Steady, stop: &CancellationToken) -> anyhow::Result<Streamed> {
    let producer = producer("1")?;
    let partitions = usize::try_from(PARTITIONS)?;
    let begun = Instant::now();
    let mut event = Vec::new();
    let mut number = 0;
    while number < steady.events && !stop.is_cancelled() {
        let micros = u64::try_from(begun.elapsed().as_micros())?;
        let due = (micros * steady.rate / 1_000_000).min(steady.events);
        while number < due {
            let user = (steady.user_of)(number);
            (steady.producing)(number);
            story::write_event(number, &user, SystemClock.now(), &mut event);
            let partition = partition_of(&user) % partitions;
            send(&producer, &steady.topic, partition, &user, &event)?;
            number += 1;
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
    }
    producer.flush(FLUSH_TIMEOUT).context("the broker did not take all of the stream")?;
    Ok(Streamed { events: number, took: begun.elapsed() })
}

/// All events of one user go to one partition.
fn partition_of(user: &str) -> usize {
    // FNV-1a.
    let hash = user
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash).unwrap_or_default()
}
