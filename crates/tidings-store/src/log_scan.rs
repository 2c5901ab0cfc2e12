//! Reading the delivery log a page at a time: what both stores decide alike.

use std::time::Duration;

use tidings_core::{clock::Timestamp, ports::DeliveryFilter};

/// Rows in a row that say on which side of a time a place in the log lies. Rows are written when their
/// attempt has ended, so that they are about in the order of time; each of so many being later than
/// [`LATENESS`], for a place further on, has not been seen.
pub(crate) const PROBE_ROWS: usize = 1_000;
/// How late many rows in a row may be: what sessions acknowledge is gathered for a while, and written in
/// the order of inboxes.
const LATENESS: Duration = Duration::from_secs(60);

/// Finds where the rows of a time begin, by halves: the log has no index of times, which every attempt
/// would pay for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartSearch {
    /// All up to here are before the time.
    low: u64,
    /// It begins up to here.
    high: u64,
}

impl StartSearch {
    /// A search in the rows from `first` to `last`.
    pub(crate) fn new(first: u64, last: u64) -> Self {
        Self { low: first.saturating_sub(1), high: last.max(first.saturating_sub(1)) }
    }

    /// After which number to look next; `None` once the place is found.
    pub(crate) fn probe(&self) -> Option<u64> {
        let width = self.high - self.low;
        (width > PROBE_ROWS as u64).then_some(self.low + width / 2)
    }

    /// Learns the latest time of the first [`PROBE_ROWS`] rows after `probe`.
    pub(crate) fn learn(&mut self, probe: u64, latest: Option<Timestamp>, since: Timestamp) {
        if latest.is_some_and(|latest| latest.after(LATENESS) < since) {
            self.low = probe;
        } else {
            self.high = probe;
        }
    }

    /// After which number to begin.
    pub(crate) fn after(&self) -> u64 {
        self.low
    }
}

/// Whether a page of so many rows, the earliest of that time, is beyond all that `filter` takes.
pub(crate) fn is_beyond(filter: &DeliveryFilter, rows: usize, earliest: Option<Timestamp>) -> bool {
    let (Some(until), Some(earliest)) = (filter.until, earliest) else { return false };
    rows >= PROBE_ROWS && earliest >= until.after(LATENESS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches in rows that are numbered from 1, as a store does.
    fn search(times: &[i64], first: u64, since: i64) -> (u64, usize) {
        let mut search = StartSearch::new(first, times.len() as u64);
        let mut probes = 0;
        while let Some(probe) = search.probe() {
            let from = usize::try_from(probe).unwrap();
            let rows = &times[from..(from + PROBE_ROWS).min(times.len())];
            let latest = rows.iter().max().map(|it| Timestamp::from_millis(*it));
            search.learn(probe, latest, Timestamp::from_millis(since));
            probes += 1;
        }
        (search.after(), probes)
    }

    proptest! {
        #[test]
        fn no_row_of_the_time_is_before_the_start_and_few_others_are_after_it(
            len in 0..40_000_i64, forgotten in 0..40_000_i64, since in 0..45_000_i64,
            late in proptest::collection::vec((0..40_000_usize, 0..40_000_i64), 0..300),
            gathered in proptest::collection::vec((0..40_000_usize, 0..2_500_usize), 0..20),
        ) {
            const APART_MS: i64 = 20;
            let since = since * APART_MS;
            let mut times: Vec<i64> = (0..len).map(|place| place * APART_MS).collect();
            // Some rows are written together, in another order than that of time.
            let mut free = 0;
            for (place, rows) in gathered {
                let place = place.max(free);
                if let Some(part) = times.get_mut(place..place + rows) {
                    part.reverse();
                    free = place + rows;
                }
            }
            for (place, by) in late {
                if let Some(time) = times.get_mut(place) {
                    *time = (*time - by * APART_MS).max(0);
                }
            }
            let forgotten = forgotten.min(len);
            let first = u64::try_from(forgotten).unwrap() + 1;
            let (after, probes) = search(&times, first, since);
            let begins = (0..len).skip(usize::try_from(forgotten).unwrap());
            let begins = begins.zip(&times[usize::try_from(forgotten).unwrap()..]);
            let begins = begins.filter(|(_, at)| **at >= since).map(|(place, _)| place).next();
            let after = i64::try_from(after).unwrap();
            // The row at a place has the next number.
            let begins = begins.unwrap_or(len);
            prop_assert!(after <= begins, "{after} for {begins}");
            let lateness = i64::try_from(LATENESS.as_millis()).unwrap() / APART_MS;
            let most = 2 * i64::try_from(PROBE_ROWS).unwrap() + 1 + lateness + 2_500;
            prop_assert!(begins - after <= most, "{after} for {begins}");
            prop_assert!(probes <= 16);
        }
    }
}
