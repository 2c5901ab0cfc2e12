//! The way to the thread that polls, from the workers and from the thread that asks brokers.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::oneshot;

use super::{account::Bell, asking::Edges, partition::Partition};

/// What the thread that polls is told. By workers, at most one of each kind per assignment; by the
/// thread that asks, one answer per partition of its question.
#[derive(Debug)]
pub(super) enum Notice {
    /// The partition is ours. `begin` gets the position to store at once, if there is one, when
    /// fetching has begun.
    Claimed { partition: Arc<Partition>, begin: oneshot::Sender<Option<i64>> },
    /// Somebody else has taken it or moved its position: claim it anew if it is still assigned to us.
    Reclaim { partition: Arc<Partition> },
    /// It is not to be fetched any more.
    Stopped { partition: Arc<Partition> },
    /// Where logs begin and end, as far as the brokers have said.
    Edges(Vec<(Arc<Partition>, Option<Edges>)>),
}

/// The way to the thread that polls.
#[derive(Debug, Default)]
pub(super) struct Link {
    notices: Mutex<Vec<Notice>>,
    draining: AtomicBool,
    closing: AtomicBool,
    pub(super) bell: Arc<Bell>,
}

impl Link {
    pub(super) fn tell(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
        self.bell.ring();
    }

    pub(super) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetch no more.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Leave the group.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.bell.ring();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
