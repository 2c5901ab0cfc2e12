//! What recommendations tell of themselves, with handles that are looked up once.

use metrics::{Counter, Histogram};

/// Requests by what became of them.
pub(super) struct Measures {
    pub(super) computed: Counter,
    pub(super) cached: Counter,
    pub(super) refused: Counter,
    pub(super) failed: Counter,
    pub(super) duration: Histogram,
}

impl Measures {
    pub(super) fn new() -> Self {
        metrics::describe_counter!(
            "tidings_recommendation_requests_total",
            "Requests for recommendations by what became of them"
        );
        metrics::describe_histogram!(
            "tidings_recommendation_duration_seconds",
            metrics::Unit::Seconds,
            "Time to make a list of recommendations, with the wait for a place"
        );
        let outcome = |name: &'static str| metrics::counter!("tidings_recommendation_requests_total", "outcome" => name);
        Self {
            computed: outcome("computed"),
            cached: outcome("cached"),
            refused: outcome("refused"),
            failed: outcome("failed"),
            duration: metrics::histogram!("tidings_recommendation_duration_seconds"),
        }
    }
}
