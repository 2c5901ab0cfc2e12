//! What is counted.

use std::time::Duration;

use metrics::{Counter, Gauge};
use tidings_core::{clock::Timestamp, fan_out::FanOutsLeft};

/// What is left to do for the followers of one graph, or of several.
pub(super) struct Left {
    unfinished: Gauge,
    oldest_age: Gauge,
}

impl Left {
    pub(super) fn of(graph: &'static str) -> Self {
        Self {
            unfinished: metrics::gauge!("tidings_fan_out_unfinished", "graph" => graph),
            oldest_age: metrics::gauge!("tidings_fan_out_oldest_age_seconds", "graph" => graph),
        }
    }

    pub(super) fn set(&self, left: FanOutsLeft, now: Timestamp) {
        self.unfinished.set(as_f64(left.unfinished));
        let age = left.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        self.oldest_age.set(age.as_secs_f64());
    }
}

pub(super) struct Measure {
    pub(super) here: Left,
    /// Of graphs that this node does not ask: other nodes tell them, if they run.
    pub(super) elsewhere: Left,
    pub(super) pages: Counter,
    pub(super) rows: Counter,
    pub(super) failures: Counter,
}

impl Measure {
    pub(super) fn new() -> Self {
        metrics::describe_gauge!("tidings_fan_out_unfinished", "Fan-outs that have not ended");
        metrics::describe_gauge!(
            "tidings_fan_out_oldest_age_seconds",
            metrics::Unit::Seconds,
            "How long ago the oldest fan-out began that has not ended"
        );
        metrics::describe_counter!("tidings_fan_out_pages_total", "Pages of followers told");
        metrics::describe_counter!(
            "tidings_fan_out_passed_over_total",
            "Followers whom the store refuses, with the dead letter"
        );
        metrics::describe_counter!("tidings_fan_out_rows_total", "Followers told by fan-outs");
        metrics::describe_counter!("tidings_fan_out_failures_total", "Pages to be told again");
        Self {
            here: Left::of("here"),
            elsewhere: Left::of("elsewhere"),
            pages: metrics::counter!("tidings_fan_out_pages_total"),
            rows: metrics::counter!("tidings_fan_out_rows_total"),
            failures: metrics::counter!("tidings_fan_out_failures_total"),
        }
    }
}

fn as_f64(count: u64) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}
