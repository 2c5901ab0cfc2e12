//! What the bare limits share: records off Kafka in batches, and the columns in them.

use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde::Deserialize;
use tidings_core::clock::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::kafka::{self, Backlog};

/// Events of a batch.
pub(super) const BATCH_EVENTS: usize = 5_000;
/// Batches that may wait for the writer.
pub(super) const BATCHES_AHEAD: usize = 2;
/// How long the broker may have nothing to say before the run is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// The values of some records, one after the other, and where their partitions go on.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The next offset of each partition of the topic; 0 if nothing of it was read.
    pub(super) next_offsets: Vec<i64>,
}

impl Batch {
    fn new(next_offsets: Vec<i64>) -> Self {
        Self {
            bytes: Vec::with_capacity(BATCH_EVENTS * 320),
            ends: Vec::with_capacity(BATCH_EVENTS),
            next_offsets,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The columns of all records.
    pub(super) fn rows(&self) -> anyhow::Result<Vec<Row<'_>>> {
        let mut rows = Vec::with_capacity(self.ends.len());
        let mut begin = 0;
        for end in &self.ends {
            rows.push(Row::read(&self.bytes[begin..*end])?);
            begin = *end;
        }
        Ok(rows)
    }
}

/// An event's columns, borrowed from its record. Read without any of the checks that make it an event.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    pub(super) id: &'a str,
    pub(super) source: &'a str,
    #[serde(rename = "type")]
    pub(super) event_type: &'a str,
    time: &'a str,
    #[serde(skip)]
    pub(super) time_ms: i64,
    pub(super) actor: &'a str,
    pub(super) user: &'a str,
    #[serde(borrow)]
    pub(super) object: Object<'a>,
    pub(super) title: &'a str,
    pub(super) body: &'a str,
    pub(super) priority: &'a str,
    pub(super) group: &'a str,
}

#[derive(Debug, Deserialize)]
pub(super) struct Object<'a> {
    #[serde(rename = "type")]
    pub(super) object_type: &'a str,
    pub(super) id: &'a str,
}

impl<'a> Row<'a> {
    fn read(value: &'a [u8]) -> anyhow::Result<Self> {
        let mut row: Row<'a> = serde_json::from_slice(value).context("a record of the backlog")?;
        row.time_ms = row.time.parse::<Timestamp>()?.as_millis();
        Ok(row)
    }
}

/// Reads the given partitions of a backlog from their start to their end; blocks.
pub(super) fn read_backlog(
    backlog: &Backlog,
    partitions: &[usize],
    batches: &mpsc::Sender<Batch>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        // Nobody joins this group and nothing is committed: partitions are taken by name.
        .set("group.id", "bench_limit")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        let partition = i32::try_from(*partition)?;
        assignment.add_partition_offset(&backlog.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut left: u64 = partitions.iter().map(|it| backlog.in_partition[*it]).sum();
    let mut next_offsets = vec![0; backlog.in_partition.len()];
    let mut batch = Batch::new(next_offsets.clone());
    while left > 0 {
        let message = consumer.poll(SILENCE).context("the broker has gone silent")??;
        batch.bytes.extend_from_slice(message.payload().unwrap_or_default());
        batch.ends.push(batch.bytes.len());
        next_offsets[usize::try_from(message.partition())?] = message.offset() + 1;
        left -= 1;
        if batch.len() == BATCH_EVENTS || left == 0 {
            batch.next_offsets.clone_from(&next_offsets);
            let full = std::mem::replace(&mut batch, Batch::new(Vec::new()));
            // A writer that has gone says itself why.
            ensure!(batches.blocking_send(full).is_ok(), "the writer has ended");
            ensure!(!stop.is_cancelled(), "stopped");
        }
    }
    Ok(())
}
