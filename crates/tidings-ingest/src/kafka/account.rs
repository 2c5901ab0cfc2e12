//! Bytes in memory, counted per partition against its share, and the bell that wakes the thread that
//! polls.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Wakes the thread that polls, or makes it look up between two records.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    lock: Mutex<()>,
    ringing: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        // Under the lock, so that it cannot fall between a look at `rung` and the wait for it.
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.rung.store(true, Ordering::Release);
        self.ringing.notify_all();
        drop(guard);
    }

    /// Whether it rang since the last time.
    pub(super) fn answer(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::Acquire)
    }

    /// Waits until it rings, at most `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |(): &mut ()| !self.rung.load(Ordering::Acquire);
        drop(self.ringing.wait_timeout_while(guard, patience, silent));
    }
}

/// What each partition may hold: its part of the whole, at most `most`.
#[derive(Debug)]
pub(super) struct Shares {
    whole: usize,
    most: usize,
    share: AtomicUsize,
}

impl Shares {
    pub(super) fn new(whole: usize, most: usize) -> Arc<Self> {
        Arc::new(Self { whole, most, share: AtomicUsize::new(most.min(whole)) })
    }

    pub(super) fn divide(&self, partitions: usize) {
        let share = (self.whole / partitions.max(1)).min(self.most).max(1);
        self.share.store(share, Ordering::Relaxed);
    }

    fn share(&self) -> usize {
        self.share.load(Ordering::Relaxed)
    }
}

/// What one partition holds.
#[derive(Debug)]
pub(super) struct Account {
    held: AtomicUsize,
    /// Whether the thread that polls wants to hear that there is room again.
    awaited: AtomicBool,
    shares: Arc<Shares>,
    bell: Arc<Bell>,
}

impl Account {
    pub(super) fn new(shares: Arc<Shares>, bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), awaited: AtomicBool::new(false), shares, bell })
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Arc<Self> {
        Self::new(Shares::new(1 << 20, 1 << 20), Arc::default())
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) fn charge(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(super) fn release(&self, bytes: usize) {
        let held = self.held.fetch_sub(bytes, Ordering::SeqCst).saturating_sub(bytes);
        if held < self.shares.share().div_ceil(2) && self.awaited.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// What the rows may take that are planned ahead of the store: half of the share.
    pub(super) fn most_planned(&self) -> usize {
        self.shares.share().div_ceil(2)
    }

    /// Whether the next record has to wait. One record more than the share may be held: else one that
    /// is larger than the share would never be.
    pub(super) fn is_full(&self) -> bool {
        self.held() >= self.shares.share()
    }

    /// Whether less than half of the share is held; if not, the bell rings once it is.
    pub(super) fn has_room_or_rings(&self) -> bool {
        let roomy = || self.held() < self.shares.share().div_ceil(2);
        if roomy() {
            return true;
        }
        self.awaited.store(true, Ordering::SeqCst);
        // Released between the look and the store: nobody would ring.
        roomy()
    }
}

/// Bytes that are held besides those of records, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    pub(super) fn none(account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account), bytes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.account.charge(bytes);
    }

    /// Gives `bytes` over to `other`, of the same account.
    pub(super) fn hand_over(&mut self, bytes: usize, other: &mut Self) {
        self.bytes -= bytes;
        other.bytes += bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bell_rings_once_when_half_of_the_share_is_free_again() {
        let shares = Shares::new(100, 80);
        let bell = Arc::new(Bell::default());
        let account = Account::new(Arc::clone(&shares), Arc::clone(&bell));
        shares.divide(2);
        account.charge(49);
        assert!(!account.is_full());
        account.charge(1);
        assert!(account.is_full() && !account.has_room_or_rings());
        account.release(25);
        assert!(!bell.answer(), "half is still held");
        account.release(1);
        assert!(bell.answer() && account.has_room_or_rings());
        account.release(1);
        assert!(!bell.answer(), "nobody waits");
    }
}
