//! What the pipeline tells of itself, with handles that are looked up once.

use std::time::Duration;

use metrics::{Counter, Histogram, Unit};
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch},
    clock::Timestamp,
};

pub(super) struct Measure {
    batch_rows: Histogram,
    batch_bytes: Histogram,
    batch_age: Histogram,
    append: Histogram,
    failures: Counter,
    rows: Counter,
    duplicates: Counter,
    end_to_end: Histogram,
    clock_skew: Counter,
}

impl Measure {
    pub(super) fn new() -> Self {
        describe();
        Self {
            batch_rows: metrics::histogram!("tidings_intake_batch_rows"),
            batch_bytes: metrics::histogram!("tidings_intake_batch_bytes"),
            batch_age: metrics::histogram!("tidings_intake_batch_age_seconds"),
            append: metrics::histogram!("tidings_intake_append_seconds"),
            failures: metrics::counter!("tidings_intake_append_failures_total"),
            rows: metrics::counter!("tidings_intake_rows_total"),
            duplicates: metrics::counter!("tidings_intake_duplicates_total"),
            end_to_end: metrics::histogram!("tidings_intake_end_to_end_seconds"),
            clock_skew: metrics::counter!("tidings_intake_events_from_the_future_total"),
        }
    }

    pub(super) fn stored(
        &self,
        batch: &NotificationBatch,
        appended: &[AppendedEvent],
        took: Duration,
        started_at: Timestamp,
    ) {
        self.batch_rows.record(as_f64(batch.rows()));
        self.batch_bytes.record(as_f64(batch.bytes()));
        if let Some(opened_at) = batch.opened_at() {
            self.batch_age.record(started_at.since(opened_at));
        }
        self.append.record(took);
        let (stored, duplicates) = appended.iter().fold((0, 0), |(stored, duplicates), event| {
            (stored + event.stored.len(), duplicates + event.duplicates)
        });
        self.rows.increment(as_u64(stored));
        self.duplicates.increment(as_u64(duplicates));
    }

    pub(super) fn failed(&self) {
        self.failures.increment(1);
    }

    /// From when things happened, as their producers say, to now.
    pub(super) fn end_to_end(&self, appended: &[AppendedEvent], now: Timestamp) {
        let mut from_the_future = 0;
        for event in appended.iter().filter(|event| !event.stored.is_empty()) {
            if event.event.time > now {
                from_the_future += 1;
            } else {
                self.end_to_end.record(now.since(event.event.time));
            }
        }
        self.clock_skew.increment(from_the_future);
    }
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn describe() {
    metrics::describe_histogram!("tidings_intake_batch_rows", "Rows in one transaction");
    metrics::describe_histogram!(
        "tidings_intake_batch_bytes",
        Unit::Bytes,
        "Bytes in one transaction, about"
    );
    metrics::describe_histogram!(
        "tidings_intake_batch_age_seconds",
        Unit::Seconds,
        "How long the oldest event of a batch waited for its transaction"
    );
    metrics::describe_histogram!(
        "tidings_intake_append_seconds",
        Unit::Seconds,
        "Time that the store took for one transaction"
    );
    metrics::describe_counter!(
        "tidings_intake_append_failures_total",
        "Transactions that the store did not take"
    );
    metrics::describe_counter!("tidings_intake_rows_total", "Notifications stored");
    metrics::describe_counter!(
        "tidings_intake_duplicates_total",
        "Recipients who had the notification already"
    );
    metrics::describe_histogram!(
        "tidings_intake_end_to_end_seconds",
        Unit::Seconds,
        "From an event's own time to the commit of its notifications"
    );
    metrics::describe_counter!(
        "tidings_intake_events_from_the_future_total",
        "Stored events whose time is ahead of this node's clock"
    );
}
