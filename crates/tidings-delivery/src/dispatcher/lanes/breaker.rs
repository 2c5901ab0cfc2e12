//! Stops asking a service that does not answer.

use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// It opens when so many of the last [`window`](Self::window) answers were failures. At least 1.
    pub failures: u32,
    /// How many answers are looked back on. From `failures` to 64.
    pub window: u32,
    /// How long it stays open the first time. Doubles each time that a probe fails.
    pub open_base: Duration,
    /// How long it stays open at most.
    pub open_cap: Duration,
    /// Sends that are let through at a time to find out whether the service is back; it closes when so
    /// many in a row have gone well. At least 1.
    pub probes: u32,
}

impl Default for BreakerConfig {
    /// 10 failures of 20; 5 s, up to a minute; 3 probes.
    fn default() -> Self {
        Self {
            failures: 10,
            window: 20,
            open_base: Duration::from_secs(5),
            open_cap: Duration::from_secs(60),
            probes: 3,
        }
    }
}

/// How a service fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// It works: everything is sent.
    Closed,
    /// It does not: nothing is sent.
    Open,
    /// It is being tried.
    HalfOpen,
}

impl BreakerState {
    /// The name in metrics and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Leave to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// The service works, as far as is known.
    Normal,
    /// To find out.
    Probe,
}

/// What an answer says of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// It answered.
    Well,
    /// It failed, or did not answer; it may have said when to come back.
    Failed(Option<Duration>),
    /// It answered, and takes nothing under this credential.
    Refused,
}

/// A circuit breaker: closed, open, half-open (Nygard, "Release It!").
///
/// Plain state; time and chance are given. What comes back from before it opened is not counted again.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed {
        /// The last answers, the newest in the lowest bit; a failure is a one.
        failed: u64,
    },
    Open {
        until: Instant,
        /// How often in a row it has opened.
        times: u32,
    },
    HalfOpen {
        times: u32,
        under_way: u32,
        went_well: u32,
    },
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed { failed: 0 } }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Leave to send now, or how long nothing is sent for the time being.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Permit, Duration> {
        if let State::Open { until, times } = self.state {
            if now < until {
                return Err(until - now);
            }
            self.state = State::HalfOpen { times, under_way: 0, went_well: 0 };
        }
        match &mut self.state {
            State::Closed { .. } => Ok(Permit::Normal),
            State::HalfOpen { under_way, .. } if *under_way < self.config.probes.max(1) => {
                *under_way += 1;
                Ok(Permit::Probe)
            }
            // Soon it is known more.
            State::Open { .. } | State::HalfOpen { .. } => Err(Duration::from_secs(1)),
        }
    }

    /// Notes what came of a send. `random` is uniform in `0.0..1.0`. Says whether it opened or closed.
    pub(super) fn record(
        &mut self,
        permit: Permit,
        report: Report,
        now: Instant,
        random: f64,
    ) -> Option<BreakerState> {
        match (&mut self.state, report) {
            (State::Closed { failed }, Report::Well) => {
                *failed <<= 1;
                None
            }
            (State::Closed { failed }, Report::Failed(after)) => {
                *failed = (*failed << 1) | 1;
                let window = u64::MAX >> (64 - self.config.window.clamp(1, 64));
                let failures = (*failed & window).count_ones();
                (failures >= self.config.failures.max(1)).then(|| self.open(1, after, now, random))
            }
            (State::Closed { .. }, Report::Refused) => Some(self.open(1, None, now, random)),
            (State::HalfOpen { under_way, went_well, .. }, Report::Well)
                if permit == Permit::Probe =>
            {
                *under_way = under_way.saturating_sub(1);
                *went_well += 1;
                if *went_well < self.config.probes {
                    return None;
                }
                self.state = State::Closed { failed: 0 };
                Some(BreakerState::Closed)
            }
            (State::HalfOpen { times, .. }, _) if permit == Permit::Probe => {
                let times = times.saturating_add(1);
                let after = if let Report::Failed(after) = report { after } else { None };
                Some(self.open(times, after, now, random))
            }
            (State::Open { .. } | State::HalfOpen { .. }, _) => None,
        }
    }

    /// A send that had leave says nothing of the service: it was not made, or cut off.
    pub(super) fn abandon(&mut self, permit: Permit) {
        if let State::HalfOpen { under_way, .. } = &mut self.state
            && permit == Permit::Probe
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// Spread out by a fifth, so that nodes do not come back together. What the service asked for is
    /// honoured up to the cap: a probe is one push, and finds out early that an outage is over.
    fn open(
        &mut self,
        times: u32,
        after: Option<Duration>,
        now: Instant,
        random: f64,
    ) -> BreakerState {
        let doublings = times.saturating_sub(1).min(31);
        let wait = self.config.open_base.saturating_mul(1 << doublings);
        let wait = wait.max(after.unwrap_or_default()).min(self.config.open_cap);
        let until = now + wait.mul_f64(0.9 + random.clamp(0.0, 1.0) / 5.0);
        self.state = State::Open { until, times };
        BreakerState::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FAILED: Report = Report::Failed(None);

    fn config() -> BreakerConfig {
        BreakerConfig { failures: 3, window: 5, probes: 2, ..BreakerConfig::default() }
    }

    fn opened(breaker: &mut Breaker, now: Instant) {
        let config = config();
        for _ in 0..config.failures {
            breaker.record(Permit::Normal, FAILED, now, 0.5);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_too_many_of_the_last_answers_were_failures() {
        let (mut breaker, now) = (Breaker::new(config()), Instant::now());
        // Two of any five in a row: that is how the service is.
        for _ in 0..20 {
            for report in [FAILED, FAILED, Report::Well, Report::Well, Report::Well] {
                assert_eq!(breaker.record(Permit::Normal, report, now, 0.5), None);
            }
        }
        breaker.record(Permit::Normal, FAILED, now, 0.5);
        breaker.record(Permit::Normal, Report::Well, now, 0.5);
        breaker.record(Permit::Normal, FAILED, now, 0.5);
        let opened = breaker.record(Permit::Normal, FAILED, now, 0.5);
        assert_eq!(opened, Some(BreakerState::Open));
        assert_eq!(breaker.admit(now), Err(5 * SECOND));
        // What was under way when it opened is old news.
        assert_eq!(breaker.record(Permit::Normal, Report::Well, now, 0.5), None);
        assert_eq!(breaker.admit(now + 4 * SECOND), Err(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_credential_opens_it_at_once() {
        let (mut breaker, now) = (Breaker::new(config()), Instant::now());
        let opened = breaker.record(Permit::Normal, Report::Refused, now, 0.5);
        assert_eq!(opened, Some(BreakerState::Open));
    }

    #[tokio::test(start_paused = true)]
    async fn probes_close_it_or_keep_it_open_for_twice_as_long() {
        let (mut breaker, now) = (Breaker::new(config()), Instant::now());
        opened(&mut breaker, now);
        let later = now + 5 * SECOND;
        assert_eq!(breaker.admit(later), Ok(Permit::Probe));
        assert_eq!(breaker.admit(later), Ok(Permit::Probe));
        assert_eq!(breaker.admit(later), Err(SECOND), "no more than two at a time");
        breaker.record(Permit::Probe, FAILED, later, 0.5);
        assert_eq!(breaker.admit(later), Err(10 * SECOND));
        let later = later + 10 * SECOND;
        for _ in 0..2 {
            assert_ne!(breaker.state(), BreakerState::Closed);
            assert_eq!(breaker.admit(later), Ok(Permit::Probe));
            breaker.record(Permit::Probe, Report::Well, later, 0.5);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.admit(later), Ok(Permit::Normal));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_makes_room_for_another() {
        let (mut breaker, now) = (Breaker::new(config()), Instant::now());
        opened(&mut breaker, now);
        let later = now + 5 * SECOND;
        for _ in 0..10 {
            assert_eq!(breaker.admit(later), Ok(Permit::Probe));
            breaker.abandon(Permit::Probe);
        }
        // An answer to what was sent before says nothing of now.
        breaker.record(Permit::Normal, FAILED, later, 0.5);
        assert_eq!(breaker.admit(later), Ok(Permit::Probe));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_never_open_for_longer_than_the_cap() {
        let (mut breaker, mut now) = (Breaker::new(config()), Instant::now());
        opened(&mut breaker, now);
        for _ in 0..100 {
            now += 66 * SECOND;
            assert_eq!(breaker.admit(now), Ok(Permit::Probe));
            breaker.record(Permit::Probe, Report::Failed(Some(900 * SECOND)), now, 1.0);
        }
        assert_eq!(breaker.admit(now), Err(66 * SECOND));
    }
}
