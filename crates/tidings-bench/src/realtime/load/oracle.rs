//! Who got what: each notification once, in order, without holes.

use hdrhistogram::Histogram;

use super::{Inboxes, Percentiles, Schedule, Settings, Status, recipient};

/// The longest time that is told apart: ten minutes, in microseconds.
const MAX_US: u64 = 600_000_000;

/// Counts what arrives.
pub(super) struct Oracle {
    inboxes: Inboxes,
    users: u64,
    /// By event; for inboxes of their own.
    seen: Vec<bool>,
    schedule: Option<Schedule>,
    latency_us: Histogram<u64>,
    pub(super) replay_us: Histogram<u64>,
    pub(super) connect_us: Histogram<u64>,
    arrived: u64,
    doubled: u64,
    misplaced: u64,
    strange: u64,
    text_bytes: u64,
    first_us: u64,
    last_us: u64,
}

/// A notification as a client got it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) user: u32,
    /// Its place in the inbox; `None` where there are no places.
    pub(super) seq: Option<u64>,
    /// The number of its event.
    pub(super) event: Option<u64>,
    pub(super) text_bytes: usize,
    pub(super) at_us: u64,
}

impl Oracle {
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, MAX_US, 3);
        let seen = match settings.inboxes {
            Inboxes::Own => vec![false; usize::try_from(settings.events)?],
            Inboxes::Shared => Vec::new(),
        };
        Ok(Self {
            inboxes: settings.inboxes,
            users: u64::from(settings.told),
            seen,
            schedule: None,
            latency_us: histogram()?,
            replay_us: histogram()?,
            connect_us: histogram()?,
            arrived: 0,
            doubled: 0,
            misplaced: 0,
            strange: 0,
            text_bytes: 0,
            first_us: 0,
            last_us: 0,
        })
    }

    pub(super) fn measure(&mut self, schedule: Schedule) {
        self.schedule = Some(schedule);
        self.latency_us.reset();
    }

    /// Forgets when the first and the last notification came.
    pub(super) fn freshen(&mut self) {
        (self.first_us, self.last_us) = (0, 0);
    }

    /// Forgets how long connections and replays took.
    pub(super) fn forget(&mut self) {
        self.replay_us.reset();
        self.connect_us.reset();
    }

    /// Notes an arrival and returns what the client has now, which had everything up to `last`.
    pub(super) fn arrive(&mut self, last: u64, arrival: Arrival) -> u64 {
        self.text_bytes += arrival.text_bytes as u64;
        self.last_us = arrival.at_us;
        if self.first_us == 0 {
            self.first_us = arrival.at_us;
        }
        let has = arrival.seq.unwrap_or(last);
        if arrival.seq.is_some_and(|seq| seq <= last) {
            self.doubled += 1;
            return last;
        }
        if arrival.seq.is_some_and(|seq| seq > last + 1) {
            self.misplaced += 1;
        }
        match (self.inboxes, arrival.event) {
            (Inboxes::Own, Some(event)) => {
                let seen = usize::try_from(event).ok().and_then(|it| self.seen.get_mut(it));
                match seen {
                    Some(seen) if recipient(event, self.users) == u64::from(arrival.user) => {
                        if std::mem::replace(seen, true) {
                            self.doubled += 1;
                            return has;
                        }
                    }
                    _ => self.strange += 1,
                }
            }
            (Inboxes::Shared, Some(_)) => {}
            (_, None) => self.strange += 1,
        }
        self.arrived += 1;
        let due = arrival.event.and_then(|event| self.schedule?.measured_due_us(event));
        if let Some(due) = due {
            self.latency_us.saturating_record(arrival.at_us.saturating_sub(due).max(1));
        }
        has
    }

    pub(super) fn write(&self, status: &mut Status) {
        status.arrived = self.arrived;
        status.doubled = self.doubled;
        status.misplaced = self.misplaced;
        status.strange = self.strange;
        status.text_bytes = self.text_bytes;
        status.first_us = self.first_us;
        status.last_us = self.last_us;
        status.latency = percentiles(&self.latency_us);
        status.replay = percentiles(&self.replay_us);
        status.connect = percentiles(&self.connect_us);
    }
}

fn percentiles(of: &Histogram<u64>) -> Percentiles {
    Percentiles {
        count: of.len(),
        p50: of.value_at_quantile(0.50),
        p95: of.value_at_quantile(0.95),
        p99: of.value_at_quantile(0.99),
        max: of.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Protocol, *};

    fn oracle() -> Oracle {
        let settings = Settings {
            protocol: Protocol::Tidings,
            address: ([127, 0, 0, 1], 1).into(),
            secret: String::new(),
            clients: 1,
            inboxes: Inboxes::Own,
            told: 1,
            events: 10,
            narrow: 0,
        };
        Oracle::new(&settings).unwrap()
    }

    fn arrival(seq: u64, event: u64) -> Arrival {
        Arrival { user: 0, seq: Some(seq), event: Some(event), text_bytes: 1, at_us: 5 }
    }

    fn counts(oracle: &Oracle) -> [u64; 4] {
        [oracle.arrived, oracle.doubled, oracle.misplaced, oracle.strange]
    }

    #[test]
    fn in_order_and_once_is_right() {
        let mut oracle = oracle();
        assert_eq!(oracle.arrive(0, arrival(1, 3)), 1);
        assert_eq!(oracle.arrive(1, arrival(2, 4)), 2);
        assert_eq!(counts(&oracle), [2, 0, 0, 0]);
    }

    #[test]
    fn what_comes_again_is_doubled_by_place_and_by_event() {
        let mut oracle = oracle();
        oracle.arrive(0, arrival(1, 3));
        assert_eq!(oracle.arrive(1, arrival(1, 3)), 1);
        assert_eq!(oracle.arrive(1, arrival(2, 3)), 2);
        assert_eq!(counts(&oracle), [1, 2, 0, 0]);
    }

    #[test]
    fn a_hole_and_another_s_notification_are_found_out() {
        let mut oracle = oracle();
        assert_eq!(oracle.arrive(0, arrival(2, 3)), 2);
        assert_eq!(counts(&oracle), [1, 0, 1, 0]);
        oracle.arrive(2, Arrival { user: 1, ..arrival(3, 4) });
        oracle.arrive(3, Arrival { event: Some(10), ..arrival(4, 4) });
        assert_eq!(counts(&oracle), [3, 0, 1, 2]);
    }
}
