//! Tells a person, without telling them a thousand times a second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

/// Says at most once a minute and provider that a push service refuses everything.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    last: Mutex<HashMap<String, Instant>>,
}

impl Alarm {
    /// Counts a refusal, and logs it if it is time to. Says whether it was.
    pub(super) fn raise(&self, provider: &str, reason: &str) -> bool {
        metrics::counter!("tidings_push_alarms_total", "provider" => provider.to_owned())
            .increment(1);
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(provider).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        last.insert(provider.to_owned(), now);
        drop(last);
        tracing::error!(
            provider,
            reason,
            "the push service refuses this server: a key, a permission or the clock is wrong; its \
             pushes wait"
        );
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
        tokio::time::advance(PAUSE).await;
        assert!(alarm.raise("apns", "InvalidProviderToken"));
    }
}
