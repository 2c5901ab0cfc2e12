//! Waiting for a state.

use tokio::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `is_so`, looking again and again, or fails with `what`.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    until_some(what, async || is_so().await.then_some(())).await;
}

/// Waits until `look` finds something, looking again and again, or fails with `what`.
pub(crate) async fn until_some<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
