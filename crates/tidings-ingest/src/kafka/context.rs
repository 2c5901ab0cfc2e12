//! What librdkafka calls back, on the thread that polls.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};

use super::{health::Board, measure, trouble::is_of_connection};

/// A change of what is assigned to this member of the group.
#[derive(Debug)]
pub(super) enum Rebalanced {
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
}

/// Notes what happens for the thread that polls, which looks after each poll.
#[derive(Debug)]
pub(super) struct Context {
    board: Arc<Board>,
    changes: Mutex<Vec<Rebalanced>>,
    changed: AtomicBool,
    /// Whether the group has taken this member for dead, and it has no new assignment yet.
    lost: AtomicBool,
}

impl Context {
    pub(super) fn new(board: Arc<Board>) -> Self {
        let changes = Mutex::default();
        Self { board, changes, changed: AtomicBool::new(false), lost: AtomicBool::new(false) }
    }

    /// Whether the group has taken this member for dead, or has not been heard for so long that it
    /// will have, and there is no new assignment yet.
    pub(super) fn has_lost_its_place(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// The changes since the last time, in their order.
    pub(super) fn take_changes(&self) -> Vec<Rebalanced> {
        if !self.changed.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, change: Rebalanced) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        self.changed.store(true, Ordering::Release);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, "the Kafka client: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "the Kafka client: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "the Kafka client: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.board.take_statistics(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.board.set_disconnected();
        }
        match code.filter(|it| is_of_connection(*it)) {
            Some(code) if self.board.set_error(code, reason, Instant::now()) => {
                tracing::warn!(%error, "the Kafka client has trouble: {reason}");
            }
            // What comes in the place of records is for the thread that polls.
            _ => tracing::debug!(%error, "the Kafka client has trouble: {reason}"),
        }
    }
}

impl ConsumerContext for Context {
    /// Answers at once and leaves the work to the thread that polls: new partitions are added to the
    /// assignment when they have been claimed, however long the store takes, and the group does not
    /// wait for it. Of revoked partitions only those are removed that had come so far.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let names = names(partitions);
        let answered = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            metrics::counter!(measure::REBALANCES, "kind" => "assigned").increment(1);
            tracing::info!(partitions = ?names, "partitions are assigned to this node");
            self.lost.store(false, Ordering::Relaxed);
            self.note(Rebalanced::Assigned(names));
            consumer.incremental_assign(&TopicPartitionList::new())
        } else {
            let lost = consumer.assignment_lost();
            self.lost.store(lost, Ordering::Relaxed);
            let kind = if lost { "lost" } else { "revoked" };
            metrics::counter!(measure::REBALANCES, "kind" => kind).increment(1);
            tracing::info!(partitions = ?names, kind, "partitions are taken from this node");
            let answered = unassign_held(consumer, &names);
            self.note(Rebalanced::Revoked(names));
            answered
        };
        if let Err(error) = answered {
            tracing::error!(%error, "a rebalance could not be answered");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        // For lag tools only: the next commit says it again.
        if let Err(error) = result {
            tracing::debug!(%error, "the positions were not committed to Kafka");
        }
    }
}

fn unassign_held(consumer: &BaseConsumer<Context>, revoked: &[(String, i32)]) -> KafkaResult<()> {
    let held = consumer.assignment()?;
    let mut removed = TopicPartitionList::new();
    for (topic, partition) in revoked {
        if held.find_partition(topic, *partition).is_some() {
            removed.add_partition(topic, *partition);
        }
    }
    consumer.incremental_unassign(&removed)
}

fn names(partitions: &TopicPartitionList) -> Vec<(String, i32)> {
    partitions.elements().iter().map(|it| (it.topic().to_owned(), it.partition())).collect()
}
