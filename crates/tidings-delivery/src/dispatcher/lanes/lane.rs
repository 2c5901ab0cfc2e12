//! A push service under one credential, and the way to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{Counter, Gauge};
use tidings_core::{
    delivery::{PushAnswer, Verdict},
    device::{Device, Environment, Platform},
    ports::PushProvider,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};

use super::{
    breaker::{Breaker, BreakerConfig, BreakerState, Permit, Report},
    meter::Meter,
    pacer::Pacer,
    refused::{Refused, RefusedPart},
    vendor::BrowserVendor,
};

/// A push that would have to wait longer than this for its turn waits in the store instead.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The longest that a push waits here: for its turn, and then for a place.
pub(in crate::dispatcher) const LONGEST_ADMISSION: Duration = LONGEST_WAIT.saturating_mul(2);

/// What is put back comes again within this time after the service is expected to take it, if there is
/// not more of it than can be claimed and put back meanwhile …
const SPREAD: Duration = Duration::from_secs(60);
/// … and else within this time.
const LONGEST_SPREAD: Duration = Duration::from_secs(900);

/// So many may wait for a place while it is not known how fast the service is.
const LEAST_WAITING: usize = 256;

/// What is put back comes again so much faster than the lane gets done now: what it gets done may be
/// all that came again, and what is too much is put back once more.
const RISE: f64 = 2.0;

/// Limits of a [`Lane`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneLimits {
    /// Sends under way at a time. At least 1.
    pub concurrency: usize,
    /// Sends per second at most, if the service has a quota.
    pub per_s: Option<u32>,
    /// How long a lane with a quota takes to rise from a tenth of it to the whole; zero: it does not.
    pub ramp: Duration,
    /// When the service is left alone.
    pub breaker: BreakerConfig,
}

impl Default for LaneLimits {
    /// 1,000 under way, no quota.
    fn default() -> Self {
        Self {
            concurrency: 1_000,
            per_s: None,
            ramp: Duration::ZERO,
            breaker: BreakerConfig::default(),
        }
    }
}

/// Which devices a lane is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneScope {
    /// Of which push service.
    pub platform: Platform,
    /// Of which apps; of all that no other lane names, if there are none here.
    pub apps: BTreeSet<String>,
    /// Of which environment.
    pub environment: Environment,
    /// For browsers: at whose push service; `None` for all that have no lane of their own.
    pub vendor: Option<BrowserVendor>,
}

impl LaneScope {
    /// All devices of a platform, in production.
    #[must_use]
    pub fn all(platform: Platform) -> Self {
        let environment = Environment::Production;
        Self { platform, apps: BTreeSet::new(), environment, vendor: None }
    }

    fn contains(&self, device: &Device) -> bool {
        let Self { platform, apps, environment, vendor } = self;
        *platform == device.platform
            && *environment == device.environment
            && (apps.is_empty() || apps.contains(&device.app))
            && vendor.is_none_or(|vendor| vendor == BrowserVendor::of(&device.token))
    }
}

/// A push service under one credential: what it is for, its limits, and how it fares.
pub struct Lane {
    name: Arc<str>,
    scope: LaneScope,
    provider: Arc<dyn PushProvider>,
    limits: LaneLimits,
    places: Arc<Semaphore>,
    state: Mutex<State>,
    gauges: Gauges,
}

struct State {
    breaker: Breaker,
    refused: Refused,
    pacer: Pacer,
    done: Meter,
    waiting: usize,
    under_way: usize,
    /// When the last send ended, or the first of those under way began.
    moved: Instant,
    /// The last place in time that was given to a push that was put back.
    put_back_until: Instant,
    backlog: Backlog,
    why: Option<String>,
}

struct Gauges {
    breaker: Gauge,
    refused_apps: Gauge,
    waiting: Gauge,
    in_flight: Gauge,
    per_s: Gauge,
    put_back: Counter,
}

impl Gauges {
    fn show_limit(&self, pacer: &Pacer) {
        if let Some(per_s) = pacer.per_s() {
            self.per_s.set(per_s);
        }
    }
}

/// How a lane fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneHealth {
    /// Its name in the configuration.
    pub name: String,
    /// Its push service.
    pub platform: Platform,
    /// Whether anything is sent.
    pub state: BreakerState,
    /// The service's last word for why not, or ours.
    pub why: Option<String>,
    /// What is refused although the rest is sent.
    pub refused: Vec<RefusedPart>,
}

/// Whether a push may go now.
pub(in crate::dispatcher) enum Admission {
    /// It may.
    Go(Place),
    /// It may not, and its turn comes after so long.
    Later(Duration),
}

/// How much is put back: what waits comes by once in each spread.
struct Backlog {
    began: Instant,
    spread: Duration,
    last: u32,
    so_far: u32,
}

impl Backlog {
    fn new(now: Instant) -> Self {
        Self { began: now, spread: SPREAD, last: 0, so_far: 0 }
    }

    /// Counts one, and says within what time it has to come again so that about `per_s` do per second.
    fn count(&mut self, now: Instant, per_s: f64) -> Duration {
        let pushes = f64::from(self.last.max(self.so_far));
        let spread = Duration::try_from_secs_f64(pushes / per_s).unwrap_or(LONGEST_SPREAD);
        if now.saturating_duration_since(self.began) >= self.spread {
            self.last = self.so_far;
            self.so_far = 0;
            self.began = now;
            self.spread = spread.clamp(SPREAD, LONGEST_SPREAD);
        }
        self.so_far = self.so_far.saturating_add(1);
        spread.clamp(SPREAD, LONGEST_SPREAD)
    }
}

/// Leave to send, of the lane's breaker and of the app's.
#[derive(Debug, Clone, Copy)]
struct Leaves {
    lane: Permit,
    app: Permit,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy)]
pub(in crate::dispatcher) struct Change {
    /// Whether the service has just been found to be down, or up again.
    pub(in crate::dispatcher) lane: Option<BreakerState>,
    /// Whether the push's app has just been found to be refused, or taken again.
    pub(in crate::dispatcher) app: Option<BreakerState>,
}

/// The right to one send. Dropped without a report, it was not made or was cut off.
pub(in crate::dispatcher) struct Place {
    lane: Arc<Lane>,
    app: String,
    leaves: Leaves,
    is_reported: bool,
    _place: OwnedSemaphorePermit,
}

impl Lane {
    /// A lane through `provider`; `name` stands in metrics and the log.
    #[must_use]
    pub fn new(
        name: &str,
        scope: LaneScope,
        provider: Arc<dyn PushProvider>,
        limits: LaneLimits,
    ) -> Self {
        let now = Instant::now();
        let labels = [("provider", name.to_owned())];
        Self {
            name: name.into(),
            scope,
            places: Arc::new(Semaphore::new(limits.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            state: Mutex::new(State {
                breaker: Breaker::new(limits.breaker),
                refused: Refused::new(limits.breaker),
                pacer: Pacer::new(limits.per_s, limits.ramp, now),
                done: Meter::new(now),
                waiting: 0,
                under_way: 0,
                moved: now,
                put_back_until: now,
                backlog: Backlog::new(now),
                why: None,
            }),
            gauges: Gauges {
                breaker: metrics::gauge!("tidings_push_breaker", &labels),
                refused_apps: metrics::gauge!("tidings_push_refused_apps", &labels),
                waiting: metrics::gauge!("tidings_push_waiting", &labels),
                in_flight: metrics::gauge!("tidings_push_in_flight", &labels),
                per_s: metrics::gauge!("tidings_push_limit_per_second", &labels),
                put_back: metrics::counter!("tidings_push_put_back_total", &labels),
            },
            provider,
            limits,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which devices it is for.
    #[must_use]
    pub fn scope(&self) -> &LaneScope {
        &self.scope
    }

    /// How it fares.
    #[must_use]
    pub fn health(&self) -> LaneHealth {
        let state = self.state();
        LaneHealth {
            name: self.name.to_string(),
            platform: self.scope.platform,
            state: state.breaker.state(),
            why: state.why.clone(),
            refused: state.refused.parts(Instant::now()),
        }
    }

    pub(in crate::dispatcher) fn provider(&self) -> &dyn PushProvider {
        self.provider.as_ref()
    }

    /// Whether it goes to whatever hosts users have named: one of them then says nothing of the others.
    pub(in crate::dispatcher) fn is_for_any_host(&self) -> bool {
        self.scope.platform == Platform::WebPush && self.scope.vendor.is_none()
    }

    pub(in crate::dispatcher) fn concurrency(&self) -> usize {
        self.limits.concurrency.max(1)
    }

    pub(super) fn is_for(&self, device: &Device) -> bool {
        self.scope.contains(device)
    }

    /// Waits for a place for a push to `app`, not longer than is bearable and not beyond `until`.
    pub(in crate::dispatcher) async fn admit(
        self: &Arc<Self>,
        app: &str,
        until: Instant,
    ) -> Admission {
        let (leaves, wait) = match self.take_turn(app, until) {
            Ok(turn) => turn,
            Err(later) => return Admission::Later(later),
        };
        let leave = Leave { lane: self, app, leaves, is_used: false };
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => self.wait_for_place(until).await,
        };
        match place {
            Some(place) if self.is_still_good(app, leaves) => {
                Admission::Go(self.enter(leave, place))
            }
            _ => Admission::Later(self.put_back(Duration::ZERO)),
        }
    }

    /// Whether neither breaker has opened while this push waited.
    fn is_still_good(&self, app: &str, leaves: Leaves) -> bool {
        let state = self.state();
        let is_lane_good =
            leaves.lane == Permit::Probe || state.breaker.state() == BreakerState::Closed;
        is_lane_good && state.refused.is_still_good(app, leaves.app)
    }

    /// Leave of the breakers and a place in time; or how long this push has to be put back.
    fn take_turn(&self, app: &str, until: Instant) -> Result<(Leaves, Duration), Duration> {
        let now = Instant::now();
        let Some(left) = until.checked_duration_since(now) else {
            return Err(self.put_back(Duration::ZERO));
        };
        let mut state = self.state();
        let leaves = match state.take_leave(app, now) {
            Ok(leaves) => leaves,
            Err(wait) => {
                drop(state);
                return Err(self.put_back(wait));
            }
        };
        self.gauges.breaker.set(level(state.breaker.state()));
        match state.pacer.take(now, left.min(LONGEST_WAIT)) {
            Ok(wait) => Ok((leaves, wait)),
            Err(wait) => {
                state.abandon(app, leaves);
                self.gauges.show_limit(&state.pacer);
                drop(state);
                Err(self.put_back(wait))
            }
        }
    }

    async fn wait_for_place(&self, until: Instant) -> Option<OwnedSemaphorePermit> {
        let now = Instant::now();
        let _waiting = {
            let mut state = self.state();
            if self.is_hopeless(&mut state, now) {
                return None;
            }
            state.waiting += 1;
            Waiting { lane: self }
        };
        self.gauges.waiting.increment(1.0);
        let acquired =
            timeout_at(until.min(now + LONGEST_WAIT), Arc::clone(&self.places).acquire_owned());
        acquired.await.ok()?.ok()
    }

    /// Whether those who wait already will need longer than is bearable.
    fn is_hopeless(&self, state: &mut State, now: Instant) -> bool {
        if now.saturating_duration_since(state.moved) >= LONGEST_WAIT {
            return true;
        }
        let bearable = match state.done.per_s(now) {
            Some(done_per_s) => bounded(done_per_s * LONGEST_WAIT.as_secs_f64()),
            None => self.concurrency().max(LEAST_WAITING),
        };
        state.waiting >= bearable
    }

    fn enter(self: &Arc<Self>, leave: Leave<'_>, place: OwnedSemaphorePermit) -> Place {
        let (app, leaves) = leave.used();
        let mut state = self.state();
        if state.under_way == 0 {
            state.moved = Instant::now();
        }
        state.under_way += 1;
        drop(state);
        self.gauges.in_flight.increment(1.0);
        let (lane, app) = (Arc::clone(self), app.to_owned());
        Place { lane, app, leaves, is_reported: false, _place: place }
    }

    /// How long a push is put back that may not go for `wait`. Each gets a place in time of its own, by
    /// how much the lane got done lately, so that they do not all come back at once.
    fn put_back(&self, wait: Duration) -> Duration {
        let now = Instant::now();
        let mut state = self.state();
        let done_per_s = state.done.per_s(now).unwrap_or_default();
        let per_s = (done_per_s * RISE).max(self.trusted_per_s());
        let apart = state.pacer.interval().max(Duration::from_secs_f64(1.0 / per_s));
        let earliest = now + wait.max(LONGEST_WAIT / 4);
        let spread = state.backlog.count(now, per_s);
        let latest = earliest + spread;
        let mut at = state.put_back_until.max(earliest) + apart;
        if at > latest {
            // More than the lane can do in that time: they begin from the front again.
            at = earliest + spread.mul_f64(rand::random());
        } else {
            state.put_back_until = at;
        }
        drop(state);
        self.gauges.put_back.increment(1);
        at.saturating_duration_since(now)
    }

    /// What the service is trusted to take per second while nothing is known of it: it answers within a
    /// second.
    fn trusted_per_s(&self) -> f64 {
        small(self.concurrency())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Leave of both breakers, or of none; then how long nothing is sent.
    fn take_leave(&mut self, app: &str, now: Instant) -> Result<Leaves, Duration> {
        let lane = self.breaker.admit(now)?;
        let app = self.refused.admit(app, now).inspect_err(|_| self.breaker.abandon(lane))?;
        Ok(Leaves { lane, app })
    }

    fn abandon(&mut self, app: &str, leaves: Leaves) {
        self.breaker.abandon(leaves.lane);
        self.refused.abandon(app, leaves.app);
    }
}

impl Place {
    /// Notes the service's answer, and says what it changed.
    pub(in crate::dispatcher) fn report(mut self, answer: &PushAnswer) -> Change {
        self.is_reported = true;
        let now = Instant::now();
        let report = match answer.verdict {
            _ if self.lane.is_for_any_host() => None,
            Verdict::Unavailable { after } => Some(Report::Failed(after)),
            Verdict::CallAPerson => Some(Report::Refused),
            Verdict::Interrupted => None,
            // It is there, whatever it thinks of this push.
            _ => Some(Report::Well),
        };
        let mut guard = self.lane.state();
        let state = &mut *guard;
        state.done.count(now);
        let Some(report) = report else {
            state.abandon(&self.app, self.leaves);
            return Change { lane: None, app: None };
        };
        let random = rand::random();
        let app = state.refused.record(&self.app, self.leaves.app, answer, now, random);
        if app.is_some() {
            self.lane.gauges.refused_apps.set(small(state.refused.apps()));
        }
        if let Verdict::SlowDown { after } = answer.verdict {
            let done_per_s = state.done.per_s(now).unwrap_or(self.lane.trusted_per_s());
            state.pacer.slow_down(now, after, done_per_s);
            self.lane.gauges.show_limit(&state.pacer);
        }
        let lane = state.breaker.record(self.leaves.lane, report, now, random);
        match lane {
            Some(BreakerState::Open) => state.why.clone_from(&answer.reason),
            Some(_) => state.why = None,
            None => {}
        }
        if lane.is_some() {
            self.lane.gauges.breaker.set(level(state.breaker.state()));
        }
        Change { lane, app }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        state.under_way -= 1;
        state.moved = Instant::now();
        if !self.is_reported {
            state.abandon(&self.app, self.leaves);
        }
        drop(state);
        self.lane.gauges.in_flight.decrement(1.0);
    }
}

/// Leave of the breakers, given back if the push does not go.
struct Leave<'a> {
    lane: &'a Lane,
    app: &'a str,
    leaves: Leaves,
    is_used: bool,
}

impl<'a> Leave<'a> {
    fn used(mut self) -> (&'a str, Leaves) {
        self.is_used = true;
        (self.app, self.leaves)
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.lane.state().abandon(self.app, self.leaves);
        }
    }
}

/// One that waits for a place.
struct Waiting<'a> {
    lane: &'a Lane,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.lane.state().waiting -= 1;
        self.lane.gauges.waiting.decrement(1.0);
    }
}

/// 0 closed, 1 half-open, 2 open.
fn level(state: BreakerState) -> f64 {
    match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    }
}

/// A small number, for a gauge.
fn small(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A number of pushes, cut to what fits.
fn bounded(number: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100 million"
    )]
    let number = number.clamp(0.0, 1e8) as usize;
    number
}
