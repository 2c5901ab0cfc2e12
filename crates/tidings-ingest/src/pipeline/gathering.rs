//! Jobs, and the batch that they gather in.

use std::{sync::Arc, time::Duration};

use tidings_core::batch::{BatchLimits, BatchPart, NotificationBatch};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::{JobResult, entrance::Counted};

/// Rows that are stored in one transaction and answered together.
pub(super) struct Job {
    pub(super) batch: NotificationBatch,
    pub(super) waiter: Waiter,
}

/// Who waits for a job.
pub(super) struct Waiter {
    /// Events of the job.
    pub(super) events: usize,
    /// When the job was queued, by a clock that nobody sets.
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<JobResult>,
    /// Gives the job's bytes back to the queue when it is answered.
    pub(super) _room: OwnedSemaphorePermit,
    pub(super) _counted: Counted,
}

impl Waiter {
    pub(super) fn answer(self, result: JobResult) {
        // A caller that has gone away does not need its answer; the rows are kept all the same.
        let _gone = self.reply.send(result).is_err();
    }
}

/// A batch that is stored in one transaction, and who waits for which part of it.
pub(super) struct Gathered {
    pub(super) batch: Arc<NotificationBatch>,
    pub(super) waiters: Vec<(BatchPart, Waiter)>,
}

impl Gathered {
    /// One job, alone.
    pub(super) fn alone(job: Job) -> Self {
        let mut gathering = Gathering::new(job.batch.limits());
        gathering.add(job);
        gathering.take()
    }
}

/// The batch that is filling up, and the job that did not fit any more.
pub(super) struct Gathering {
    limits: BatchLimits,
    batch: NotificationBatch,
    waiters: Vec<(BatchPart, Waiter)>,
    left_over: Option<Job>,
    /// Whether somebody waits for an answer: nobody does for a record, it is only read on.
    is_awaited: bool,
}

impl Gathering {
    pub(super) fn new(limits: BatchLimits) -> Self {
        let batch = NotificationBatch::new(limits);
        Self { limits, batch, waiters: Vec::new(), left_over: None, is_awaited: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How long the batch may still wait for company; zero once nothing more fits, or if it holds what
    /// somebody waits for.
    ///
    /// Never more than `max_age`, whatever becomes of the wall clock.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        match self.waiters.first() {
            Some((_, oldest)) if self.takes_more() && !self.is_awaited => {
                self.limits.max_age.saturating_sub(now.saturating_duration_since(oldest.since))
            }
            _ => Duration::ZERO,
        }
    }

    pub(super) fn takes_more(&self) -> bool {
        self.left_over.is_none() && !self.batch.is_full()
    }

    pub(super) fn add(&mut self, job: Job) {
        let part = BatchPart::of_appended(&self.batch, &job.batch);
        let is_of_records = !job.batch.advances().is_empty();
        match self.batch.try_append(job.batch) {
            Ok(()) => {
                self.is_awaited |= !is_of_records;
                self.waiters.push((part, job.waiter));
            }
            Err(batch) => self.left_over = Some(Job { batch, ..job }),
        }
    }

    /// Hands the batch over and starts the next one with what did not fit.
    pub(super) fn take(&mut self) -> Gathered {
        let batch = std::mem::replace(&mut self.batch, NotificationBatch::new(self.limits));
        let waiters = std::mem::take(&mut self.waiters);
        self.is_awaited = false;
        if let Some(job) = self.left_over.take() {
            self.add(job);
        }
        Gathered { batch: Arc::new(batch), waiters }
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{
        checkpoint::{Advance, Epoch, PartitionId},
        clock::Timestamp,
    };
    use tokio::sync::{Semaphore, mpsc};

    use super::{
        super::entrance::{Entrance, Entrances},
        *,
    };

    fn limits() -> BatchLimits {
        BatchLimits { max_rows: 10, max_bytes: 1 << 20, max_age: Duration::from_millis(5) }
    }

    fn job(batch: NotificationBatch, since: Instant) -> Job {
        let entrance = Entrance::new(mpsc::channel(1).0, mpsc::channel(1).0);
        let counted = Arc::new(Entrances::new(vec![entrance])).choose(&batch, None);
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let reply = oneshot::channel().0;
        let waiter = Waiter { events: 0, since, reply, _room: room, _counted: counted };
        Job { batch, waiter }
    }

    fn records(now: Timestamp) -> NotificationBatch {
        let mut records = NotificationBatch::new(limits());
        let partition = PartitionId { group: "g".into(), topic: "t".into(), partition: 0 };
        records.advance(Advance { partition, epoch: Epoch(1), from: Some(0), to: 1 }, now);
        records
    }

    #[test]
    fn records_wait_for_company_and_requests_do_not() {
        let now = Instant::now();
        let mut gathering = Gathering::new(limits());
        gathering.add(job(records(Timestamp::from_millis(1_000)), now));
        assert_eq!(gathering.time_left(now), limits().max_age);
        gathering.add(job(NotificationBatch::new(limits()), now));
        assert_eq!(gathering.time_left(now), Duration::ZERO);
        gathering.take();
        assert!(!gathering.is_awaited);
    }
    #[test]
    fn a_clock_that_is_set_back_holds_no_batch_up() {
        let queued = Instant::now();
        let before = Timestamp::from_millis(1_000_000);
        let ten_minutes_earlier = Timestamp::from_millis(400_000);
        for clock in [[before, ten_minutes_earlier], [ten_minutes_earlier, before]] {
            let mut gathering = Gathering::new(limits());
            for now in clock {
                gathering.add(job(records(now), queued));
            }
            assert_eq!(gathering.time_left(queued), limits().max_age);
            assert_eq!(gathering.time_left(queued + limits().max_age), Duration::ZERO);
        }
    }
}
