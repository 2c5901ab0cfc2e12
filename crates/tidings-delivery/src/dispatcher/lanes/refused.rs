//! What a service refuses while it takes the rest.

use std::{collections::BTreeMap, time::Duration};

use tidings_core::delivery::{Concerned, PushAnswer, Verdict};
use tokio::time::Instant;

use super::breaker::{Breaker, BreakerConfig, BreakerState, Permit, Report};

/// So many apps can be stopped one by one. Apps are named by devices, and those by whoever registers
/// them; of what comes above that each push finds out by itself.
const MAX_APPS: usize = 64;

/// Refused devices are told of for so long after the last refusal. Those that wait ask again sooner.
const SHOWN: Duration = Duration::from_secs(15 * 60);

/// A part of what goes to a service under one credential, which it refuses until a person has changed
/// something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPart {
    /// The app; `None` stands for some devices, of which only the service knows what they have in common.
    pub app: Option<String>,
    /// The service's word for why.
    pub why: String,
}

/// Breakers of the apps that a service refuses, and what is known of refused devices.
///
/// An app has a breaker from its first refusal until it is taken again.
#[derive(Debug)]
pub(super) struct Refused {
    config: BreakerConfig,
    apps: BTreeMap<String, App>,
    devices: Option<(Instant, String)>,
}

#[derive(Debug)]
struct App {
    breaker: Breaker,
    why: String,
}

impl Refused {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, apps: BTreeMap::new(), devices: None }
    }

    /// How many apps are refused.
    pub(super) fn apps(&self) -> usize {
        self.apps.len()
    }

    /// What is refused, as far as is known.
    pub(super) fn parts(&self, now: Instant) -> Vec<RefusedPart> {
        let of_app = |(app, it): (&String, &App)| RefusedPart {
            app: Some(app.clone()),
            why: it.why.clone(),
        };
        let devices = self.devices.iter().filter(|(at, _)| now.duration_since(*at) < SHOWN);
        let devices = devices.map(|(_, why)| RefusedPart { app: None, why: why.clone() });
        self.apps.iter().map(of_app).chain(devices).collect()
    }

    /// Leave to send for an app, or how long nothing is sent for it.
    pub(super) fn admit(&mut self, app: &str, now: Instant) -> Result<Permit, Duration> {
        self.apps.get_mut(app).map_or(Ok(Permit::Normal), |it| it.breaker.admit(now))
    }

    /// Whether what had leave to be sent for an app still has it.
    pub(super) fn is_still_good(&self, app: &str, permit: Permit) -> bool {
        permit == Permit::Probe || !self.apps.contains_key(app)
    }

    /// What had leave says nothing of the app: it was not sent, or cut off.
    pub(super) fn abandon(&mut self, app: &str, permit: Permit) {
        if let Some(it) = self.apps.get_mut(app) {
            it.breaker.abandon(permit);
        }
    }

    /// Notes an answer to a push for an app. Says whether the app has just been stopped, or is taken
    /// again.
    pub(super) fn record(
        &mut self,
        app: &str,
        permit: Permit,
        answer: &PushAnswer,
        now: Instant,
        random: f64,
    ) -> Option<BreakerState> {
        let why = || answer.reason.clone().unwrap_or_default();
        let report = match answer.verdict {
            Verdict::CallAPersonFor(Concerned::App) => Report::Refused,
            // The service itself is in trouble, or takes nothing from us.
            Verdict::Interrupted
            | Verdict::Unavailable { .. }
            | Verdict::SlowDown { .. }
            | Verdict::CallAPerson => {
                self.abandon(app, permit);
                return None;
            }
            verdict => {
                if verdict == Verdict::CallAPersonFor(Concerned::Devices) {
                    self.devices = Some((now, why()));
                }
                Report::Well
            }
        };
        if report == Report::Refused && !self.apps.contains_key(app) && self.apps.len() < MAX_APPS {
            let it = App { breaker: Breaker::new(self.config), why: why() };
            self.apps.insert(app.to_owned(), it);
        }
        let change = self.apps.get_mut(app)?.breaker.record(permit, report, now, random);
        if change == Some(BreakerState::Closed) {
            self.apps.remove(app);
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(verdict: Verdict) -> PushAnswer {
        PushAnswer { verdict, reason: Some("Because".to_owned()), provider_id: None }
    }

    const STOP: Verdict = Verdict::CallAPersonFor(Concerned::App);

    #[tokio::test(start_paused = true)]
    async fn a_refused_app_is_stopped_until_probes_are_taken_and_no_other_is() {
        let config = BreakerConfig { probes: 2, ..BreakerConfig::default() };
        let (mut refused, now) = (Refused::new(config), Instant::now());
        let stopped = refused.record("a", Permit::Normal, &answer(STOP), now, 0.5);
        assert_eq!(stopped, Some(BreakerState::Open));
        assert_eq!(refused.admit("a", now), Err(config.open_base));
        assert_eq!(refused.admit("b", now), Ok(Permit::Normal));
        assert!(!refused.is_still_good("a", Permit::Normal));
        let part = RefusedPart { app: Some("a".to_owned()), why: "Because".to_owned() };
        assert_eq!(refused.parts(now), [part]);
        let later = now + config.open_base;
        for verdict in [Verdict::Unavailable { after: None }, Verdict::Reject, Verdict::Delivered] {
            assert_eq!(refused.admit("a", later), Ok(Permit::Probe));
            refused.record("a", Permit::Probe, &answer(verdict), later, 0.5);
        }
        assert_eq!((refused.apps(), refused.admit("a", later)), (0, Ok(Permit::Normal)));
    }

    #[tokio::test(start_paused = true)]
    async fn refused_devices_stop_nothing_and_are_told_of_for_a_while() {
        let (mut refused, now) = (Refused::new(BreakerConfig::default()), Instant::now());
        let verdict = Verdict::CallAPersonFor(Concerned::Devices);
        assert_eq!(refused.record("a", Permit::Normal, &answer(verdict), now, 0.5), None);
        assert_eq!(refused.admit("a", now), Ok(Permit::Normal));
        assert_eq!(refused.parts(now)[0].app, None);
        assert_eq!(refused.parts(now + SHOWN), []);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_apps_are_remembered_than_there_is_room_for() {
        let (mut refused, now) = (Refused::new(BreakerConfig::default()), Instant::now());
        for number in 0..2 * MAX_APPS {
            refused.record(&number.to_string(), Permit::Normal, &answer(STOP), now, 0.5);
        }
        assert_eq!(refused.apps(), MAX_APPS);
    }
}
