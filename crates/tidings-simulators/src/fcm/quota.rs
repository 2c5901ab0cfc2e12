//! How many messages FCM takes.
//!
//! "600,000 messages per minute per project, refilled each minute", "240 messages per minute and 5,000
//! per hour to a single device" (Firebase, throttling and quotas). All requests count but those that
//! are answered with 429.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// Devices whose messages are counted at a time, about 50 bytes each; those seen in the last minute
/// stay, and others are not held to a limit when there are more.
const MAX_DEVICES: usize = 200_000;

/// How many messages are taken; `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FcmQuota {
    /// Of the project, in 60 seconds from its first message on.
    pub project_per_minute: Option<u32>,
    /// To one device.
    pub device_per_minute: Option<u32>,
    /// To one device.
    pub device_per_hour: Option<u32>,
}

impl Default for FcmQuota {
    /// Google's: 600,000 a minute, 240 a minute and 5,000 an hour to one device.
    fn default() -> Self {
        Self {
            project_per_minute: Some(600_000),
            device_per_minute: Some(240),
            device_per_hour: Some(5_000),
        }
    }
}

impl FcmQuota {
    /// No limits, for measuring a sender.
    pub const UNLIMITED: Self =
        Self { project_per_minute: None, device_per_minute: None, device_per_hour: None };
}

/// Messages in a window that begins with its first one.
#[derive(Debug, Clone, Copy)]
struct Window {
    since_ms: i64,
    used: u32,
}

impl Window {
    fn starting(now_ms: i64) -> Self {
        Self { since_ms: now_ms, used: 0 }
    }

    /// Takes one of `limit` per `length_ms`, or says how long to wait.
    fn take(&mut self, limit: Option<u32>, length_ms: i64, now_ms: i64) -> Result<(), i64> {
        if now_ms.saturating_sub(self.since_ms) >= length_ms {
            *self = Self::starting(now_ms);
        }
        match limit {
            Some(limit) if self.used >= limit => {
                Err(self.since_ms.saturating_add(length_ms).saturating_sub(now_ms))
            }
            _ => {
                self.used = self.used.saturating_add(1);
                Ok(())
            }
        }
    }
}

struct Used {
    quota: FcmQuota,
    project: Window,
    /// Minute and hour of each device, by a hash of its token.
    devices: HashMap<u64, [Window; 2]>,
}

/// Counts messages.
pub(super) struct Counter {
    hasher: RandomState,
    used: Mutex<Used>,
}

impl Counter {
    pub(super) fn new(quota: FcmQuota) -> Self {
        let used = Used { quota, project: Window::starting(i64::MIN), devices: HashMap::new() };
        Self { hasher: RandomState::new(), used: Mutex::new(used) }
    }

    /// Replaces the limits; what was counted stays.
    pub(super) fn set(&self, quota: FcmQuota) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).quota = quota;
    }

    /// Takes one message of the project's, or says when there are more.
    pub(super) fn take_project(&self, now_ms: i64) -> Result<(), Duration> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = used.quota.project_per_minute;
        let wait_ms = match used.project.take(limit, MINUTE_MS, now_ms) {
            Ok(()) => return Ok(()),
            Err(wait_ms) => u64::try_from(wait_ms).unwrap_or_default(),
        };
        // Whole seconds, and none too few.
        Err(Duration::from_secs(wait_ms.div_ceil(1_000)))
    }

    /// Whether one more message to this device is taken.
    pub(super) fn take_device(&self, token: &str, now_ms: i64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let FcmQuota { device_per_minute, device_per_hour, .. } = used.quota;
        if device_per_minute.is_none() && device_per_hour.is_none() {
            return true;
        }
        if used.devices.len() >= MAX_DEVICES {
            used.devices
                .retain(|_, [minute, _]| now_ms.saturating_sub(minute.since_ms) < MINUTE_MS);
            if used.devices.len() >= MAX_DEVICES {
                return true;
            }
        }
        let key = self.hasher.hash_one(token);
        let [minute, hour] = used.devices.entry(key).or_insert([Window::starting(now_ms); 2]);
        if minute.take(device_per_minute, MINUTE_MS, now_ms).is_err() {
            return false;
        }
        let taken = hour.take(device_per_hour, HOUR_MS, now_ms).is_ok();
        if !taken {
            // What is answered with 429 counts nowhere.
            minute.used -= 1;
        }
        taken
    }
}
