//! Faults that a test can order: per connection here, per request in [`NextFailures`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How a connection says that it takes no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoAwayForm {
    /// Two GOAWAY frames, the first with the highest stream id; what is in flight is answered, then
    /// the connection closes (RFC 9113, section 6.8).
    Graceful,
    /// One GOAWAY frame with the last stream processed, then the connection closes at once: what
    /// was in flight up to that stream is ambiguous for the client.
    Abrupt,
}

/// Orders to close connections, by counters so that none is missed when several come at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) kills: u64,
    pub(crate) go_aways: u64,
}

/// Faults of the transport; cloning shares them. All are off at start and act at once.
#[derive(Debug, Clone)]
pub struct ConnectionFaults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    latency_micros: AtomicU64,
    go_away_after: AtomicU64,
    go_away_abruptly: AtomicBool,
    kills_before_answer: AtomicU64,
    orders: watch::Sender<Orders>,
}

impl ConnectionFaults {
    pub(crate) fn none() -> Self {
        Self {
            shared: Arc::new(Shared {
                latency_micros: AtomicU64::new(0),
                go_away_after: AtomicU64::new(0),
                go_away_abruptly: AtomicBool::new(false),
                kills_before_answer: AtomicU64::new(0),
                orders: watch::Sender::new(Orders::default()),
            }),
        }
    }

    /// Holds every answer back for `latency` after the request was judged. Zero turns it off.
    pub fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.shared.latency_micros.store(micros, Ordering::Relaxed);
    }

    /// Sends GOAWAY on each connection once it has taken `requests` requests. Zero turns it off.
    pub fn set_go_away_after(&self, requests: u64, form: GoAwayForm) {
        self.shared.go_away_abruptly.store(form == GoAwayForm::Abrupt, Ordering::Relaxed);
        self.shared.go_away_after.store(requests, Ordering::Relaxed);
    }

    /// Sends the graceful form of GOAWAY on every connection that is open now.
    pub fn go_away_now(&self) {
        self.shared.orders.send_modify(|orders| orders.go_aways += 1);
    }

    /// Closes every connection that is open now, without a word.
    pub fn kill_connections(&self) {
        self.shared.orders.send_modify(|orders| orders.kills += 1);
    }

    /// Makes each of the next `pushes` accepted pushes close its connection instead of being
    /// answered: it stands in the ledger, and its client cannot know.
    pub fn kill_before_answer(&self, pushes: u64) {
        self.shared.kills_before_answer.store(pushes, Ordering::Relaxed);
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        let micros = self.shared.latency_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// The GOAWAY that is due on a connection after its `requests`-th request.
    pub(crate) fn go_away_due(&self, requests: u64) -> Option<GoAwayForm> {
        let after = self.shared.go_away_after.load(Ordering::Relaxed);
        (after > 0 && requests >= after).then(|| {
            if self.shared.go_away_abruptly.load(Ordering::Relaxed) {
                GoAwayForm::Abrupt
            } else {
                GoAwayForm::Graceful
            }
        })
    }

    pub(crate) fn take_kill_before_answer(&self) -> bool {
        let left = &self.shared.kills_before_answer;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    pub(crate) fn orders(&self) -> watch::Receiver<Orders> {
        self.shared.orders.subscribe()
    }
}

/// A failure for the next so many requests.
#[derive(Debug)]
pub(crate) struct NextFailures<F> {
    left: Mutex<Option<(F, u64)>>,
}

impl<F: Copy> NextFailures<F> {
    pub(crate) fn none() -> Self {
        Self { left: Mutex::new(None) }
    }

    /// Replaces what is left of an earlier order.
    pub(crate) fn set(&self, failure: F, requests: u64) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) =
            (requests > 0).then_some((failure, requests));
    }

    pub(crate) fn take(&self) -> Option<F> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (failure, requests) = (*left)?;
        *left = (requests > 1).then_some((failure, requests - 1));
        Some(failure)
    }
}
