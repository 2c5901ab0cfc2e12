//! Until when an epoch may last that this node has had a part in.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Until when an epoch may last that this node has had a part in.
///
/// A sign of life that was sent is taken for one that arrived, at the last moment at which it counts.
pub(super) struct Lapse {
    at: Mutex<Option<Instant>>,
    after: Duration,
}

impl Lapse {
    pub(super) fn new(answer_timeout: Duration, lease: Duration) -> Self {
        // Clocks run at slightly different rates, and the server's counts whole milliseconds.
        let margin = lease / 50 + Duration::from_millis(20);
        let lapse = Self { at: Mutex::default(), after: answer_timeout + lease + margin };
        // The run of this node before this one may have died a moment ago.
        lapse.put_off();
        lapse
    }

    /// Notes that a sign of life is about to be sent.
    pub(super) fn put_off(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + self.after);
    }

    /// How long an epoch may still last; `None` if it cannot.
    pub(super) fn left(&self) -> Option<Duration> {
        let at = (*self.at.lock().unwrap_or_else(PoisonError::into_inner))?;
        at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}
