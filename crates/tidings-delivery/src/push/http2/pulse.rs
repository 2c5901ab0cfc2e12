//! Tells a silent connection from a dead one.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::ConnectionConfig;

/// Requests on a new connection until it has answered. A connection that ends before it has answered
/// anything then leaves few requests of which nobody knows, and others get on: with all of them on
/// it at once, a server that ends each connection early would never answer any.
const FIRST_REQUESTS: usize = 64;

/// Answers after which a connection's limit is believed to be what it is: APNs raises it with the
/// first one or soon after.
const PROVING_ANSWERS: usize = 4;

/// What the requests on a connection, and the task that moves its bytes, know of it together.
#[derive(Debug)]
pub(super) struct Vitals {
    opened: Instant,
    /// When the last answer came, in milliseconds since `opened`.
    heard_ms: AtomicU64,
    /// Requests that the connection is trusted with at a time: one more with each answer.
    trusted: AtomicUsize,
    /// Answers that have come.
    answers: AtomicUsize,
    /// When the last of them came, in milliseconds since `opened`.
    answered_ms: AtomicU64,
    /// Requests that have a place. Changed by the pool only, under its lock.
    pub(super) under_way: AtomicUsize,
    /// Requests that the server takes at a time. Changed by the pool only, under its lock.
    pub(super) limit: AtomicUsize,
    /// Set once the connection takes no more requests.
    pub(super) is_retired: AtomicBool,
}

impl Vitals {
    /// Of a new connection, which takes one request until the server says more, as APNs has it.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            heard_ms: AtomicU64::new(0),
            trusted: AtomicUsize::new(FIRST_REQUESTS),
            answers: AtomicUsize::new(0),
            answered_ms: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            limit: AtomicUsize::new(1),
            is_retired: AtomicBool::new(false),
        }
    }

    /// An answer has come.
    pub(super) fn hear_answer(&self) {
        self.hear();
        self.answered_ms.store(self.heard_ms.load(Ordering::Relaxed), Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
        if self.trusted.load(Ordering::Relaxed) < self.limit.load(Ordering::Relaxed) {
            self.trusted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A sign of life has come.
    pub(super) fn hear(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(elapsed, Ordering::Relaxed);
    }

    /// Whether the connection is known to take no more than it does.
    pub(super) fn is_proven(&self) -> bool {
        let is_trusted = self.trusted.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed);
        is_trusted && self.answers.load(Ordering::Relaxed) >= PROVING_ANSWERS
    }

    /// Whether any answer has come.
    pub(super) fn has_answered(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// When the last answer came.
    pub(super) fn answered_at(&self) -> Option<Instant> {
        let at = Duration::from_millis(self.answered_ms.load(Ordering::Relaxed));
        self.has_answered().then(|| self.opened + at)
    }

    /// When the last sign of life came.
    pub(super) fn heard_at(&self) -> Instant {
        self.opened + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Whether nothing at all has come for `span`: then it is not one slow answer.
    pub(super) fn is_silent_for(&self, span: Duration) -> bool {
        self.heard_at().elapsed() >= span
    }

    pub(super) fn free_places(&self) -> usize {
        let trusted = self.trusted.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed).min(trusted);
        limit.saturating_sub(self.under_way.load(Ordering::Relaxed))
    }
}

/// What a look at a connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    /// Nothing is to be done.
    Fine,
    /// It has been silent: ask with a PING.
    Ask,
    /// It has not answered a PING: nothing that is under way will be answered.
    Dead,
}

/// When silence is suspicious, and when it is death.
#[derive(Debug, Clone, Copy)]
pub(super) struct PulseLimits {
    /// Silence with requests under way.
    busy: Duration,
    /// Silence without any.
    idle: Duration,
    /// Silence after a PING.
    answer: Duration,
}

impl PulseLimits {
    pub(super) fn of(config: &ConnectionConfig) -> Self {
        Self {
            busy: Duration::from_millis(config.ping_busy_ms),
            idle: Duration::from_millis(config.ping_idle_ms),
            answer: Duration::from_millis(config.ping_timeout_ms),
        }
    }

    /// How often to look.
    pub(super) fn period(&self) -> Duration {
        let shortest = self.busy.min(self.answer).min(self.idle);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// Judges a connection whose last sign of life came at `heard`, and that was asked at `asked`
    /// without an answer so far.
    pub(super) fn judge(
        &self,
        now: Instant,
        heard: Instant,
        asked: Option<Instant>,
        is_busy: bool,
    ) -> Pulse {
        let silence = now.saturating_duration_since(heard);
        match asked {
            // An answer that came after the PING is as good as its own.
            Some(asked) if now.saturating_duration_since(asked.max(heard)) >= self.answer => {
                Pulse::Dead
            }
            Some(_) => Pulse::Fine,
            // The first request after a long silence is no reason to wait: the silence counts.
            None if is_busy && silence >= self.busy => Pulse::Ask,
            None if silence >= self.idle => Pulse::Ask,
            None => Pulse::Fine,
        }
    }

    /// Whether a connection that takes no more requests and has none is to be cut.
    pub(super) fn is_over(&self, retired_for: Option<Duration>) -> bool {
        retired_for.is_some_and(|span| span >= self.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_trusted_with_more_by_each_answer_up_to_the_servers_limit() {
        let vitals = Vitals::new();
        assert_eq!(vitals.free_places(), 1, "until the server's settings arrive");
        vitals.limit.store(66, Ordering::Relaxed);
        assert_eq!(vitals.free_places(), FIRST_REQUESTS);
        assert!(!vitals.is_proven());
        for _ in 0..5 {
            vitals.hear_answer();
        }
        assert_eq!(vitals.free_places(), 66);
        assert!(vitals.is_proven());
        vitals.limit.store(1, Ordering::Relaxed);
        assert_eq!(vitals.free_places(), 1);
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> PulseLimits {
        PulseLimits { busy: 5 * SECOND, idle: 3_600 * SECOND, answer: 3 * SECOND }
    }

    #[test]
    fn silence_is_asked_about_when_an_answer_is_owed_and_after_an_hour_without_one() {
        let heard = Instant::now();
        let pulse = |secs: u32, busy| limits().judge(heard + secs * SECOND, heard, None, busy);
        assert_eq!(pulse(4, true), Pulse::Fine);
        assert_eq!(pulse(5, true), Pulse::Ask);
        assert_eq!(pulse(3_599, false), Pulse::Fine);
        assert_eq!(pulse(3_600, false), Pulse::Ask);
    }

    #[test]
    fn who_is_silent_after_being_asked_is_dead_unless_an_answer_came_since() {
        let heard = Instant::now();
        let asked = Some(heard + 5 * SECOND);
        let pulse = |secs: u32, heard| limits().judge(heard + secs * SECOND, heard, asked, true);
        assert_eq!(pulse(7, heard), Pulse::Fine);
        assert_eq!(pulse(8, heard), Pulse::Dead);
        let later = heard + 6 * SECOND;
        assert_eq!(limits().judge(heard + 8 * SECOND, later, asked, true), Pulse::Fine);
        assert_eq!(limits().judge(heard + 9 * SECOND, later, asked, true), Pulse::Dead);
    }
}
