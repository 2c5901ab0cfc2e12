//! A wall clock that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidings_simulators::Clock;

/// 2026-11-23T09:00:00Z.
pub(crate) const START_SECS: i64 = 1_795_424_400;

#[derive(Clone)]
pub(crate) struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(AtomicI64::new(START_SECS * 1_000)))
    }

    pub(crate) fn advance_secs(&self, secs: i64) {
        self.0.fetch_add(secs * 1_000, Ordering::SeqCst);
    }

    pub(crate) fn now_secs(&self) -> i64 {
        self.0.load(Ordering::SeqCst).div_euclid(1_000)
    }

    pub(crate) fn as_clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || now.load(Ordering::SeqCst))
    }
}
