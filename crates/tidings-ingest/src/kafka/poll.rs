//! The thread that polls: fetches, hands over, pauses, and changes the assignment. It waits for no
//! store, no broker and no commit, and for room in memory only shortly, so that the group never misses
//! it. What it does about positions is in [`positions`](super::positions).

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tidings_core::{checkpoint::PartitionId, error_chain::ErrorChain};
use tokio::sync::{mpsc, oneshot};

use super::{
    account::{Account, Shares},
    asking::Asker,
    config::KafkaConfig,
    context::{Context, Rebalanced},
    entries::{Entries, Entry, Fetching},
    hand_over::{wait_for_room, write},
    health::Board,
    link::{Link, Notice},
    measure, options,
    partition::Partition,
    trouble::{Troubles, is_of_connection},
    waking::Waker,
};

/// How long a poll waits for a record when nothing else is to be done.
const POLL_IDLE: Duration = Duration::from_millis(100);
/// … and while a partition is paused, or a claim is awaited.
const POLL_BUSY: Duration = Duration::from_millis(10);
/// How often positions are committed to Kafka and suspicions are looked into.
const TICK: Duration = Duration::from_secs(1);
/// How often the ends of paused partitions' logs are asked for: statistics do not say them then.
pub(super) const LOOK_AT_PAUSED: Duration = Duration::from_secs(5);
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

/// A claim, and who waits to hear where it begins.
pub(super) type Undecided = (Arc<Partition>, oneshot::Sender<Option<i64>>);

/// The thread that polls.
pub(super) struct Poller {
    pub(super) parts: PollerParts,
    pub(super) asker: Asker,
    waker: Waker,
    group: Arc<str>,
    pub(super) entries: Entries,
    /// Claims of which it is not known yet where they begin.
    pub(super) undecided: Vec<Undecided>,
    /// Whether the client has met an offset that is not in the log.
    pub(super) range_is_suspect: bool,
    pub(super) troubles: Troubles,
    /// Whether fetching has begun since the client's positions were looked at.
    pub(super) has_started: bool,
    draining: bool,
    /// Whether there is more to do than to wait for records.
    busy: bool,
    next_tick: Instant,
    pub(super) next_look_at_paused: Instant,
}

impl Poller {
    pub(super) fn new(parts: PollerParts, asker: Asker, waker: Waker) -> Self {
        let group = Arc::from(parts.config.group.as_str());
        let now = Instant::now();
        Self {
            parts,
            asker,
            waker,
            group,
            entries: Entries::default(),
            undecided: Vec::new(),
            range_is_suspect: false,
            troubles: Troubles::default(),
            has_started: false,
            draining: false,
            busy: false,
            next_tick: now + TICK,
            next_look_at_paused: now + LOOK_AT_PAUSED,
        }
    }

    /// Polls until it is told to close or the client has failed for good, then leaves the group.
    pub(super) fn run(mut self, consumer: BaseConsumer<Context>) {
        let mut consumer = Arc::new(consumer);
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
                consumer = Arc::new(another);
            }
            self.look_up(&consumer);
        }
        self.commit_positions(&consumer);
        self.forget_all();
        // The threads that ask and wake may be the last to hold the client.
        self.parts.link.close();
        self.asker.close();
        self.waker.close();
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
        if !self.troubles.is_empty() && self.troubles.hear_of(message.topic()) {
            self.parts.board.set_troubles(self.troubles.shown());
        }
        entry.note_record(message.offset());
        entry.partition.push(|chunk| write(chunk, message));
        // Where it takes long until there is room, the other partitions need not wait for it.
        if entry.partition.account.is_full()
            && (entry.is_slow || !wait_for_room(&entry.partition, &self.parts.link))
        {
            entry.pause(consumer);
        }
    }

    fn note_error(&mut self, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code() else {
            return tracing::debug!(%error, "a poll failed");
        };
        metrics::counter!(measure::ERRORS, "code" => format!("{code:?}")).increment(1);
        match code {
            // The error does not say which partition: all are looked at.
            RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::LogTruncation => self.range_is_suspect = true,
            // The client has called back with the reason in words.
            code if is_of_connection(code) => {}
            // The loop sees that by itself.
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {}
            code => self.note_trouble(code, error),
        }
    }

    /// A topic that is missing may come, and a right may be given: the client goes on by itself.
    fn note_trouble(&mut self, code: RDKafkaErrorCode, error: &KafkaError) {
        let mut suspects: BTreeSet<Arc<str>> =
            self.parts.config.topics.iter().map(|it| Arc::from(it.name.as_str())).collect();
        let is_assigned = |topic: &Arc<str>| self.entries.has_topic(topic);
        if code == RDKafkaErrorCode::UnknownTopicOrPartition && !suspects.iter().all(is_assigned) {
            suspects.retain(|topic| !is_assigned(topic));
        }
        if self.troubles.note(code, suspects, Instant::now()) {
            tracing::warn!(%error, "the Kafka client reports an error in the place of records");
        }
        self.parts.board.set_troubles(self.troubles.shown());
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
                    if self.troubles.hear_of(&topic) {
                        self.parts.board.set_troubles(self.troubles.shown());
                    }
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
    fn look_up(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
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
            self.entries.resume_roomy(consumer, |partition| self.waker.note_resumed(partition));
            self.waker.wake(consumer);
        }
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(consumer, now);
        }
        // Before the next poll, which moves the client's positions on.
        if std::mem::take(&mut self.has_started) {
            self.note_stale_positions(consumer);
        }
        self.asker.ask(consumer);
        self.busy = self.draining || !self.undecided.is_empty() || self.entries.any_not_fetched();
    }

    fn serve(&mut self, consumer: &BaseConsumer<Context>, notice: Notice) {
        match notice {
            Notice::Claimed { partition, begin } => {
                self.fetch_from_position(consumer, (partition, begin));
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
            Notice::Edges(edges) => {
                for (partition, edges) in edges {
                    self.asker.note_answer(&partition);
                    self.take_edges(consumer, &partition, edges);
                }
            }
        }
    }
}
