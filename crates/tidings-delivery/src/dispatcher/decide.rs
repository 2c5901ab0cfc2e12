//! What an answer means for the push: a plain function of both, the time, and chance.

use std::time::Duration;

use tidings_core::{
    clock::Timestamp,
    delivery::{Outcome, Push, Verdict},
    ports::{DueRetry, Prune, Renewal},
    retry::RetryDecision,
};

use super::DispatcherConfig;

/// The longest wait of a push that waits by itself for a person, if the cap of retries is not longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What is done after one attempt at one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    pub(super) retry: Option<DueRetry>,
    pub(super) prune: Option<Prune>,
    pub(super) renewal: Option<Renewal>,
    /// It waits for a person, who may take a day: another device may be tried meanwhile.
    pub(super) is_for_a_person: bool,
}

impl Decision {
    /// It is over.
    pub(super) fn done(outcome: Outcome) -> Self {
        Self { outcome, retry: None, prune: None, renewal: None, is_for_a_person: false }
    }

    /// The same when the device has another token by now: then it is not the device's end.
    pub(super) fn with_another_token(self) -> Self {
        match self.renewal {
            Some(Renewal { retry, .. }) => {
                Self { retry: Some(retry), ..Self::done(Outcome::Retrying) }
            }
            None => self,
        }
    }
}

/// Decides after attempt number `attempt` got `verdict` at `now`; `random` is uniform in `0.0..1.0`.
pub(super) fn decide(
    push: &Push,
    verdict: Verdict,
    attempt: u32,
    now: Timestamp,
    config: &DispatcherConfig,
    random: f64,
) -> Decision {
    match verdict {
        Verdict::Delivered => Decision::done(Outcome::Delivered),
        Verdict::Reject => Decision::done(Outcome::Failed),
        Verdict::Retry { .. } | Verdict::Interrupted | Verdict::Unavailable { .. } => {
            let after = match verdict {
                Verdict::Retry { after } | Verdict::Unavailable { after } => after,
                _ => None,
            };
            match config.retry.after_failure(attempt, after, random) {
                RetryDecision::After(wait) => {
                    try_again(push, attempt.saturating_add(1), now.after(wait))
                }
                RetryDecision::GiveUp => Decision::done(Outcome::Failed),
            }
        }
        Verdict::PruneToken { dead_since } => {
            let registered_at = push.device.registered_at;
            // Registered again after it died: a new life, which only its own death ends.
            let is_dead = dead_since.is_none_or(|dead_since| registered_at <= dead_since);
            let device = push.device.id.clone();
            let prune = is_dead.then_some(Prune { device, registered_at });
            // Registered with another token while this was under way: that one has not had it.
            let retry = try_again(push, attempt.saturating_add(1), now).retry;
            let dead = push.device.token.clone();
            let renewal = retry.map(|retry| Renewal { retry, dead });
            Decision { prune, renewal, ..Decision::done(Outcome::Failed) }
        }
        // Nothing is wrong with the push: it costs no attempt.
        Verdict::SlowDown { after } => {
            if now.since(push.notification.created_at) >= config.longest_wait {
                return Decision::done(Outcome::Failed);
            }
            let wait = after.unwrap_or(config.retry.ceiling(1));
            let spread = config.retry.ceiling(1).mul_f64(random.clamp(0.0, 1.0));
            try_again(push, attempt, now.after(wait.saturating_add(spread)))
        }
        Verdict::CallAPerson | Verdict::CallAPersonFor(_) => {
            let waited = now.since(push.notification.created_at);
            if waited >= config.longest_wait {
                return Decision::done(Outcome::Failed);
            }
            // The budget of attempts is for faults that pass by themselves: this one leaves at least
            // one for when the person is done. In the upper half of the cap, spread out.
            let next = attempt.saturating_add(1).min(config.retry.max_attempts.saturating_sub(1));
            let mut wait = Duration::from_millis(config.retry.cap_ms);
            // What concerns everything stops the lane, and then no push comes here. Of the others each
            // asks by itself: the longer it has waited, the less often.
            let is_for_a_person = matches!(verdict, Verdict::CallAPersonFor(_));
            if is_for_a_person {
                wait = wait.max((waited / 2).min(LONGEST_PAUSE));
            }
            let wait = wait.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
            let decision = try_again(push, next.max(1), now.after(wait));
            Decision { is_for_a_person, ..decision }
        }
    }
}

/// What would come too late is not tried again.
fn try_again(push: &Push, attempt: u32, at: Timestamp) -> Decision {
    if push.notification.event.expires_at().is_some_and(|expires| expires <= at) {
        return Decision::done(Outcome::Failed);
    }
    let device = push.device.id.clone();
    let retry = Some(DueRetry { device, attempt, at });
    Decision { retry, ..Decision::done(Outcome::Retrying) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_core::{
        delivery::{Concerned, PushStyle},
        device::{Device, Platform, PushToken},
        event::IncomingEvent,
        ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
        notification::{Notification, NotificationState},
        retry::RetryPolicy,
    };

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000).after(Duration::from_secs(secs))
    }

    fn push(ttl_seconds: u64) -> Push {
        let json = serde_json::json!({
            "id": "e", "source": "s", "type": "t", "audience": {"users": ["ann"]},
            "ttl_seconds": ttl_seconds,
        });
        let event = IncomingEvent::from_json(json.to_string().as_bytes(), at(0)).unwrap().event;
        let device = Device::new(
            UserId::new("ann").unwrap(),
            DeviceId::new("phone").unwrap(),
            Platform::Apns,
            "app",
            PushToken::new("ab".into()).unwrap(),
            at(0),
        );
        let id = NotificationId { inbox: InboxNumber(1), seq: Seq(1) };
        let identity = id.push_identity(&device.id);
        let user = device.user.clone();
        let state = NotificationState::default();
        let notification = Notification { id, user, event, created_at: at(0), state };
        Push {
            identity,
            device,
            notification: Arc::new(notification),
            badge: 1,
            style: PushStyle::Alert,
        }
    }

    fn config() -> DispatcherConfig {
        let retry = RetryPolicy { max_attempts: 4, base_ms: 1_000, cap_ms: 60_000 };
        DispatcherConfig { retry, ..DispatcherConfig::default() }
    }

    fn decided(verdict: Verdict, attempt: u32) -> Decision {
        decide(&push(1_000_000), verdict, attempt, at(10), &config(), 1.0)
    }

    fn retry(attempt: u32, at: Timestamp) -> Decision {
        let device = DeviceId::new("phone").unwrap();
        let retry = Some(DueRetry { device, attempt, at });
        Decision { retry, ..Decision::done(Outcome::Retrying) }
    }

    const RETRY: Verdict = Verdict::Retry { after: None };

    #[test]
    fn a_passing_fault_is_tried_again_until_the_budget_is_spent() {
        assert_eq!(decided(RETRY, 1), retry(2, at(11)));
        assert_eq!(decided(RETRY, 3), retry(4, at(14)));
        assert_eq!(decided(RETRY, 4), Decision::done(Outcome::Failed));
    }

    #[test]
    fn a_retry_does_not_come_before_the_service_says() {
        let after = Some(Duration::from_secs(600));
        assert_eq!(decided(Verdict::Retry { after }, 1), retry(2, at(611)));
    }

    #[test]
    fn a_retry_that_would_come_too_late_is_a_failure() {
        let after = Some(Duration::from_secs(60));
        let verdict = Verdict::Retry { after };
        let decision = decide(&push(70), verdict, 1, at(10), &config(), 0.0);
        assert_eq!(decision, Decision::done(Outcome::Failed));
    }

    #[test]
    fn a_token_is_pruned_only_if_it_was_not_registered_after_it_died() {
        let pruned = |dead_since| decided(Verdict::PruneToken { dead_since }, 1).prune.is_some();
        assert!(pruned(None));
        assert!(pruned(Some(at(0))));
        assert!(!pruned(Some(at(0).before(Duration::from_millis(1)))));
    }

    #[test]
    fn a_dead_token_is_tried_again_at_once_if_there_is_another_and_it_is_not_too_late() {
        let dead = Verdict::PruneToken { dead_since: None };
        let decision = decided(dead, 4);
        assert_eq!((decision.outcome, &decision.retry), (Outcome::Failed, &None));
        assert_eq!(decision.renewal.as_ref().unwrap().dead, push(1).device.token);
        assert_eq!(decision.with_another_token(), retry(5, at(10)));
        let late = decide(&push(10), dead, 1, at(10), &config(), 0.0);
        assert!(late.prune.is_some());
        assert_eq!(late.clone().with_another_token(), late);
    }

    #[test]
    fn a_push_that_waits_for_a_person_keeps_an_attempt_and_is_given_up_after_a_day() {
        assert_eq!(decided(Verdict::CallAPerson, 1), retry(2, at(70)));
        assert_eq!(decided(Verdict::CallAPerson, 3), retry(3, at(70)));
        let next_day = at(24 * 60 * 60);
        let decision = decide(&push(1_000_000), Verdict::CallAPerson, 1, next_day, &config(), 0.0);
        assert_eq!(decision, Decision::done(Outcome::Failed));
    }

    #[test]
    fn a_push_that_waits_for_a_person_by_itself_asks_less_and_less_often() {
        let next = |waited| {
            let verdict = Verdict::CallAPersonFor(Concerned::Devices);
            let decision = decide(&push(1_000_000), verdict, 1, at(waited), &config(), 1.0);
            assert!(decision.is_for_a_person);
            decision.retry.unwrap().at.since(at(waited)).as_secs()
        };
        assert_eq!([0, 600, 4_000, 80_000].map(next), [60, 300, 2_000, 3_600]);
    }
}
