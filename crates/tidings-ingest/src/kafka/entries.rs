//! The partitions that are assigned to this member, as the thread that polls keeps them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{
    asking::Edges,
    context::Context,
    hand_over::ROOM_WAIT,
    measure,
    partition::{Partition, UNKNOWN},
};

/// Whether the client fetches a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetching {
    /// It is not claimed yet, or stopped: not in the client's assignment.
    No,
    Running,
    /// Enough is in memory.
    Paused,
}

/// The next record of a partition, when it may not be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) position: i64,
    /// An answer said that it is not. That answer may have been on its way before the record was
    /// suspected, from when the log ended earlier: only the one after it counts.
    pub(super) is_missing: bool,
}

/// What is known of the next record of a partition, from where its log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is in the log, or will be the next in it.
    Within,
    /// It is not, by an answer that may be too old: ask again.
    PerhapsMissing,
    Missing,
}

impl Suspect {
    /// A record at `position` that nothing was asked about yet.
    pub(super) fn new(position: i64) -> Self {
        Self { position, is_missing: false }
    }

    pub(super) fn judge(self, (low, high): Edges) -> Finding {
        if self.position == UNKNOWN || (low..=high).contains(&self.position) {
            Finding::Within
        } else if self.is_missing {
            Finding::Missing
        } else {
            Finding::PerhapsMissing
        }
    }
}

/// A partition of the group's assignment.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) partition: Arc<Partition>,
    pub(super) fetching: Fetching,
    /// The offset after the last record that was handed over, and after what follows it and is none.
    pub(super) next: i64,
    /// The client's position of the time before fetching began, which it says until it has begun.
    stale: Option<i64>,
    /// A record that may not be in the log, while that is being asked.
    pub(super) suspect: Option<Suspect>,
    /// The position that Kafka was told.
    pub(super) committed: i64,
    paused_at: Option<Instant>,
    /// Whether the last pause was longer than it is worth to wait for room.
    pub(super) is_slow: bool,
}

impl Entry {
    pub(super) fn new(partition: Arc<Partition>) -> Self {
        Self {
            partition,
            fetching: Fetching::No,
            next: UNKNOWN,
            stale: None,
            suspect: None,
            committed: UNKNOWN,
            paused_at: None,
            is_slow: false,
        }
    }

    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.partition.id.topic, self.partition.id.partition);
        list
    }

    /// Begins to fetch at `from`; `next` is the offset that is expected, if it is known.
    pub(super) fn start(
        &mut self,
        consumer: &BaseConsumer<Context>,
        from: Offset,
        next: i64,
    ) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.partition.id.topic, self.partition.id.partition, from)?;
        // In the client a pause outlives the assignment: the partition may have been paused when it was
        // revoked.
        consumer.resume(&list)?;
        consumer.incremental_assign(&list)?;
        self.fetching = Fetching::Running;
        self.next = next;
        self.suspect = None;
        Ok(())
    }

    /// Takes the client's position right after [`Self::start`] and before the next poll, which alone
    /// moves it on: if there is one, it is of an earlier assignment, and may be beyond records that
    /// are to be read again.
    pub(super) fn note_stale(&mut self, position: Offset) {
        self.stale = Some(known(position)).filter(|it| *it != UNKNOWN);
    }

    /// Notes that a record of this assignment was handed over.
    pub(super) fn note_record(&mut self, offset: i64) {
        self.next = offset + 1;
        self.stale = None;
    }

    /// Goes where the client is, which is behind the marks of transactions: they are no records, and
    /// nobody hears of them.
    pub(super) fn follow(&mut self, position: Offset) {
        let position = known(position);
        if self.stale == Some(position) {
            return;
        }
        self.stale = None;
        if self.fetching != Fetching::No && position > self.next {
            self.next = position;
            self.partition.pass(position);
        }
    }

    /// Fetches it no more; what was handed over stays.
    pub(super) fn stop(&mut self, consumer: &BaseConsumer<Context>) {
        if self.fetching != Fetching::No
            && let Err(error) = consumer.incremental_unassign(&self.list())
        {
            tracing::warn!(%error, partition = %self.partition.id, "a partition was not given back");
        }
        self.fetching = Fetching::No;
        self.partition.paused.store(false, Ordering::Relaxed);
    }

    /// Once, until [`Self::resume`].
    pub(super) fn pause(&mut self, consumer: &BaseConsumer<Context>) {
        if self.fetching != Fetching::Running {
            return;
        }
        match consumer.pause(&self.list()) {
            Ok(()) => {
                metrics::counter!(measure::PAUSES).increment(1);
                self.fetching = Fetching::Paused;
                self.paused_at = Some(Instant::now());
                self.partition.paused.store(true, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, partition = %self.partition.id, "a partition was not paused");
            }
        }
    }

    fn resume(&mut self, consumer: &BaseConsumer<Context>) {
        if self.fetching != Fetching::Paused {
            return;
        }
        match consumer.resume(&self.list()) {
            Ok(()) => {
                self.fetching = Fetching::Running;
                self.is_slow = self.paused_at.take().is_some_and(|at| at.elapsed() > ROOM_WAIT);
                self.partition.paused.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, partition = %self.partition.id, "a partition was not resumed");
            }
        }
    }

    /// Goes on where it is, should the client have stopped fetching. Does not wait for it.
    pub(super) fn seek(&self, consumer: &BaseConsumer<Context>) {
        let id = &self.partition.id;
        let to = if self.next == UNKNOWN { Offset::Beginning } else { Offset::Offset(self.next) };
        if let Err(error) = consumer.seek(&id.topic, id.partition, to, Duration::ZERO) {
            tracing::warn!(%error, partition = %id, "fetching did not go on");
        }
    }
}

fn known(position: Offset) -> i64 {
    match position {
        Offset::Offset(offset) => offset,
        _ => UNKNOWN,
    }
}

/// All of them. Few, and records come in runs of the same partition: a list and the last place do.
#[derive(Debug, Default)]
pub(super) struct Entries {
    all: Vec<Entry>,
    last: usize,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn has_topic(&self, topic: &str) -> bool {
        self.all.iter().any(|entry| *entry.partition.id.topic == *topic)
    }

    pub(super) fn find(&mut self, topic: &str, number: i32) -> Option<&mut Entry> {
        let is_it = |entry: &Entry| {
            entry.partition.id.partition == number && *entry.partition.id.topic == *topic
        };
        if !self.all.get(self.last).is_some_and(is_it) {
            self.last = self.all.iter().position(is_it)?;
        }
        self.all.get_mut(self.last)
    }

    /// The entry of this very assignment; `None` if it is over.
    pub(super) fn of(&mut self, partition: &Arc<Partition>) -> Option<&mut Entry> {
        self.all.iter_mut().find(|entry| Arc::ptr_eq(&entry.partition, partition))
    }

    /// Adds an entry in the place of one of the same partition.
    pub(super) fn put(&mut self, entry: Entry) {
        let same = self.all.iter_mut().find(|it| it.partition.id == entry.partition.id);
        match same {
            Some(earlier) => *earlier = entry,
            None => self.all.push(entry),
        }
    }

    pub(super) fn remove(&mut self, topic: &str, number: i32) -> Option<Entry> {
        self.find(topic, number)?;
        Some(self.all.swap_remove(self.last))
    }

    /// Whether one is paused or waits for its claim: then there is more to do than to wait for records.
    pub(super) fn any_not_fetched(&self) -> bool {
        self.all.iter().any(|entry| {
            entry.fetching == Fetching::Paused
                || (entry.fetching == Fetching::No && !entry.partition.is_stopped())
        })
    }

    pub(super) fn each_running(&mut self, act: impl FnMut(&mut Entry)) {
        let running = |entry: &&mut Entry| entry.fetching == Fetching::Running;
        self.all.iter_mut().filter(running).for_each(act);
    }

    /// Running or paused.
    pub(super) fn each_fetched(&mut self, act: impl FnMut(&mut Entry)) {
        let fetched = |entry: &&mut Entry| entry.fetching != Fetching::No;
        self.all.iter_mut().filter(fetched).for_each(act);
    }

    /// Resumes those that hold less than half of their share, and names them.
    pub(super) fn resume_roomy(
        &mut self,
        consumer: &BaseConsumer<Context>,
        mut resumed: impl FnMut(&Arc<Partition>),
    ) {
        for entry in &mut self.all {
            if entry.fetching == Fetching::Paused && entry.partition.account.has_room_or_rings() {
                entry.resume(consumer);
                if entry.fetching == Fetching::Running {
                    resumed(&entry.partition);
                }
            }
        }
    }

    pub(super) fn each_paused(&self, act: impl FnMut(&Entry)) {
        let paused = |entry: &&Entry| entry.fetching == Fetching::Paused;
        self.all.iter().filter(paused).for_each(act);
    }

    /// Takes all of them out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Entry> {
        self.all.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(next: i64) -> Entry {
        let mut entry = Entry::new(Partition::for_tests(0));
        (entry.fetching, entry.next) = (Fetching::Running, next);
        entry
    }

    #[test]
    fn a_record_is_missing_only_if_two_answers_say_so() {
        let at = Suspect::new;
        let again = |position| Suspect { position, is_missing: true };
        for position in [UNKNOWN, 3, 9] {
            assert_eq!(at(position).judge((3, 9)), Finding::Within);
            assert_eq!(again(position).judge((3, 9)), Finding::Within);
        }
        for position in [2, 10] {
            assert_eq!(at(position).judge((3, 9)), Finding::PerhapsMissing);
            assert_eq!(again(position).judge((3, 9)), Finding::Missing);
        }
    }

    #[test]
    fn marks_of_transactions_are_passed_over_and_records_are_not() {
        let mut entry = entry(10);
        entry.note_stale(Offset::Invalid);
        for (position, passed) in [(Offset::Invalid, UNKNOWN), (Offset::Offset(10), UNKNOWN)] {
            entry.follow(position);
            assert_eq!((entry.partition.passed(), entry.next), (passed, 10));
        }
        entry.follow(Offset::Offset(11));
        assert_eq!((entry.partition.passed(), entry.next), (11, 11));
    }

    #[test]
    fn a_position_of_an_earlier_assignment_passes_over_nothing() {
        let stale = Offset::Offset(61);
        for is_told_by_a_record in [true, false] {
            let mut entry = entry(0);
            entry.note_stale(stale);
            entry.follow(stale);
            assert_eq!((entry.partition.passed(), entry.next), (UNKNOWN, 0));
            if is_told_by_a_record {
                entry.note_record(0);
            } else {
                entry.follow(Offset::Invalid);
            }
            // It was fetched up to there again.
            entry.follow(stale);
            assert_eq!((entry.partition.passed(), entry.next), (61, 61));
        }
    }
}
