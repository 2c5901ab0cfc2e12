//! The answers that this process keeps.
//!
//! In `quick_cache`: it is bounded by weight, resists scans (S3-FIFO with ghosts), and is in the build
//! already, below the embedded engine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter, sync::Cache};
use tokio::time::Instant;

use super::{answer::Answer, scope::Snapshot};

/// What an entry costs besides its bytes: the maps' slots, reference counts, this struct.
const OVERHEAD_BYTES: usize = 192;
/// Writes after which an answer is asked anew without anybody having used it: most users are read more
/// often than their lists change, but not between any two changes.
const RENEWALS: u8 = 2;
/// Bytes of a usual entry. An estimate is good enough here.
const USUAL_BYTES: u64 = 512;

/// An answer and the versions at which it counts.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) snapshot: Snapshot,
    pub(super) answer: Answer,
    until: Instant,
    /// How often it is worth asking anew before anybody uses it again.
    renewals: AtomicU8,
}

impl Entry {
    /// Whether it counts at `snapshot`, now.
    pub(super) fn counts_at(&self, snapshot: Snapshot) -> bool {
        self.snapshot == snapshot && Instant::now() < self.until
    }

    pub(super) fn note_use(&self) {
        self.renewals.store(RENEWALS, Ordering::Relaxed);
    }

    /// Whether it is in use: worth asking anew when a write ends it.
    pub(super) fn is_in_use(&self) -> bool {
        self.renewals.load(Ordering::Relaxed) > 0
    }
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Arc<[u8]>, Arc<Entry>> for Bytes {
    fn weight(&self, name: &Arc<[u8]>, entry: &Arc<Entry>) -> u64 {
        (name.len() + entry.answer.len() + OVERHEAD_BYTES) as u64
    }
}

#[derive(Debug, Clone)]
struct CountEvictions;

impl Lifecycle<Arc<[u8]>, Arc<Entry>> for CountEvictions {
    type RequestState = ();
    fn begin_request(&self) {}
    fn on_evict(&self, (): &mut (), _: Arc<[u8]>, _: Arc<Entry>) {
        metrics::counter!("tidings_graph_cache_evictions_total").increment(1);
    }
}

/// The answers that this process keeps, by the names of their questions.
pub(super) struct Resident {
    entries: Cache<Arc<[u8]>, Arc<Entry>, Bytes, DefaultHashBuilder, CountEvictions>,
    ttl: Duration,
}

impl Resident {
    pub(super) fn new(l1_bytes: u64, ttl: Duration) -> Self {
        let estimate = usize::try_from(l1_bytes / USUAL_BYTES).unwrap_or(usize::MAX).max(1);
        let mut options = OptionsBuilder::new();
        // A shard takes no entry that is larger than it: few shards, so that long pages find room.
        options.shards(8).estimated_items_capacity(estimate).weight_capacity(l1_bytes);
        #[expect(clippy::expect_used, reason = "both capacities are set above")]
        let options = options.build().expect("the options are complete");
        let hasher = DefaultHashBuilder::default();
        Self { entries: Cache::with_options(options, Bytes, hasher, CountEvictions), ttl }
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<Entry>> {
        self.entries.get(name)
    }

    /// Looks without counting as a use.
    pub(super) fn peek(&self, name: &[u8]) -> Option<Arc<Entry>> {
        self.entries.peek(name)
    }

    pub(super) fn put(&self, name: &[u8], snapshot: Snapshot, answer: Answer) {
        let until = Instant::now() + with_jitter(self.ttl);
        let last = self.entries.peek(name).map_or(0, |it| it.renewals.load(Ordering::Relaxed));
        let renewals = AtomicU8::new(last.saturating_sub(1));
        let entry = Entry { snapshot, answer, until, renewals };
        self.entries.insert(name.into(), Arc::new(entry));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}

/// Up to a tenth less, at random: what was kept at once does not end at once.
pub(super) fn with_jitter(ttl: Duration) -> Duration {
    ttl.mul_f64(1.0 - rand::random::<f64>() / 10.0)
}
