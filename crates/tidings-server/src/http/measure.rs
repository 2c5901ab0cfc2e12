//! What the API tells of itself, with handles that are looked up once.

use metrics::Counter;

/// Events by what became of them.
pub struct EventCounts {
    pub(super) stored: Counter,
    pub(super) duplicate: Counter,
    pub(super) rejected: Counter,
    pub(super) failed: Counter,
}

impl EventCounts {
    /// The counters of the recorder that is installed now.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it looks up what is installed at the moment")]
    pub fn new() -> Self {
        metrics::describe_counter!("tidings_events_total", "Events by what became of them");
        let outcome =
            |name: &'static str| metrics::counter!("tidings_events_total", "outcome" => name);
        Self {
            stored: outcome("stored"),
            duplicate: outcome("duplicate"),
            rejected: outcome("rejected"),
            failed: outcome("failed"),
        }
    }
}
