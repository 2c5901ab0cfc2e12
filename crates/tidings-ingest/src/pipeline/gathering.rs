//! Jobs, and the batch that they gather in.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    batch::{BatchLimits, BatchPart, NotificationBatch},
    clock::Timestamp,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

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
}

impl Gathering {
    pub(super) fn new(limits: BatchLimits) -> Self {
        let batch = NotificationBatch::new(limits);
        Self { limits, batch, waiters: Vec::new(), left_over: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How long the batch may still wait for company; zero once nothing more fits.
    pub(super) fn time_left(&self, now: Timestamp) -> Duration {
        match self.batch.due_at() {
            Some(due) if self.takes_more() => due.since(now),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn takes_more(&self) -> bool {
        self.left_over.is_none() && !self.batch.is_full()
    }

    pub(super) fn add(&mut self, job: Job) {
        let part = BatchPart::of_appended(&self.batch, &job.batch);
        match self.batch.try_append(job.batch) {
            Ok(()) => self.waiters.push((part, job.waiter)),
            Err(batch) => self.left_over = Some(Job { batch, ..job }),
        }
    }

    /// Hands the batch over and starts the next one with what did not fit.
    pub(super) fn take(&mut self) -> Gathered {
        let batch = std::mem::replace(&mut self.batch, NotificationBatch::new(self.limits));
        let waiters = std::mem::take(&mut self.waiters);
        if let Some(job) = self.left_over.take() {
            self.add(job);
        }
        Gathered { batch: Arc::new(batch), waiters }
    }
}
