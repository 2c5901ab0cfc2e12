//! When to try again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Exponential backoff with full jitter, a cap, and a budget of attempts.
///
/// The wait before attempt `n + 1` is uniform between zero and `min(cap, base * 2^(n - 1))`
/// ("Exponential Backoff And Jitter", AWS Architecture Blog).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first included. At least 1.
    pub max_attempts: u32,
    /// The upper bound of the first wait, in milliseconds.
    pub base_ms: u64,
    /// The upper bound of every wait, in milliseconds.
    pub cap_ms: u64,
}

/// What a [`RetryPolicy`] says after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again after this long.
    After(Duration),
    /// The budget is spent.
    GiveUp,
}

impl RetryPolicy {
    /// Decides after failed attempt number `attempt` (1 is the first).
    ///
    /// `server_says` is the least wait that the other side asked for (`Retry-After`); it is honoured
    /// even above the cap. `random` is uniform in `0.0..1.0`.
    #[must_use]
    pub fn after_failure(
        &self,
        attempt: u32,
        server_says: Option<Duration>,
        random: f64,
    ) -> RetryDecision {
        if attempt >= self.max_attempts.max(1) {
            return RetryDecision::GiveUp;
        }
        let wait = self.ceiling(attempt).mul_f64(random.clamp(0.0, 1.0));
        RetryDecision::After(match server_says {
            // Jitter goes on top of what the server asked for: a herd must not come back at once.
            Some(least) => least.saturating_add(wait),
            None => wait,
        })
    }

    /// Decides after failed attempt number `attempt` (1 is the first) to get back what was lost `away` ago.
    ///
    /// As [`Self::after_failure`], and the wait is not longer than half of what has passed already, `base_ms`
    /// at least. The bound of usual backoff runs ahead of the time that it took to get there when the
    /// first waits happen to be short: of a herd that lost its node for some seconds, a few would be away
    /// for several times as long. So all are away for half as long again as the node at most, or the
    /// first wait longer, for some attempts more.
    #[must_use]
    pub fn after_loss(&self, attempt: u32, away: Duration, random: f64) -> RetryDecision {
        if attempt >= self.max_attempts.max(1) {
            return RetryDecision::GiveUp;
        }
        let bound = self.ceiling(attempt).min((away / 2).max(self.ceiling(1)));
        RetryDecision::After(bound.mul_f64(random.clamp(0.0, 1.0)))
    }

    /// The upper bound of the wait after failed attempt number `attempt`.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(63);
        let millis = self.base_ms.saturating_mul(1u64 << doublings).min(self.cap_ms);
        Duration::from_millis(millis)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 20, base_ms: 1_000, cap_ms: 300_000 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_budget_counts_the_first_attempt() {
        let policy = RetryPolicy { max_attempts: 2, base_ms: 10, cap_ms: 10 };
        assert_eq!(
            policy.after_failure(1, None, 1.0),
            RetryDecision::After(Duration::from_millis(10))
        );
        assert_eq!(policy.after_failure(2, None, 1.0), RetryDecision::GiveUp);
    }

    #[test]
    fn retry_after_is_honoured_above_the_cap() {
        let policy = RetryPolicy { max_attempts: 9, base_ms: 10, cap_ms: 100 };
        let minute = Duration::from_secs(60);
        assert_eq!(policy.after_failure(1, Some(minute), 0.0), RetryDecision::After(minute));
    }

    #[test]
    fn what_was_lost_a_moment_ago_is_not_waited_for_for_long() {
        let policy = RetryPolicy { max_attempts: 9, base_ms: 500, cap_ms: 30_000 };
        let bound = |attempt, away_ms| {
            let RetryDecision::After(wait) =
                policy.after_loss(attempt, Duration::from_millis(away_ms), 1.0)
            else {
                panic!("gave up within the budget")
            };
            wait.as_millis()
        };
        assert_eq!(bound(1, 0), 500);
        assert_eq!(bound(6, 0), 500);
        assert_eq!(bound(6, 3_000), 1_500);
        // However long it is gone, the attempts count: a laptop wakes and begins with a short wait.
        assert_eq!(bound(2, 3_600_000), 1_000);
        assert_eq!(bound(8, 3_600_000), 30_000);
        assert_eq!(policy.after_loss(9, Duration::ZERO, 0.5), RetryDecision::GiveUp);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_above_its_ceiling(
            attempt in 1u32..100, base_ms in 0u64..1 << 40, cap_ms in 0u64..1 << 40, random in 0.0f64..1.0,
        ) {
            let policy = RetryPolicy { max_attempts: 101, base_ms, cap_ms };
            let RetryDecision::After(wait) = policy.after_failure(attempt, None, random) else {
                return Err(TestCaseError::fail("gave up within the budget"));
            };
            prop_assert!(wait <= policy.ceiling(attempt));
            prop_assert!(policy.ceiling(attempt) <= Duration::from_millis(cap_ms));
        }
    }
}
