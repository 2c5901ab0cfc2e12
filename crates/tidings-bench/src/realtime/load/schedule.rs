//! When events are due, and for whom they are.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Events in batches at a steady rate, whoever keeps up with it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// When the first batch is due, in microseconds since 1970.
    pub(crate) begun_us: u64,
    /// The number of its first event.
    pub(crate) first: u64,
    /// Events in all.
    pub(crate) events: u64,
    /// Events per second.
    pub(crate) rate: u64,
    /// Events that are due together.
    pub(crate) batch: u64,
    /// The first so many events are not part of the latency.
    pub(crate) warm: u64,
}

impl Schedule {
    /// When the batch with this event is due; `None` for one of another time.
    pub(crate) fn due_us(&self, event: u64) -> Option<u64> {
        let index = event.checked_sub(self.first).filter(|index| *index < self.events)?;
        let batch = index / self.batch.max(1);
        Some(self.begun_us + batch * self.batch * 1_000_000 / self.rate.max(1))
    }

    /// The same for events that are part of the latency.
    pub(in crate::realtime) fn measured_due_us(&self, event: u64) -> Option<u64> {
        self.due_us(event).filter(|_| event >= self.first + self.warm)
    }
}

/// Which of so many users an event is for: uniform, and the same for everyone who counts.
pub(in crate::realtime) fn recipient(event: u64, users: u64) -> u64 {
    mix(event) % users.max(1)
}

/// splitmix64.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Microseconds since 1970: what two processes of one machine can compare.
#[expect(clippy::disallowed_methods, reason = "a Clock of the core tells milliseconds only")]
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_batch_are_due_together() {
        let schedule =
            Schedule { begun_us: 1_000, first: 7, events: 100, rate: 1_000, batch: 10, warm: 20 };
        assert_eq!(schedule.due_us(6), None);
        assert_eq!(schedule.due_us(7), Some(1_000));
        assert_eq!(schedule.due_us(16), Some(1_000));
        assert_eq!(schedule.due_us(17), Some(11_000));
        assert_eq!(schedule.due_us(107), None);
        assert_eq!(schedule.measured_due_us(26), None);
        assert_eq!(schedule.measured_due_us(27), Some(21_000));
    }
}
