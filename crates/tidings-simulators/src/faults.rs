//! Faults that a test can order: of the transport here, of the service's own in [`Failures`].

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use serde::Deserialize;
use tokio::sync::watch;

use crate::SimulatorError;
use crate::transport::GoAwayCause;

/// Longer waits than this are none that a client would sit out.
const MAX_LATENCY_MICROS: f64 = 3_600e6;

/// How a connection says that it takes no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoAwayForm {
    /// Two GOAWAY frames, the first with the highest stream id; what is in flight is answered, then
    /// the connection closes (RFC 9113, section 6.8).
    Graceful,
    /// One GOAWAY frame with the last stream processed, then the connection closes at once: what
    /// was in flight up to that stream is ambiguous for the client.
    Abrupt,
    /// One GOAWAY frame that names the last stream taken. Streams in flight up to there are answered;
    /// those that the client has opened since are never processed.
    LastStream,
}

/// What becomes of a push that was accepted and stands in the ledger: its client cannot know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestFault {
    /// The connection is closed without a word.
    Kill,
    /// It is never answered; the connection lives on.
    Stall,
    /// `RST_STREAM` with `INTERNAL_ERROR` in place of an answer; on HTTP/1.1 the same as `Kill`.
    Reset,
    /// The head of the answer comes, and then `RST_STREAM`; on HTTP/1.1 the same as `Kill`.
    ResetAfterHeaders,
}

/// What a client gets that opens more streams than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExcessStreams {
    /// `RST_STREAM` with `REFUSED_STREAM` for each of them.
    Refuse,
    /// GOAWAY with `PROTOCOL_ERROR` and `exceeded_max_concurrent_streams`, as users of Google's own
    /// library for Node report it of FCM; the excess streams are not processed.
    GoAway,
}

/// Orders to connections, by counters so that none is missed when several come at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) kills: u64,
    pub(crate) go_aways: u64,
    pub(crate) go_away: (GoAwayForm, GoAwayCause),
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) kill_every: Option<Duration>,
}

/// Faults of the transport; cloning shares them. All are off at start and act at once.
#[derive(Debug, Clone)]
pub struct ConnectionFaults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    latency_micros: AtomicU64,
    /// The spread of the latency's logarithm, as the bits of an `f64`.
    latency_sigma: AtomicU64,
    go_away_after: AtomicU64,
    go_away_form: AtomicU8,
    excess_go_away: AtomicBool,
    requests: Failures<RequestFault>,
    orders: watch::Sender<Orders>,
}

impl ConnectionFaults {
    pub(crate) fn none() -> Self {
        let orders = Orders {
            kills: 0,
            go_aways: 0,
            go_away: (GoAwayForm::Graceful, GoAwayCause::Shutdown),
            idle_timeout: None,
            kill_every: None,
        };
        Self {
            shared: Arc::new(Shared {
                latency_micros: AtomicU64::new(0),
                latency_sigma: AtomicU64::new(0),
                go_away_after: AtomicU64::new(0),
                go_away_form: AtomicU8::new(GoAwayForm::Graceful as u8),
                excess_go_away: AtomicBool::new(false),
                requests: Failures::none(),
                orders: watch::Sender::new(orders),
            }),
        }
    }

    /// Holds every answer back for `latency` after the request was judged. Zero turns it off.
    pub fn set_latency(&self, latency: Duration) {
        self.set_latency_spread(latency, 0.0);
    }

    /// Holds every answer back for a time with a log-normal distribution: half of them longer than
    /// `median`, and its natural logarithm with the standard deviation `sigma`. With 0.5, one in a
    /// hundred takes 3.2 times the median.
    pub fn set_latency_spread(&self, median: Duration, sigma: f64) {
        let micros = u64::try_from(median.as_micros()).unwrap_or(u64::MAX);
        self.shared.latency_sigma.store(sigma.to_bits(), Ordering::Relaxed);
        self.shared.latency_micros.store(micros, Ordering::Relaxed);
    }

    /// Sends GOAWAY on each connection once it has taken `requests` requests. Zero turns it off.
    pub fn set_go_away_after(&self, requests: u64, form: GoAwayForm) {
        self.shared.go_away_form.store(form as u8, Ordering::Relaxed);
        self.shared.go_away_after.store(requests, Ordering::Relaxed);
    }

    /// Sends the graceful form of GOAWAY on every connection that is open now.
    pub fn go_away_now(&self) {
        self.go_away(GoAwayForm::Graceful, GoAwayCause::Shutdown);
    }

    /// Sends GOAWAY on every connection that is open now, with `reason` in its debug data as the
    /// service writes it.
    pub fn go_away_now_with(&self, form: GoAwayForm, reason: &str) {
        self.go_away(form, GoAwayCause::Named(reason.to_owned()));
    }

    /// Closes every connection that is open now, without a word.
    pub fn kill_connections(&self) {
        self.shared.orders.send_modify(|orders| orders.kills += 1);
    }

    /// Closes the oldest connection every `period`, without a word. Zero turns it off.
    pub fn set_kill_every(&self, period: Duration) {
        let period = (!period.is_zero()).then_some(period);
        self.shared.orders.send_modify(|orders| orders.kill_every = period);
    }

    /// Sends GOAWAY on a connection that had no request for `timeout`. Zero turns it off.
    pub fn set_idle_timeout(&self, timeout: Duration) {
        let timeout = (!timeout.is_zero()).then_some(timeout);
        self.shared.orders.send_modify(|orders| orders.idle_timeout = timeout);
    }

    /// Says what a client gets that opens more streams than it may.
    pub fn set_excess_streams(&self, answer: ExcessStreams) {
        self.shared.excess_go_away.store(answer == ExcessStreams::GoAway, Ordering::Relaxed);
    }

    /// Makes each of the next `pushes` accepted pushes close its connection instead of being
    /// answered: it stands in the ledger, and its client cannot know.
    pub fn kill_before_answer(&self, pushes: u64) {
        self.fault_next(pushes, RequestFault::Kill);
    }

    /// Does this to the next `pushes` accepted pushes; replaces what is left of an earlier order.
    pub fn fault_next(&self, pushes: u64, fault: RequestFault) {
        self.shared.requests.set(fault, pushes);
    }

    /// Does this to a share (0 to 1) of the accepted pushes, at random; replaces earlier shares.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::Shares`] if they are not shares of one whole.
    pub fn set_fault_shares(&self, shares: &[(f64, RequestFault)]) -> Result<(), SimulatorError> {
        self.shared.requests.set_shares(shares)
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        let median = self.shared.latency_micros.load(Ordering::Relaxed);
        if median == 0 {
            return None;
        }
        let sigma = f64::from_bits(self.shared.latency_sigma.load(Ordering::Relaxed));
        if sigma <= 0.0 {
            return Some(Duration::from_micros(median));
        }
        // Box and Muller's normal deviate. The logarithm is of (0, 1].
        let mut random = rand::rng();
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let normal = radius * (TAU * random.random::<f64>()).cos();
        let factor = (sigma * normal).exp();
        Some(Duration::from_micros(median).mul_f64(factor.min(MAX_LATENCY_MICROS / median as f64)))
    }

    /// The GOAWAY that is due on a connection after its `requests`-th request.
    pub(crate) fn go_away_due(&self, requests: u64) -> Option<GoAwayForm> {
        let after = self.shared.go_away_after.load(Ordering::Relaxed);
        (after > 0 && requests >= after).then(|| {
            let form = self.shared.go_away_form.load(Ordering::Relaxed);
            [GoAwayForm::Abrupt, GoAwayForm::LastStream]
                .into_iter()
                .find(|it| *it as u8 == form)
                .unwrap_or(GoAwayForm::Graceful)
        })
    }

    pub(crate) fn excess_streams(&self) -> ExcessStreams {
        if self.shared.excess_go_away.load(Ordering::Relaxed) {
            ExcessStreams::GoAway
        } else {
            ExcessStreams::Refuse
        }
    }

    pub(crate) fn take_fault(&self) -> Option<RequestFault> {
        self.shared.requests.take()
    }

    pub(crate) fn orders(&self) -> watch::Receiver<Orders> {
        self.shared.orders.subscribe()
    }

    fn go_away(&self, form: GoAwayForm, cause: GoAwayCause) {
        self.shared.orders.send_modify(|orders| {
            orders.go_aways += 1;
            orders.go_away = (form, cause);
        });
    }
}

/// Failures for the next so many requests, and for a share of all.
#[derive(Debug)]
pub(crate) struct Failures<F> {
    ordered: Mutex<Ordered<F>>,
}

#[derive(Debug)]
struct Ordered<F> {
    next: Option<(F, u64)>,
    shares: Vec<(f64, F)>,
}

impl<F: Copy> Failures<F> {
    pub(crate) fn none() -> Self {
        Self { ordered: Mutex::new(Ordered { next: None, shares: Vec::new() }) }
    }

    /// Replaces what is left of an earlier order.
    pub(crate) fn set(&self, failure: F, requests: u64) {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner).next =
            (requests > 0).then_some((failure, requests));
    }

    /// Replaces the shares.
    pub(crate) fn set_shares(&self, shares: &[(f64, F)]) -> Result<(), SimulatorError> {
        let all = shares.iter().map(|(share, _)| *share);
        if all.clone().any(|share| !(0.0..=1.0).contains(&share)) || all.sum::<f64>() > 1.0 {
            return Err(SimulatorError::Shares);
        }
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        shares.clone_into(&mut ordered.shares);
        Ok(())
    }

    /// The failure that this request meets: an ordered one first.
    pub(crate) fn take(&self) -> Option<F> {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((failure, requests)) = ordered.next {
            ordered.next = (requests > 1).then_some((failure, requests - 1));
            return Some(failure);
        }
        if ordered.shares.is_empty() {
            return None;
        }
        let mut drawn: f64 = rand::rng().random();
        for (share, failure) in &ordered.shares {
            if drawn < *share {
                return Some(*failure);
            }
            drawn -= share;
        }
        None
    }
}
