//! How fast a service is asked.

use std::time::Duration;

use tokio::time::Instant;

/// A rate that is never set lower than this by a service that feels asked too much, per second.
const LEAST_PER_S: f64 = 1.0;

/// Where a service has no quota that is known of: more than any node sends, per second.
const UNLIMITED_PER_S: f64 = 1e7;

/// What may be caught up on after a moment without sends.
const SLACK: Duration = Duration::from_millis(100);

/// After a service said that it is asked too much, the same is not heard again for this long: answers to
/// what was under way come all at once.
const DEAF: Duration = Duration::from_secs(1);

/// A longer pause that a service asks for is one for the push that asked, not for all others: what is
/// sent after this long finds out.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Spreads sends over time: a leaky bucket (ITU-T I.371, virtual scheduling) whose rate rises by itself
/// and falls when the service says so.
///
/// Where there is a quota, the rate begins at a tenth of it and needs [`ramp`](Self::new) to rise to the
/// whole ("ramp up … over at least 60 seconds", Firebase, "Best practices when sending FCM messages at
/// scale"), again after a time without sends. When the service says that it is asked too much, nothing is
/// sent for as long as it wishes, up to a minute, and half as much from then on.
#[derive(Debug)]
pub(super) struct Pacer {
    quota_per_s: Option<f64>,
    ramp: Duration,
    per_s: f64,
    /// When the next send may be.
    next: Instant,
    used: Instant,
    deaf_until: Instant,
}

impl Pacer {
    pub(super) fn new(quota_per_s: Option<u32>, ramp: Duration, now: Instant) -> Self {
        let quota_per_s = quota_per_s.map(f64::from);
        let mut pacer =
            Self { quota_per_s, ramp, per_s: 0.0, next: now, used: now, deaf_until: now };
        pacer.per_s = pacer.first_per_s();
        pacer
    }

    /// The rate now, per second; `None` while there is no limit.
    pub(super) fn per_s(&self) -> Option<f64> {
        (self.per_s < UNLIMITED_PER_S).then_some(self.per_s)
    }

    /// Takes the next place in time, and says how long it is until then; or how long it would be, if
    /// that is more than `at_most`, and takes none.
    pub(super) fn take(&mut self, now: Instant, at_most: Duration) -> Result<Duration, Duration> {
        self.rise(now);
        if self.per_s >= UNLIMITED_PER_S {
            return Ok(Duration::ZERO);
        }
        let slack = SLACK.min(self.interval() * 100);
        let slot = self.next.max(now.checked_sub(slack).unwrap_or(now));
        let wait = slot.saturating_duration_since(now);
        if wait > at_most {
            return Err(wait);
        }
        self.next = slot + self.interval();
        Ok(wait)
    }

    /// The service is asked too much. `done_per_s` is what it has been taking lately.
    pub(super) fn slow_down(&mut self, now: Instant, after: Option<Duration>, done_per_s: f64) {
        self.next = self.next.max(now + after.unwrap_or_default().min(LONGEST_PAUSE));
        if now < self.deaf_until {
            return;
        }
        self.deaf_until = self.next + DEAF;
        self.per_s = (self.per_s.min(done_per_s) / 2.0).max(LEAST_PER_S);
    }

    /// The time between two sends.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_s)
    }

    fn first_per_s(&self) -> f64 {
        match self.quota_per_s {
            Some(quota) if !self.ramp.is_zero() => (quota / 10.0).max(LEAST_PER_S),
            quota => self.cap(quota),
        }
    }

    fn cap(&self, quota_per_s: Option<f64>) -> f64 {
        quota_per_s.unwrap_or(UNLIMITED_PER_S).max(LEAST_PER_S)
    }

    /// Tenfold within `ramp`, by the time that the lane was in use.
    fn rise(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.used);
        self.used = now;
        let most = self.cap(self.quota_per_s);
        if self.ramp.is_zero() {
            // A rate that a service asked for is forgotten within a minute or so all the same.
            let factor = 10_f64.powf(since.as_secs_f64().min(1.0) / 10.0);
            self.per_s = (self.per_s * factor).min(most);
        } else if self.quota_per_s.is_some() && since > self.ramp {
            self.per_s = self.per_s.min(self.first_per_s());
        } else {
            let steps = since.as_secs_f64().min(1.0) / self.ramp.as_secs_f64();
            self.per_s = (self.per_s * 10_f64.powf(steps)).min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many sends get through between two moments when there is always one more.
    fn sends(pacer: &mut Pacer, from: Instant, until: Instant) -> u32 {
        let (mut now, mut sends) = (from, 0);
        while now < until {
            match pacer.take(now, Duration::ZERO) {
                Ok(_) => sends += 1,
                Err(wait) => now += wait,
            }
        }
        sends
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_is_reached_after_the_ramp_and_not_passed_in_any_minute() {
        let began = Instant::now();
        let mut pacer = Pacer::new(Some(1_000), 60 * SECOND, began);
        let first = sends(&mut pacer, began, began + SECOND);
        assert!((90..250).contains(&first), "{first}");
        sends(&mut pacer, began + SECOND, began + 61 * SECOND);
        let second = sends(&mut pacer, began + 61 * SECOND, began + 121 * SECOND);
        assert!((59_000..=60_200).contains(&second), "{second}");
        // After a pause it begins anew.
        let later = began + 300 * SECOND;
        let after_pause = sends(&mut pacer, later, later + SECOND);
        assert!(after_pause < 250, "{after_pause}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_quota_there_is_no_wait() {
        let began = Instant::now();
        let mut pacer = Pacer::new(None, Duration::ZERO, began);
        for _ in 0..10_000 {
            assert_eq!(pacer.take(began, SECOND), Ok(Duration::ZERO));
        }
        assert_eq!(pacer.per_s(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_asked_too_much_is_left_alone_and_then_asked_half_as_much() {
        let began = Instant::now();
        let mut pacer = Pacer::new(None, Duration::ZERO, began);
        pacer.slow_down(began, Some(30 * SECOND), 400.0);
        // Answers to what was under way: they are not news.
        for _ in 0..100 {
            pacer.slow_down(began, Some(30 * SECOND), 400.0);
        }
        assert_eq!(pacer.take(began, SECOND), Err(30 * SECOND));
        let back = began + 30 * SECOND;
        let first = sends(&mut pacer, back, back + SECOND);
        assert!((180..320).contains(&first), "{first}");
        // And more and more when it takes it.
        let later = back + 20 * SECOND;
        sends(&mut pacer, back + SECOND, later);
        let then = sends(&mut pacer, later, later + SECOND);
        assert!(then > 5_000, "{then}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_have_to_wait_too_long_takes_no_place() {
        let began = Instant::now();
        let mut pacer = Pacer::new(Some(10), Duration::ZERO, began);
        while pacer.take(began, SECOND).is_ok() {}
        for _ in 0..100 {
            let wait = pacer.take(began, SECOND).unwrap_err();
            assert!(wait <= SECOND + pacer.interval(), "{wait:?}");
        }
    }
}
