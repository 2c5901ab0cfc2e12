//! Tells a person, without telling them a thousand times a second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tidings_core::delivery::Concerned;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

/// Says at most once a minute, provider and kind of refusal that a push service refuses us.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    last: Mutex<HashMap<Kind, Instant>>,
}

/// The provider, and what is concerned if it is not everything. Not the app: devices name it.
type Kind = (String, Option<Concerned>);

impl Alarm {
    /// Counts a refusal of everything, and logs it if it is time to. Says whether it was.
    pub(super) fn raise(&self, provider: &str, reason: &str) -> bool {
        let is_time = self.is_time(provider, None);
        if is_time {
            tracing::error!(
                provider,
                reason,
                "the push service refuses this server: a key, a permission or the clock is wrong; \
                 its pushes wait"
            );
        }
        is_time
    }

    /// The same of a refusal that concerns a part of the pushes, such as one for `app`.
    pub(super) fn raise_for(
        &self,
        provider: &str,
        concerned: Concerned,
        app: &str,
        reason: &str,
    ) -> bool {
        let is_time = self.is_time(provider, Some(concerned));
        match concerned {
            Concerned::App if is_time => tracing::error!(
                provider,
                app,
                reason,
                "the push service refuses the key for this app; its pushes wait, others are sent"
            ),
            Concerned::Devices if is_time => tracing::error!(
                provider,
                app,
                reason,
                "the push service cannot reach some devices for want of a credential that it was \
                 given; pushes to them wait, others are sent"
            ),
            _ => {}
        }
        is_time
    }

    fn is_time(&self, provider: &str, concerned: Option<Concerned>) -> bool {
        metrics::counter!("tidings_push_alarms_total", "provider" => provider.to_owned())
            .increment(1);
        let (now, kind) = (Instant::now(), (provider.to_owned(), concerned));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(&kind).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        last.insert(kind, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_person_is_told_once_a_minute_and_provider() {
        let alarm = Alarm::default();
        assert!(alarm.raise("apns", "InvalidProviderToken"));
        assert!(!alarm.raise("apns", "InvalidProviderToken"));
        assert!(alarm.raise("fcm", "oauth_invalid_grant"));
        let raise_for = |concerned| alarm.raise_for("fcm", concerned, "app", "reason");
        assert!(raise_for(Concerned::App) && raise_for(Concerned::Devices));
        assert!(!raise_for(Concerned::App));
        tokio::time::advance(PAUSE).await;
        assert!(alarm.raise("apns", "InvalidProviderToken"));
    }
}
