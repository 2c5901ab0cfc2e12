//! Versions in this process, for one node.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::scope::{SCOPES, Scope, Snapshot, Standing},
    Mark,
};

/// Scopes share a slot if they must: a write of one then ends the answers of the other as well.
const SLOTS: usize = 1 << 16;

#[derive(Default)]
struct Slot {
    version: AtomicU64,
    writers: AtomicU32,
    /// Milliseconds after the start until which a write may come that nobody waits for.
    marked_until: AtomicU64,
}

/// Versions in this process.
pub(in super::super) struct LocalVersions {
    slots: Box<[Slot]>,
    hasher: RandomState,
    started: Instant,
    write_lease: Duration,
}

impl LocalVersions {
    pub(super) fn new(write_lease: Duration) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(SLOTS).collect();
        Self { slots, hasher: RandomState::new(), started: Instant::now(), write_lease }
    }

    fn slot(&self, scope: &Scope) -> &Slot {
        let hash = usize::try_from(self.hasher.hash_one(scope) % SLOTS as u64);
        &self.slots[hash.unwrap_or_default()]
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn look(&self, scopes: &[Scope]) -> Standing {
        let now = self.millis();
        let mut versions = [0; SCOPES + 2];
        for (to, scope) in
            versions[1..].iter_mut().zip(std::iter::once(&Scope::Graph).chain(scopes))
        {
            let slot = self.slot(scope);
            // The version before the writers: one who comes in between has not changed the store when
            // the version was read, and gives the slot another.
            *to = slot.version.load(SeqCst);
            if slot.writers.load(SeqCst) > 0 || now < slot.marked_until.load(SeqCst) {
                return Standing::Marked;
            }
        }
        Standing::Current(Snapshot(versions))
    }

    pub(super) fn mark(&self, scopes: &[Scope]) -> Mark {
        let mut mark = Mark { is_alone: true, ..Mark::new() };
        for scope in scopes {
            let slot = self.slot(scope);
            mark.is_alone &= slot.writers.fetch_add(1, SeqCst) == 0;
            slot.version.fetch_add(1, SeqCst);
        }
        // How often the slots have changed until now, by which settling sees whether others have come.
        mark.version = self.sum(scopes);
        mark
    }

    pub(super) fn settle(&self, scopes: &[Scope], mark: Mark) -> bool {
        let is_same = self.sum(scopes) == mark.version;
        for scope in scopes {
            let slot = self.slot(scope);
            slot.version.fetch_add(1, SeqCst);
            slot.writers.fetch_sub(1, SeqCst);
        }
        is_same
    }

    pub(super) fn leave(&self, scopes: &[Scope]) {
        let lease = u64::try_from(self.write_lease.as_millis()).unwrap_or(u64::MAX);
        let until = self.millis().saturating_add(lease);
        for scope in scopes {
            let slot = self.slot(scope);
            slot.marked_until.fetch_max(until, SeqCst);
            slot.version.fetch_add(1, SeqCst);
            slot.writers.fetch_sub(1, SeqCst);
        }
    }

    fn sum(&self, scopes: &[Scope]) -> u64 {
        scopes
            .iter()
            .fold(0, |sum, scope| u64::wrapping_add(sum, self.slot(scope).version.load(SeqCst)))
    }
}
