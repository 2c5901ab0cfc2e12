//! Where fetching begins, where it stands, and whether that is in the log: the part of the thread that
//! polls which is about positions. No call in it waits for a broker.

use std::{sync::Arc, time::Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use super::{
    asking::Edges,
    config::KafkaStart,
    context::Context,
    entries::{Entry, Finding, Suspect},
    partition::Partition,
    partition::UNKNOWN,
    poll::{LOOK_AT_PAUSED, Poller, Undecided},
    status::{Status, StopReason},
};

impl Poller {
    /// Begins to fetch a partition that was claimed: exactly where the store says, or where the log
    /// begins or ends.
    pub(super) fn fetch_from_position(
        &mut self,
        consumer: &BaseConsumer<Context>,
        claim: Undecided,
    ) {
        match (claim.0.position(), self.parts.config.start) {
            (Some(at), _) => self.start(consumer, claim, Offset::Offset(at), at, None),
            (None, KafkaStart::Earliest) => {
                self.start(consumer, claim, Offset::Beginning, UNKNOWN, None);
            }
            (None, KafkaStart::Latest) => {
                self.asker.want(&claim.0);
                self.undecided.push(claim);
            }
        }
    }

    /// `next` is the offset that is expected, if it is known, and `to_store` what is to be stored before
    /// anything else.
    fn start(
        &mut self,
        consumer: &BaseConsumer<Context>,
        (partition, begin): Undecided,
        from: Offset,
        next: i64,
        to_store: Option<i64>,
    ) {
        let Some(entry) = self.entries.of(&partition) else { return };
        if let Err(error) = entry.start(consumer, from, next) {
            tracing::warn!(%error, partition = %partition.id, "fetching did not begin, trying again");
            return self.undecided.push((partition, begin));
        }
        self.has_started = true;
        partition.set_status(Status::Reading);
        self.parts.board.clear_error();
        tracing::info!(partition = %partition.id, position = ?partition.position(), "reading");
        // A worker that is gone was revoked, and the notice of that is on its way.
        let _gone = begin.send(to_store).is_err();
    }

    /// Takes what a broker said of a log, or that it said nothing: then it is asked again.
    pub(super) fn take_edges(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partition: &Arc<Partition>,
        edges: Option<Edges>,
    ) {
        if let Some((low, high)) = edges {
            partition.set_watermarks(low, high);
        }
        let waits = self.undecided.iter().position(|(it, _)| Arc::ptr_eq(it, partition));
        if let (Some(place), Some((_, high))) = (waits, edges) {
            let claim = self.undecided.swap_remove(place);
            self.start(consumer, claim, Offset::Offset(high), high, Some(high));
        }
        self.judge_suspect(consumer, partition, edges);
    }

    /// Says whether a record that is suspected not to be in the log is there. The client has stopped
    /// fetching one partition for that and does not say which: all others go on, each where it is.
    fn judge_suspect(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partition: &Arc<Partition>,
        edges: Option<Edges>,
    ) {
        let Some(entry) = self.entries.of(partition) else { return };
        let Some(suspect) = entry.suspect.take() else { return };
        let Some((low, high)) = edges else {
            self.range_is_suspect = true;
            return;
        };
        let position = suspect.position;
        if position != entry.next {
            // Records have come meanwhile.
            return;
        }
        match suspect.judge((low, high)) {
            Finding::Within => entry.seek(consumer),
            Finding::PerhapsMissing => {
                entry.suspect = Some(Suspect { position, is_missing: true });
                self.asker.want(partition);
            }
            Finding::Missing => {
                entry.stop(consumer);
                entry.partition.stop(StopReason::OutOfRange { position, low, high });
            }
        }
    }

    pub(super) fn tick(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        self.follow_positions(consumer);
        self.commit_positions(consumer);
        if self.troubles.forget_old(now) {
            self.parts.board.set_troubles(self.troubles.shown());
        }
        for claim in std::mem::take(&mut self.undecided) {
            self.fetch_from_position(consumer, claim);
        }
        if std::mem::take(&mut self.range_is_suspect) {
            let asker = &mut self.asker;
            self.entries.each_fetched(|entry| {
                // What is being asked already is not asked from the beginning.
                if entry.suspect.is_none_or(|it| it.position != entry.next) {
                    entry.suspect = Some(Suspect::new(entry.next));
                }
                asker.want(&entry.partition);
            });
        }
        if now >= self.next_look_at_paused {
            self.next_look_at_paused = now + LOOK_AT_PAUSED;
            let asker = &mut self.asker;
            self.entries.each_paused(|entry| asker.want(&entry.partition));
        }
    }

    /// Passes over what is no record: nothing is handed over for the marks that end transactions, nor
    /// for what was aborted, but the client's position is behind them once it has met them.
    fn follow_positions(&mut self, consumer: &BaseConsumer<Context>) {
        self.each_position(consumer, Entry::follow);
    }

    pub(super) fn note_stale_positions(&mut self, consumer: &BaseConsumer<Context>) {
        self.each_position(consumer, Entry::note_stale);
    }

    fn each_position(
        &mut self,
        consumer: &BaseConsumer<Context>,
        mut act: impl FnMut(&mut Entry, Offset),
    ) {
        let positions = match consumer.position() {
            Ok(positions) => positions,
            Err(error) => return tracing::debug!(%error, "the client does not know its positions"),
        };
        for element in positions.elements() {
            if let Some(entry) = self.entries.find(element.topic(), element.partition()) {
                act(entry, element.offset());
            }
        }
    }

    /// For lag tools only, hence not waited for.
    pub(super) fn commit_positions(&mut self, consumer: &BaseConsumer<Context>) {
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
