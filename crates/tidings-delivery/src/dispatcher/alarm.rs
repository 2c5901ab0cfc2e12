//! Tells a person, without telling them a thousand times a second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tidings_core::delivery::Channel;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

/// Says at most once a minute and channel that a push service refuses everything.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    last: Mutex<HashMap<Channel, Instant>>,
}

impl Alarm {
    /// Counts a refusal, and logs it if it is time to. Says whether it was.
    pub(super) fn raise(&self, channel: Channel, reason: &str) -> bool {
        metrics::counter!("tidings_push_alarms_total", "channel" => channel.as_str()).increment(1);
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(&channel).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        last.insert(channel, now);
        drop(last);
        tracing::error!(
            channel = channel.as_str(),
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
    async fn a_person_is_told_once_a_minute_and_channel() {
        let alarm = Alarm::default();
        assert!(alarm.raise(Channel::Apns, "InvalidProviderToken"));
        assert!(!alarm.raise(Channel::Apns, "InvalidProviderToken"));
        assert!(alarm.raise(Channel::Fcm, "oauth_invalid_grant"));
        tokio::time::advance(PAUSE).await;
        assert!(alarm.raise(Channel::Apns, "InvalidProviderToken"));
    }
}
