//! The wall clock of a simulator, which tests may set.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z, as the simulator sees them.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Returns the machine's own wall clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where a simulator reads the wall clock; tests pass their own"
        )]
        let now = SystemTime::now();
        // A machine set before 1970 or past the year 292,000,000 gets the nearest end.
        now.duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
