//! How much a lane gets done.

use std::time::Duration;

use tokio::time::Instant;

const SPAN: Duration = Duration::from_secs(1);

/// A shorter beginning of a span says little.
const LEAST_SPAN: Duration = Duration::from_millis(250);

/// Counts what is done, and says how much that was per second lately.
#[derive(Debug)]
pub(super) struct Meter {
    span_began: Instant,
    in_span: u32,
    per_s: f64,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { span_began: now, in_span: 0, per_s: 0.0 }
    }

    pub(super) fn count(&mut self, now: Instant) {
        self.turn(now);
        self.in_span = self.in_span.saturating_add(1);
    }

    /// Per second, over the last second or two; `None` at the beginning and after a pause, when there is
    /// little to go by.
    pub(super) fn per_s(&mut self, now: Instant) -> Option<f64> {
        self.turn(now);
        let span = now.saturating_duration_since(self.span_began);
        let so_far = f64::from(self.in_span) / span.max(LEAST_SPAN).as_secs_f64();
        if span >= LEAST_SPAN {
            Some(so_far.max(self.per_s / 2.0))
        } else {
            (self.per_s >= 1.0).then_some(self.per_s)
        }
    }

    fn turn(&mut self, now: Instant) {
        let span = now.saturating_duration_since(self.span_began);
        if span >= SPAN {
            self.per_s = f64::from(self.in_span) / span.as_secs_f64();
            self.in_span = 0;
            self.span_began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_rate_within_a_few_seconds() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        assert_eq!(meter.per_s(began), None);
        for tick in 0..3_000 {
            meter.count(began + tick * Duration::from_millis(1));
            if tick == 100 {
                assert_eq!(meter.per_s(began + tick * Duration::from_millis(1)), None);
            }
        }
        let mut at = |ms| meter.per_s(began + Duration::from_millis(ms));
        let rate = at(3_000).unwrap();
        assert!((900.0..1_100.0).contains(&rate), "{rate}");
        assert!(at(3_900).unwrap() < 600.0);
        assert_eq!(at(9_000), None);
    }
}
