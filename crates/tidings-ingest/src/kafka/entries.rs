//! The partitions that are assigned to this member, as the thread that polls keeps them.

use std::sync::{Arc, atomic::Ordering};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{
    context::Context,
    measure,
    partition::{Partition, UNKNOWN},
    poll::ASK_TIMEOUT,
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

/// A partition of the group's assignment.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) partition: Arc<Partition>,
    pub(super) fetching: Fetching,
    /// The offset after the last record that was handed over.
    pub(super) next: i64,
    /// The position that Kafka was told.
    pub(super) committed: i64,
}

impl Entry {
    pub(super) fn new(partition: Arc<Partition>) -> Self {
        Self { partition, fetching: Fetching::No, next: UNKNOWN, committed: UNKNOWN }
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
        Ok(())
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
                self.partition.paused.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, partition = %self.partition.id, "a partition was not resumed");
            }
        }
    }

    /// Goes on where it is, should the client have stopped fetching.
    pub(super) fn seek(&self, consumer: &BaseConsumer<Context>) {
        let id = &self.partition.id;
        let to = if self.next == UNKNOWN { Offset::Beginning } else { Offset::Offset(self.next) };
        if let Err(error) = consumer.seek(&id.topic, id.partition, to, ASK_TIMEOUT) {
            tracing::warn!(%error, partition = %id, "fetching did not go on");
        }
    }
}

/// All of them. Few, and records come in runs of the same partition: a list and the last place do.
#[derive(Debug, Default)]
pub(super) struct Entries {
    all: Vec<Entry>,
    last: usize,
    next_paused: usize,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.all.len()
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

    /// Resumes those of which less than half of the share is left.
    pub(super) fn resume_roomy(&mut self, consumer: &BaseConsumer<Context>) {
        for entry in &mut self.all {
            if entry.fetching == Fetching::Paused && entry.partition.account.has_room_or_rings() {
                entry.resume(consumer);
            }
        }
    }

    /// The paused ones, one after the other.
    pub(super) fn next_paused(&mut self) -> Option<Arc<Partition>> {
        let count = self.all.len();
        for _ in 0..count {
            self.next_paused = (self.next_paused + 1) % count;
            let entry = &self.all[self.next_paused];
            if entry.fetching == Fetching::Paused {
                return Some(Arc::clone(&entry.partition));
            }
        }
        None
    }

    /// Takes all of them out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Entry> {
        self.all.drain(..)
    }
}
