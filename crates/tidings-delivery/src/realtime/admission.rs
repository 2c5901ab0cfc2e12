//! How fast new sessions are let in.
//!
//! A herd costs a node more for each client that it turns away late than for one that it turns away
//! early, so the answer is given before the WebSocket is made: come in, or come back at a time that
//! spreads the herd over as long as it takes to serve it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What a client is asked to wait at least: `Retry-After` counts in seconds.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// What a client is asked to wait at most: later, nobody knows what the herd looks like.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Bounds of what comes in.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionConfig {
    /// Sessions that are let in per second. As many may come at once after a quiet second.
    pub accepts_per_s: u32,
    /// Clients that may be on their way at once, from the request to the welcome.
    pub hellos_max: usize,
}

/// The node lets nobody in right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node lets in no more sessions right now")]
pub struct NotAdmitted {
    /// When the client should come back. Spread over as long as those who wait need, at random.
    pub retry_after: Duration,
}

/// Lets new sessions in at a rate that the node can serve.
pub struct Admission {
    config: AdmissionConfig,
    state: Mutex<State>,
}

impl Admission {
    /// An admission that begins with a quiet second behind it.
    #[must_use]
    pub fn new(config: AdmissionConfig) -> Self {
        let state = State {
            allowed: f64::from(config.accepts_per_s),
            at: Instant::now(),
            hellos: 0,
            waiting: 0.0,
        };
        Self { config, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one in, who keeps a place among the hellos until the answer is dropped.
    ///
    /// # Errors
    ///
    /// [`NotAdmitted`] says when to come back.
    pub fn try_admit(self: &Arc<Self>) -> Result<Admitted, NotAdmitted> {
        let random = rand::random::<f64>();
        let decided = self.state().decide(&self.config, Instant::now(), random);
        match decided {
            Ok(()) => {
                metrics::counter!("tidings_realtime_admissions_total").increment(1);
                Ok(Admitted { admission: Arc::clone(self) })
            }
            Err((reason, retry_after)) => {
                let reason = reason.as_str();
                metrics::counter!("tidings_realtime_refusals_total", "reason" => reason)
                    .increment(1);
                Err(NotAdmitted { retry_after })
            }
        }
    }
}

/// A place among those on their way in: from the request to the welcome.
pub struct Admitted {
    admission: Arc<Admission>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.state().hellos -= 1;
    }
}

/// Why somebody was not let in, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Rate,
    Hellos,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Hellos => "hellos",
        }
    }
}

struct State {
    /// How many may come in now: a token bucket that holds a second's worth.
    allowed: f64,
    /// When `allowed` and `waiting` were as they are.
    at: Instant,
    hellos: usize,
    /// Clients that were told to come back, and have not had their turn yet.
    waiting: f64,
}

impl State {
    fn decide(
        &mut self,
        config: &AdmissionConfig,
        now: Instant,
        random: f64,
    ) -> Result<(), (Reason, Duration)> {
        let rate = f64::from(config.accepts_per_s);
        let turns = now.duration_since(self.at).as_secs_f64() * rate;
        self.at = now;
        self.allowed = (self.allowed + turns).min(rate);
        self.waiting = (self.waiting - turns).max(0.0);
        let reason = if self.hellos >= config.hellos_max {
            Reason::Hellos
        } else if self.allowed < 1.0 {
            Reason::Rate
        } else {
            self.allowed -= 1.0;
            self.hellos += 1;
            return Ok(());
        };
        // Whoever waits is served one after the other at the rate, so the turn of the last one is as
        // far away as there are others before it. A quarter of that either way, so that those who were
        // refused together do not come together.
        self.waiting += 1.0;
        let longest = LONGEST_WAIT.as_secs_f64();
        let turn = (self.waiting / rate * (0.75 + random / 2.0)).min(longest);
        Err((reason, Duration::from_secs_f64(turn).max(LEAST_WAIT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: AdmissionConfig = AdmissionConfig { accepts_per_s: 10, hellos_max: 8 };

    #[tokio::test(start_paused = true)]
    async fn hellos_in_progress_are_limited_and_make_room_when_they_end() {
        let admission = Arc::new(Admission::new(CONFIG));
        let mut on_their_way: Vec<_> = (0..8).map(|_| admission.try_admit().unwrap()).collect();
        assert!(admission.try_admit().is_err());
        on_their_way.pop();
        assert!(admission.try_admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_come_in_at_the_rate() {
        let admission = Arc::new(Admission::new(CONFIG));
        let let_in = || (0..100).filter(|_| admission.try_admit().is_ok()).count();
        assert_eq!(let_in(), 10);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(let_in(), 5);
        // However long it was quiet, a second's worth comes at once.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(let_in(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_spread_over_as_long_as_serving_them_takes() {
        let admission = Arc::new(Admission::new(CONFIG));
        let waits: Vec<_> = (0..210).filter_map(|_| admission.try_admit().err()).collect();
        assert_eq!(waits.len(), 200);
        // 200 at 10 per second: the last turn is 20 s away, and a quarter more at most.
        let secs: Vec<_> = waits.iter().map(|it| it.retry_after.as_secs_f64()).collect();
        assert!(secs.iter().all(|it| (1.0..=25.0).contains(it)), "{secs:?}");
        for second in [2.0, 6.0, 10.0, 14.0] {
            let due = secs.iter().filter(|it| (second..second + 4.0).contains(*it)).count();
            assert!((20..=60).contains(&due), "{due} of 200 from {second} s on: {secs:?}");
        }
        // When their turns are over, nobody waits.
        tokio::time::advance(Duration::from_secs(20)).await;
        while admission.try_admit().is_ok() {}
        let refused = admission.try_admit().err().unwrap();
        assert_eq!(refused.retry_after, LEAST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_herd_that_comes_back_when_it_was_told_is_all_let_in_at_the_rate() {
        let admission = Arc::new(Admission::new(CONFIG));
        let start = Instant::now();
        // When each client comes next.
        let mut due = vec![start; 300];
        let mut tries = 0;
        while !due.is_empty() {
            due.sort_unstable();
            let at = due.remove(0);
            tokio::time::advance(at.saturating_duration_since(Instant::now())).await;
            tries += 1;
            if let Err(refused) = admission.try_admit() {
                due.push(at + refused.retry_after);
            }
        }
        let took = start.elapsed().as_secs();
        assert!((29..=45).contains(&took), "{took} s for 300 at 10 per second");
        assert!(tries <= 3 * 300, "{tries} tries for 300 clients");
    }
}
