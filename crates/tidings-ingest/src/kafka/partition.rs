//! One assignment of a partition: what the thread that polls, its worker and the health share.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use tidings_core::{
    checkpoint::{Checkpoint, Epoch, PartitionId},
    ids::UserId,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    account::Account,
    chunk::Chunk,
    config::RecordFormat,
    measure,
    status::{Status, StopReason},
};

/// No offset is known.
pub(super) const UNKNOWN: i64 = -1;

/// One assignment of a partition, from claim to revocation. A partition that is claimed again gets a
/// new one, so that nothing of the earlier claim can be taken for the later.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: PartitionId,
    pub(super) format: RecordFormat,
    /// How often it was taken away by others since it was assigned: the next claim waits longer.
    pub(super) fenced: u32,
    /// Cancelled when the partition is no longer ours to read.
    pub(super) gone: CancellationToken,
    pub(super) account: Arc<Account>,
    pub(super) paused: AtomicBool,
    queue: Mutex<VecDeque<Chunk>>,
    arrived: Notify,
    status: Mutex<Status>,
    epoch: AtomicU64,
    position: AtomicI64,
    passed: AtomicI64,
    /// Whose events the store has refused since it took one.
    refused: Mutex<HashSet<UserId>>,
    low: AtomicI64,
    high: AtomicI64,
}

impl Partition {
    pub(super) fn new(
        id: PartitionId,
        format: RecordFormat,
        account: Arc<Account>,
        fenced: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            format,
            fenced,
            gone: CancellationToken::new(),
            account,
            paused: AtomicBool::new(false),
            queue: Mutex::default(),
            arrived: Notify::new(),
            status: Mutex::default(),
            epoch: AtomicU64::new(0),
            position: AtomicI64::new(UNKNOWN),
            passed: AtomicI64::new(UNKNOWN),
            refused: Mutex::default(),
            low: AtomicI64::new(UNKNOWN),
            high: AtomicI64::new(UNKNOWN),
        })
    }

    #[cfg(test)]
    pub(super) fn for_tests(number: i32) -> Arc<Self> {
        let (group, topic) = (Arc::from("group"), Arc::from("topic"));
        let id = PartitionId { group, topic, partition: number };
        Self::new(id, RecordFormat::Auto, Account::for_tests(), 0)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Chunk>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record that `write` puts into the chunk it is given.
    pub(super) fn push(&self, write: impl FnOnce(&mut Chunk)) {
        let mut queue = self.queue();
        let was_empty = queue.is_empty();
        match queue.back_mut() {
            Some(chunk) if !chunk.is_full() => write(chunk),
            _ => {
                let mut chunk = Chunk::new(Arc::clone(&self.account));
                write(&mut chunk);
                queue.push_back(chunk);
            }
        }
        drop(queue);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Takes the oldest records that wait.
    pub(super) fn take(&self) -> Option<Chunk> {
        self.queue().pop_front()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.queue().is_empty()
    }

    /// Waits until records wait, or the log is [passed](Self::pass) beyond `position`. Cancel-safe.
    pub(super) async fn arrived(&self, position: i64) {
        while !self.has_waiting() && self.passed() <= position {
            self.arrived.notified().await;
        }
    }

    /// Notes that no record that was not pushed yet is before `position`: what is there are the marks
    /// of transactions, or nothing.
    pub(super) fn pass(&self, position: i64) {
        self.passed.store(position, Ordering::Release);
        self.arrived.notify_one();
    }

    /// How far the log was passed. Records that are pushed after it was read are not before it.
    pub(super) fn passed(&self) -> i64 {
        self.passed.load(Ordering::Acquire)
    }

    /// Ends it: what waits is dropped, and its worker stops.
    pub(super) fn abandon(&self) {
        self.gone.cancel();
        self.queue().clear();
    }

    pub(super) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_status(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Notes that it waits. One that is stopped stays so: its worker still ends what it had fetched.
    pub(super) fn wait(&self, why: Arc<str>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*status, Status::Stopped(_)) {
            *status = Status::Waiting(why);
        }
    }

    /// Notes that it is read on, if it waited; says whether it did.
    pub(super) fn read_on(&self) -> bool {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = matches!(*status, Status::Waiting(_));
        if waited {
            *status = Status::Reading;
        }
        waited
    }

    /// Notes why it is read no further, for whoever looks.
    pub(super) fn stop(&self, reason: StopReason) {
        metrics::counter!(measure::STOPS, "reason" => reason.as_str()).increment(1);
        tracing::error!(
            partition = %self.id,
            position = self.position(),
            "a partition is read no further: {reason}"
        );
        self.set_status(Status::Stopped(reason));
    }

    /// Whether it has an epoch, and is not about to get another.
    pub(super) fn is_claimed(&self) -> bool {
        self.epoch() != Epoch(0) && !matches!(self.status(), Status::Claiming)
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.status(), Status::Stopped(_))
    }

    pub(super) fn set_checkpoint(&self, checkpoint: &Checkpoint) {
        self.epoch.store(checkpoint.epoch.0, Ordering::Release);
        self.position.store(checkpoint.next_offset.unwrap_or(UNKNOWN), Ordering::Release);
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The offset of the first record that has not been stored.
    pub(super) fn position(&self) -> Option<i64> {
        known(&self.position)
    }

    pub(super) fn set_position(&self, position: i64) {
        self.position.store(position, Ordering::Release);
    }

    /// Notes that the store has refused an event of this user; says of how many users it has since it
    /// took one.
    pub(super) fn note_refused(&self, user: UserId) -> usize {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(user);
        refused.len()
    }

    /// Notes that the store has taken an event.
    pub(super) fn note_taken(&self) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn watermarks(&self) -> (Option<i64>, Option<i64>) {
        (known(&self.low), known(&self.high))
    }

    pub(super) fn set_watermarks(&self, low: i64, high: i64) {
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
    }

    /// Takes what the client saw at its last fetch. While it is paused it does not fetch, and the
    /// broker was asked since.
    pub(super) fn take_watermarks_seen(&self, low: i64, high: i64) {
        let (known_low, known_high) = self.watermarks();
        if self.paused.load(Ordering::Relaxed) {
            self.set_watermarks(
                low.max(known_low.unwrap_or(low)),
                high.max(known_high.unwrap_or(high)),
            );
        } else {
            self.set_watermarks(low, high);
        }
    }

    /// Records between the position and the end of the log.
    pub(super) fn lag(&self) -> Option<u64> {
        let (low, high) = self.watermarks();
        let position = self.position().or(low)?;
        Some(u64::try_from(high? - position).unwrap_or(0))
    }
}

fn known(offset: &AtomicI64) -> Option<i64> {
    Some(offset.load(Ordering::Acquire)).filter(|offset| *offset >= 0)
}
