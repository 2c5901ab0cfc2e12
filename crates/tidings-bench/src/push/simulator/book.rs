//! Who got what, when, and under which identity, by the numbers of events.

use hdrhistogram::Histogram;
use tidings_simulators::AcceptedPush;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use std::sync::{Arc, Mutex, PoisonError};

use super::orders::Status;
use crate::{
    push::story::number_in,
    realtime::{Percentiles, Schedule},
};

/// The longest latency that can be told, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// All events of a run. Each is for one device.
pub(super) struct Book {
    /// Under which identity each was accepted first, and when (microseconds since 1970).
    first: Vec<Option<(Box<str>, u64)>>,
    delivered: u64,
    repeated: u64,
    duplicated_identities: u64,
    strange: u64,
}

impl Book {
    pub(super) fn new(events: u64) -> Self {
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        Self {
            first: vec![None; events],
            delivered: 0,
            repeated: 0,
            duplicated_identities: 0,
            strange: 0,
        }
    }

    pub(super) fn enter(&mut self, payload: &[u8], identity: Option<&str>, at_us: u64) {
        let number = number_in(payload).and_then(|it| usize::try_from(it).ok());
        let place = number.and_then(|number| self.first.get_mut(number));
        let (Some(place), Some(identity)) = (place, identity) else {
            self.strange += 1;
            return;
        };
        match place {
            None => {
                *place = Some((identity.into(), at_us));
                self.delivered += 1;
            }
            Some((first, _)) if **first == *identity => self.repeated += 1,
            Some(_) => self.duplicated_identities += 1,
        }
    }

    pub(super) fn write_to(&self, status: &mut Status) {
        status.delivered = self.delivered;
        status.repeated = self.repeated;
        status.duplicated_identities = self.duplicated_identities;
        status.strange = self.strange;
    }

    /// From due to accepted, of the events from `first` to before `end` that were accepted.
    pub(super) fn latency(
        &self,
        schedule: &Schedule,
        first: u64,
        end: u64,
    ) -> anyhow::Result<Percentiles> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
        for number in first..end {
            let place = usize::try_from(number).ok().and_then(|number| self.first.get(number));
            if let (Some(Some((_, at_us))), Some(due_us)) = (place, schedule.due_us(number)) {
                histogram.saturating_record(at_us.saturating_sub(due_us));
            }
        }
        Ok(Percentiles {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.50),
            p95: histogram.value_at_quantile(0.95),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        })
    }
}

/// Enters everything that is accepted, until the simulator is gone.
pub(super) async fn follow(mut accepted: Receiver<Arc<AcceptedPush>>, book: Arc<Mutex<Book>>) {
    loop {
        let next = accepted.recv().await;
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Ok(push) => {
                let at_us = u64::try_from(push.received_at_ms).unwrap_or_default() * 1_000;
                book.enter(&push.payload, push.identity.as_deref(), at_us);
            }
            Err(RecvError::Lagged(pushes)) => book.strange += pushes,
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: u64) -> Vec<u8> {
        format!(r#"{{"event_id":"evt{number:012}"}}"#).into_bytes()
    }

    #[test]
    fn the_same_event_under_another_identity_is_a_duplicated_identity() {
        let mut book = Book::new(2);
        book.enter(&payload(0), Some("a"), 1);
        book.enter(&payload(0), Some("a"), 2);
        book.enter(&payload(0), Some("b"), 3);
        book.enter(&payload(1), Some("c"), 4);
        book.enter(&payload(2), Some("d"), 5);
        book.enter(b"{}", Some("e"), 6);
        book.enter(&payload(1), None, 7);
        let mut status = Status::default();
        book.write_to(&mut status);
        let Status { delivered, repeated, duplicated_identities, strange, .. } = status;
        assert_eq!((delivered, repeated, duplicated_identities, strange), (2, 1, 1, 3));
    }

    #[test]
    fn latency_is_from_due_to_the_first_acceptance() {
        let schedule =
            Schedule { begun_us: 1_000, first: 0, events: 3, rate: 1_000, batch: 1, warm: 0 };
        let mut book = Book::new(3);
        book.enter(&payload(0), Some("a"), 1_500);
        book.enter(&payload(0), Some("a"), 9_000);
        book.enter(&payload(2), Some("b"), 99_000);
        let latency = book.latency(&schedule, 0, 2).unwrap();
        assert_eq!((latency.count, latency.max), (1, 500));
    }
}
