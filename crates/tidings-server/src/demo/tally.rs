//! What reached a screen, counted by the screens themselves.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart: ten minutes, in microseconds.
const MAX_LATENCY_US: u64 = 600_000_000;

/// How a notification reached a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    WebSocket,
    Apns,
    Fcm,
    WebPush,
}

/// Counts by channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Read by live sessions.
    pub websocket: u64,
    /// Accepted by the APNs simulator.
    pub apns: u64,
    /// Accepted by the FCM simulator.
    pub fcm: u64,
    /// Decrypted by the browsers of the Web Push simulator.
    pub webpush: u64,
}

impl Delivered {
    /// All channels together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.websocket + self.apns + self.fcm + self.webpush
    }
}

/// From the app's backend sending an event to a screen having it, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LatencyMs {
    /// Half were faster.
    pub p50: f64,
    /// 95 of 100 were faster.
    pub p95: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
}

/// What the demo saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Events that were answered with 2xx.
    pub events: u64,
    /// Notifications that the inboxes of the users who were told hold.
    pub stored: u64,
    /// Arrivals on screens.
    pub delivered: Delivered,
    /// Notifications that should have arrived and did not.
    pub holes: u64,
    /// Arrivals of something that had arrived before.
    pub duplicates: u64,
    /// From event to screen.
    pub latency_ms: LatencyMs,
    /// Resident memory of the node.
    pub rss_bytes: u64,
}

/// Whom an event should reach, and what has.
struct Expectation {
    sent: Instant,
    /// Answered with 2xx.
    acknowledged: bool,
    /// Recipients with a live session, or that are pushed to, who have not got it yet.
    missing: Vec<u32>,
    /// Recipients who have got it.
    arrived: Vec<u32>,
}

#[derive(Default)]
struct State {
    /// Events that are not everywhere yet, by their number in the story.
    open: HashMap<u64, Expectation>,
    delivered: Delivered,
    events: u64,
    notifications: u64,
    failed_requests: u64,
    duplicates: u64,
    gaps: u64,
    unexpected: u64,
    unreadable: u64,
}

/// Takes notes of every event sent and every arrival on a screen, and compares them.
pub(super) struct Tally {
    state: Mutex<State>,
    latency_us: Mutex<Histogram<u64>>,
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?;
        Ok(Self { state: Mutex::default(), latency_us: Mutex::new(histogram) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event is about to be sent that should reach the screens of `reachable`.
    pub(super) fn sending(&self, event: u64, reachable: Vec<u32>) {
        let expectation = Expectation {
            sent: Instant::now(),
            acknowledged: false,
            missing: reachable,
            arrived: Vec::new(),
        };
        self.state().open.insert(event, expectation);
    }

    /// An event was answered with 2xx, and `notifications` are stored for it.
    pub(super) fn acknowledged(&self, event: u64, notifications: u64) {
        let mut state = self.state();
        state.events += 1;
        state.notifications += notifications;
        if let Some(expectation) = state.open.get_mut(&event) {
            expectation.acknowledged = true;
        }
    }

    /// An event was refused, or nobody knows: nothing is promised for it.
    pub(super) fn refused(&self, event: u64) {
        let mut state = self.state();
        state.failed_requests += 1;
        state.open.remove(&event);
    }

    /// A screen of `user` has the notification of an event.
    pub(super) fn arrived(&self, screen: Screen, event: u64, user: u32, at: Instant) {
        let mut state = self.state();
        match screen {
            Screen::WebSocket => state.delivered.websocket += 1,
            Screen::Apns => state.delivered.apns += 1,
            Screen::Fcm => state.delivered.fcm += 1,
            Screen::WebPush => state.delivered.webpush += 1,
        }
        let Some(expectation) = state.open.get_mut(&event) else {
            state.unexpected += 1;
            return;
        };
        let sent = expectation.sent;
        match expectation.missing.iter().position(|missing| *missing == user) {
            Some(index) => {
                expectation.missing.swap_remove(index);
                expectation.arrived.push(user);
            }
            None if expectation.arrived.contains(&user) => state.duplicates += 1,
            None => state.unexpected += 1,
        }
        drop(state);
        let micros = u64::try_from(at.saturating_duration_since(sent).as_micros());
        let mut histogram = self.latency_us.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(micros.unwrap_or(MAX_LATENCY_US).max(1));
    }

    /// A session was sent something again.
    pub(super) fn repeated(&self) {
        self.state().duplicates += 1;
    }

    /// A session was not sent `count` notifications in their turn.
    pub(super) fn gap(&self, count: u64) {
        self.state().gaps += count;
    }

    /// Something arrived that is not a notification of anyone.
    pub(super) fn unreadable(&self) {
        self.state().unreadable += 1;
    }

    /// Arrivals that could not be read.
    pub(super) fn unreadable_arrivals(&self) -> u64 {
        self.state().unreadable
    }

    /// Drops the notes on events that have been everywhere for a while: repeats come soon or never.
    pub(super) fn forget_complete(&self, older_than: Duration) {
        let old = |it: &Expectation| it.sent.elapsed() > older_than;
        self.state().open.retain(|_, it| !(it.acknowledged && it.missing.is_empty() && old(it)));
    }

    /// Notifications of acknowledged events that are still on their way.
    pub(super) fn missing(&self) -> u64 {
        let state = self.state();
        let open = state.open.values().filter(|it| it.acknowledged);
        open.map(|it| it.missing.len() as u64).sum()
    }

    /// Requests that were not answered with 2xx.
    pub(super) fn failed_requests(&self) -> u64 {
        self.state().failed_requests
    }

    /// Arrivals at someone who was not among the recipients.
    pub(super) fn unexpected(&self) -> u64 {
        self.state().unexpected
    }

    /// What was seen so far. `holes` is what is missing now.
    pub(super) fn summary(&self, rss_bytes: u64) -> Summary {
        let holes = self.missing();
        let latency_ms = {
            let histogram = self.latency_us.lock().unwrap_or_else(PoisonError::into_inner);
            let at = |quantile| micros_to_millis(histogram.value_at_quantile(quantile));
            LatencyMs { p50: at(0.50), p95: at(0.95), p99: at(0.99) }
        };
        let state = self.state();
        Summary {
            events: state.events,
            stored: state.notifications,
            delivered: state.delivered,
            holes: holes + state.gaps,
            duplicates: state.duplicates,
            latency_ms,
            rss_bytes,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most ten minutes of microseconds")]
fn micros_to_millis(micros: u64) -> f64 {
    (micros as f64 / 10.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_hole_and_what_comes_twice_is_a_duplicate() {
        let tally = Tally::new().unwrap();
        tally.sending(1, vec![10, 11]);
        tally.sending(2, vec![10]);
        tally.acknowledged(1, 2);
        tally.refused(2);
        let now = Instant::now();
        tally.arrived(Screen::WebSocket, 1, 10, now);
        tally.arrived(Screen::Apns, 1, 10, now);
        tally.arrived(Screen::Fcm, 1, 12, now);
        let summary = tally.summary(7);
        assert_eq!((summary.events, summary.stored, summary.rss_bytes), (1, 2, 7));
        assert_eq!((summary.holes, summary.duplicates), (1, 1));
        assert_eq!(summary.delivered, Delivered { websocket: 1, apns: 1, fcm: 1, webpush: 0 });
        assert_eq!((tally.unexpected(), tally.failed_requests()), (1, 1));
        tally.arrived(Screen::WebSocket, 1, 11, now);
        assert_eq!(tally.missing(), 0);
    }
}
