//! Limits of the dispatcher.

use std::time::Duration;

use tidings_core::retry::RetryPolicy;

use super::lanes::LONGEST_ADMISSION;

/// What has not been sent after this part of its lease is not sent any more: the rest is for settling.
pub(super) const SENDING_SHARE: f64 = 0.8;

/// Limits of a [`PushDispatcher`](super::PushDispatcher).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatcherConfig {
    /// How long a claimed push is this node's before another may take it. At least
    /// [`least_lease`](Self::least_lease), or pushes that have to wait for their turn are put back for
    /// want of time.
    pub lease: Duration,
    /// How long a provider takes for a send at most. What has less time left is not begun.
    pub send_timeout: Duration,
    /// The most pushes that are claimed, and settled, in one transaction. At least 1.
    pub batch_rows: usize,
    /// How long the store is left alone when nothing is known to fall due.
    pub idle_poll: Duration,
    /// When a failed push is tried again. Its cap is also how often a push is tried that waits for a
    /// person.
    pub retry: RetryPolicy,
    /// How long a push waits for a person, or for its turn at a service that is asked too much, from
    /// when the notification was stored.
    pub longest_wait: Duration,
    /// How long the waits are while the store is out of reach; it is tried for ever.
    pub store_retry: RetryPolicy,
}

impl DispatcherConfig {
    /// The shortest lease in which a push can wait for its turn, be sent within `send_timeout`, and be
    /// settled.
    #[must_use]
    pub fn least_lease(send_timeout: Duration) -> Duration {
        (LONGEST_ADMISSION + send_timeout).div_f64(SENDING_SHARE)
    }
}

impl Default for DispatcherConfig {
    /// Leases of 60 s, sends of 15 s, batches of 1,024 (a commit of any size costs about as long as the disk takes to
    /// sync), a poll each second, a day for a person.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            send_timeout: Duration::from_secs(15),
            batch_rows: 1_024,
            idle_poll: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            longest_wait: Duration::from_secs(24 * 60 * 60),
            store_retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 100, cap_ms: 5_000 },
        }
    }
}
