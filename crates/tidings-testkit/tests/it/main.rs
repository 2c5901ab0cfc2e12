//! Smoke tests: each real server does what Tidings will ask of it, through the client that it will use.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "these are tests; clippy sees that of test functions only, not of what they call"
)]

mod kafka;
mod neo4j;
mod postgres;
mod redis;

use std::time::Duration;

/// The bound on every wait here: far longer than a healthy server takes, on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for `what`.
async fn within<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(DEADLINE, what).await.expect("the server did not answer in time")
}
