//! How fast a client is heard.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of tokens that fills at a steady rate: a client is heard at once while there are some, and
/// then at that rate. What it says meanwhile waits in its connection, so that it costs the node nothing.
///
/// The state is one instant: when all that was heard will have been paid for. (That is the generic
/// cell rate algorithm, a bucket without a count to keep.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What a frame costs.
    interval: Duration,
    /// How far ahead of its payment a client is heard.
    ahead: Duration,
}

impl Pace {
    /// `per_second` frames, and up to `burst` at once. Zero counts as one.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, ahead: interval * (burst.max(1) - 1) }
    }

    /// When the next frame is heard of a client whose frames are paid for at `paid_at`.
    pub(super) fn hears_at(self, paid_at: Instant) -> Instant {
        // Before the clock began is as good as now.
        paid_at.checked_sub(self.ahead).unwrap_or(paid_at)
    }

    /// When all is paid for, with one more frame that is heard now.
    pub(super) fn pay(self, paid_at: Instant, now: Instant) -> Instant {
        paid_at.max(now) + self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_heard_at_once_and_the_rest_at_the_rate() {
        let pace = Pace::new(10, 3);
        let start = Instant::now() + Duration::from_secs(60);
        let (mut now, mut paid_at, mut heard_after) = (start, start, Vec::new());
        for _ in 0..6 {
            now = now.max(pace.hears_at(paid_at));
            paid_at = pace.pay(paid_at, now);
            heard_after.push((now - start).as_millis());
        }
        assert_eq!(heard_after, [0, 0, 0, 100, 200, 300]);
        // After a rest there is a burst again, and no more than one.
        now += Duration::from_secs(60);
        for expected in [0, 0, 0, 100] {
            let hears_at = pace.hears_at(paid_at).max(now);
            assert_eq!((hears_at - now).as_millis(), expected);
            paid_at = pace.pay(paid_at, hears_at);
        }
    }
}
