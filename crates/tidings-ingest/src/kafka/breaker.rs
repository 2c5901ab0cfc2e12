//! Notices that nearly nothing in a partition is an event.

use std::collections::VecDeque;

use super::config::BreakerConfig;

/// The last records of a partition, good or bad.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    window: VecDeque<bool>,
    bad: usize,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        let records = config.records.max(1);
        let config = BreakerConfig { records, ..config };
        Self { config, window: VecDeque::with_capacity(records), bad: 0 }
    }

    /// Notes a record; says whether the partition has to be stopped.
    pub(super) fn note(&mut self, is_bad: bool) -> bool {
        if self.window.len() == self.config.records && self.window.pop_front() == Some(true) {
            self.bad -= 1;
        }
        self.window.push_back(is_bad);
        self.bad += usize::from(is_bad);
        self.window.len() >= self.config.records.div_ceil(2)
            && self.bad * 100 >= self.window.len() * usize::from(self.config.bad_percent)
    }

    /// How many of how many records are bad.
    pub(super) fn seen(&self) -> (usize, usize) {
        (self.bad, self.window.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig { records: 200, bad_percent: 90 })
    }

    #[test]
    fn it_trips_when_90_of_the_first_100_are_bad_and_not_before() {
        let mut it = breaker();
        assert!((0..99).all(|n| !it.note(n >= 10)));
        assert!(it.note(true));
        assert_eq!(it.seen(), (90, 100));
    }

    #[test]
    fn many_good_records_long_ago_do_not_hide_bad_ones() {
        let mut it = breaker();
        assert!((0..100_000).all(|_| !it.note(false)));
        assert!((0..179).all(|_| !it.note(true)));
        assert!(it.note(true));
    }

    #[test]
    fn one_bad_record_in_ten_never_trips_it() {
        let mut it = breaker();
        assert!((0..10_000).all(|n| !it.note(n % 10 == 0)));
    }
}
