//! The thread that polls: fetches, hands over, pauses, and changes the assignment. It waits for no
//! store and for no commit, and for room in memory only shortly, so that the group never misses it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tidings_core::{checkpoint::PartitionId, error_chain::ErrorChain};
use tokio::sync::{mpsc, oneshot};

use super::{
    account::{Account, Shares},
    config::{KafkaConfig, KafkaStart},
    context::{Context, Rebalanced},
    entries::{Entries, Entry, Fetching},
    hand_over::{wait_for_room, write},
    health::Board,
    options,
    partition::{Link, Notice, Partition, Status, StopReason, UNKNOWN},
};

/// How long a poll waits for a record when nothing else is to be done.
const POLL_IDLE: Duration = Duration::from_millis(100);
/// … and while a partition is paused, or a claim is awaited.
const POLL_BUSY: Duration = Duration::from_millis(10);
/// How often positions are committed to Kafka and suspicions are looked into.
const TICK: Duration = Duration::from_secs(1);
/// How often the end of a paused partition's log is asked for: statistics do not say it then.
const LOOK_AT_PAUSED: Duration = Duration::from_secs(5);
/// How long a question to a broker may take. Fetching stands still meanwhile.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Records between two looks at the clock.
const RECORDS_PER_LOOK: u32 = 256;

/// What the thread needs besides the client.
pub(super) struct PollerParts {
    pub(super) config: Arc<KafkaConfig>,
    pub(super) board: Arc<Board>,
    pub(super) link: Arc<Link>,
    pub(super) shares: Arc<Shares>,
    /// Takes partitions that need a worker.
    pub(super) workers: mpsc::Sender<Arc<Partition>>,
}

/// The thread that polls.
pub(super) struct Poller {
    parts: PollerParts,
    group: Arc<str>,
    entries: Entries,
    /// Claims whose beginning could not be asked for yet.
    undecided: Vec<(Arc<Partition>, oneshot::Sender<Option<i64>>)>,
    /// Whether the client has met an offset that is not in the log.
    range_is_suspect: bool,
    draining: bool,
    /// Whether there is more to do than to wait for records.
    busy: bool,
    next_tick: Instant,
    next_look_at_paused: Instant,
}

impl Poller {
    pub(super) fn new(parts: PollerParts) -> Self {
        let group = Arc::from(parts.config.group.as_str());
        let now = Instant::now();
        Self {
            parts,
            group,
            entries: Entries::default(),
            undecided: Vec::new(),
            range_is_suspect: false,
            draining: false,
            busy: false,
            next_tick: now + TICK,
            next_look_at_paused: now + LOOK_AT_PAUSED,
        }
    }

    /// Polls until it is told to close or the client has failed for good, then leaves the group.
    pub(super) fn run(mut self, mut consumer: BaseConsumer<Context>) {
        let mut since_look = 0;
        while !self.parts.link.is_closing() {
            match consumer.poll(if self.busy { POLL_BUSY } else { POLL_IDLE }) {
                Some(Ok(message)) => {
                    self.hand_over(&consumer, &message);
                    since_look += 1;
                }
                Some(Err(error)) => {
                    self.note_error(&error);
                    since_look = RECORDS_PER_LOOK;
                }
                None => since_look = RECORDS_PER_LOOK,
            }
            if !self.parts.link.bell.answer() && since_look < RECORDS_PER_LOOK {
                continue;
            }
            since_look = 0;
            if let Some((code, reason)) = consumer.client().fatal_error() {
                let Some(another) = self.replace(&consumer, code, reason) else { break };
                consumer = another;
            }
            self.look_up(&consumer);
        }
        self.commit_positions(&consumer);
        self.forget_all();
        // Dropping the client leaves the group; its callbacks are served meanwhile.
        drop(consumer);
        self.parts.board.set_disconnected();
    }

    fn forget_all(&mut self) {
        self.undecided.clear();
        for entry in self.entries.drain() {
            entry.partition.abandon();
            self.parts.board.remove(&entry.partition);
        }
    }

    /// Another client, if this one has failed by its own doing: a static member that has not heard from
    /// the group for the session timeout begins to join anew, without its old member id, and a commit
    /// that it still had to send then looks to the broker like a second node with the same static id.
    ///
    /// A node that really has another of its name is fenced while it still has its place.
    fn replace(
        &mut self,
        consumer: &BaseConsumer<Context>,
        code: RDKafkaErrorCode,
        reason: String,
    ) -> Option<BaseConsumer<Context>> {
        if code != RDKafkaErrorCode::FencedInstanceId || !consumer.context().has_lost_its_place() {
            self.give_up(code, reason);
            return None;
        }
        tracing::warn!(reason, "the group was out of reach for too long: joining it anew");
        self.forget_all();
        let made = options::client(&self.parts.config, &self.parts.board);
        let subscribed = made.and_then(|another| {
            options::subscribe(&another, &self.parts.config)?;
            Ok(another)
        });
        subscribed.map_err(|error| self.give_up(code, ErrorChain(&error).to_string())).ok()
    }

    fn hand_over(&mut self, consumer: &BaseConsumer<Context>, message: &BorrowedMessage<'_>) {
        let Some(entry) = self.entries.find(message.topic(), message.partition()) else { return };
        // What was in the client's queue when the partition was stopped or moved on.
        if self.draining || entry.fetching != Fetching::Running || message.offset() < entry.next {
            return;
        }
        entry.next = message.offset() + 1;
        entry.partition.push(|chunk| write(chunk, message));
        if entry.partition.account.is_full() && !wait_for_room(&entry.partition, &self.parts.link) {
            entry.pause(consumer);
        }
    }

    fn note_error(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // The error does not say which partition: all are looked at.
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation,
            ) => self.range_is_suspect = true,
            _ => tracing::debug!(%error, "a poll failed"),
        }
    }

    fn give_up(&mut self, code: RDKafkaErrorCode, reason: String) {
        // The older group protocol ends the member that was there first, the newer one the other.
        let reason = match code {
            RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnreleasedInstanceId => format!(
                "another node has the same kafka.instance_id: this one reads no more until it is \
                 restarted with one of its own ({reason})"
            ),
            _ => reason,
        };
        tracing::error!(%code, "the Kafka consumer has ended: {reason}");
        self.parts.board.set_fatal(reason);
    }

    fn apply(&mut self, change: Rebalanced) {
        match change {
            Rebalanced::Assigned(names) => {
                for (topic, number) in names {
                    self.forget(&topic, number);
                    let topic = Arc::from(topic.as_str());
                    let group = Arc::clone(&self.group);
                    self.begin(PartitionId { group, topic, partition: number }, 0);
                }
            }
            Rebalanced::Revoked(names) => {
                for (topic, number) in names {
                    self.forget(&topic, number);
                }
            }
        }
        self.parts.shares.divide(self.entries.len());
    }

    fn forget(&mut self, topic: &str, number: i32) {
        if let Some(entry) = self.entries.remove(topic, number) {
            entry.partition.abandon();
            self.parts.board.remove(&entry.partition);
        }
    }

    /// Gives a partition a worker, which claims it first.
    fn begin(&mut self, id: PartitionId, fenced: u32) {
        let account =
            Account::new(Arc::clone(&self.parts.shares), Arc::clone(&self.parts.link.bell));
        let format = self.parts.config.format_of(&id.topic);
        let partition = Partition::new(id, format, account, fenced);
        self.parts.board.put(&partition);
        self.entries.put(Entry::new(Arc::clone(&partition)));
        // The other end is gone only if the whole consumer is, and then nobody needs a worker.
        let _gone = self.parts.workers.blocking_send(partition).is_err();
    }

    /// Does what is due besides handing over.
    fn look_up(&mut self, consumer: &BaseConsumer<Context>) {
        // A rebalance ends the poll that serves it without a record, so none is older than this.
        for change in consumer.context().take_changes() {
            self.apply(change);
        }
        for notice in self.parts.link.take_notices() {
            self.serve(consumer, notice);
        }
        if self.parts.link.is_draining() && !self.draining {
            self.draining = true;
            self.entries.each_running(|entry| entry.pause(consumer));
        }
        if !self.draining {
            self.entries.resume_roomy(consumer);
        }
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(consumer, now);
        }
        self.busy = self.draining || !self.undecided.is_empty() || self.entries.any_not_fetched();
    }

    fn serve(&mut self, consumer: &BaseConsumer<Context>, notice: Notice) {
        match notice {
            Notice::Claimed { partition, begin } => {
                self.fetch_from_position(consumer, partition, begin);
            }
            Notice::Reclaim { partition } => {
                let Some(entry) = self.entries.of(&partition) else { return };
                entry.stop(consumer);
                partition.abandon();
                self.begin(partition.id.clone(), partition.fenced + 1);
            }
            Notice::Stopped { partition } => {
                if let Some(entry) = self.entries.of(&partition) {
                    entry.stop(consumer);
                }
            }
        }
    }

    /// Begins to fetch a partition that was claimed: exactly where the store says.
    fn fetch_from_position(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partition: Arc<Partition>,
        begin: oneshot::Sender<Option<i64>>,
    ) {
        let Some(entry) = self.entries.of(&partition) else { return };
        let (from, next, to_store) = match (partition.position(), self.parts.config.start) {
            (Some(position), _) => (Offset::Offset(position), position, None),
            (None, KafkaStart::Earliest) => (Offset::Beginning, UNKNOWN, None),
            (None, KafkaStart::Latest) => match ask(consumer, &partition) {
                Some((_, high)) => (Offset::Offset(high), high, Some(high)),
                None => return self.undecided.push((partition, begin)),
            },
        };
        if let Err(error) = entry.start(consumer, from, next) {
            tracing::warn!(%error, partition = %partition.id, "fetching did not begin, trying again");
            return self.undecided.push((partition, begin));
        }
        partition.set_status(Status::Reading);
        self.parts.board.clear_error();
        tracing::info!(partition = %partition.id, position = ?partition.position(), "reading");
        // A worker that is gone was revoked, and the notice of that is on its way.
        let _gone = begin.send(to_store).is_err();
    }

    fn tick(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        self.commit_positions(consumer);
        for (partition, begin) in std::mem::take(&mut self.undecided) {
            self.fetch_from_position(consumer, partition, begin);
        }
        if std::mem::take(&mut self.range_is_suspect) {
            self.look_for_positions_outside(consumer);
        }
        if now >= self.next_look_at_paused {
            self.next_look_at_paused = now + LOOK_AT_PAUSED;
            if let Some(partition) = self.entries.next_paused() {
                ask(consumer, &partition);
            }
        }
    }

    /// Finds the partitions whose next record is not in the log, and stops them.
    fn look_for_positions_outside(&mut self, consumer: &BaseConsumer<Context>) {
        let mut unanswered = false;
        self.entries.each_fetched(|entry| {
            let Some((low, high)) = ask(consumer, &entry.partition) else {
                unanswered = true;
                return;
            };
            let position = entry.next;
            if position == UNKNOWN || (low..=high).contains(&position) {
                // The client has stopped fetching one of them and does not say which: all go on, each
                // where it is.
                entry.seek(consumer);
                return;
            }
            entry.stop(consumer);
            entry.partition.stop(StopReason::OutOfRange { position, low, high });
        });
        self.range_is_suspect |= unanswered;
    }

    /// For lag tools only, hence not waited for.
    fn commit_positions(&mut self, consumer: &BaseConsumer<Context>) {
        let mut positions = TopicPartitionList::new();
        self.entries.each_fetched(|entry| {
            let Some(position) = entry.partition.position().filter(|it| *it > entry.committed)
            else {
                return;
            };
            let id = &entry.partition.id;
            let added =
                positions.add_partition_offset(&id.topic, id.partition, Offset::Offset(position));
            if added.is_ok() {
                entry.committed = position;
            }
        });
        if positions.count() > 0
            && let Err(error) = consumer.commit(&positions, CommitMode::Async)
        {
            tracing::debug!(%error, "the positions were not committed to Kafka");
        }
    }
}

/// Asks the broker where a log begins and ends.
fn ask(consumer: &BaseConsumer<Context>, partition: &Partition) -> Option<(i64, i64)> {
    let id = &partition.id;
    match consumer.fetch_watermarks(&id.topic, id.partition, ASK_TIMEOUT) {
        Ok((low, high)) => {
            partition.set_watermarks(low, high);
            Some((low, high))
        }
        Err(error) => {
            tracing::warn!(%error, partition = %id, "the broker did not say where the log ends");
            None
        }
    }
}
