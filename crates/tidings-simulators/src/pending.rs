//! What is kept for devices that are offline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::AcceptedPush;

/// Pushes kept for one device; the oldest goes when there are more.
const MAX_PER_DEVICE: usize = 1_000;

/// Devices that something is kept for; pushes to others are not kept.
const MAX_DEVICES: usize = 10_000;

struct Kept {
    /// A later push with the same slot takes its place.
    slot: Option<String>,
    /// Milliseconds since 1970; none is as long as the simulator runs.
    until_ms: Option<i64>,
    push: Arc<AcceptedPush>,
}

/// Accepted pushes that wait for their devices, in bounded memory.
#[derive(Default)]
pub(crate) struct Pending {
    devices: Mutex<HashMap<Box<str>, Vec<Kept>>>,
}

impl Pending {
    /// Keeps a push until then; what is over at once is not kept, but still takes the place of what
    /// is in its slot.
    pub(crate) fn keep(
        &self,
        slot: Option<String>,
        until_ms: Option<i64>,
        push: Arc<AcceptedPush>,
    ) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.len() >= MAX_DEVICES && !devices.contains_key(push.token.as_str()) {
            return;
        }
        let kept = devices.entry(push.token.as_str().into()).or_default();
        if slot.is_some() {
            kept.retain(|kept| kept.slot != slot);
        }
        if kept.len() >= MAX_PER_DEVICE {
            kept.remove(0);
        }
        kept.push(Kept { slot, until_ms, push });
    }

    /// What waits for a device at `now_ms`, the oldest first.
    pub(crate) fn list(&self, token: &str, now_ms: i64) -> Vec<Arc<AcceptedPush>> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = devices.get(token).into_iter().flatten();
        let kept = kept.filter(|kept| kept.until_ms.is_none_or(|until_ms| now_ms < until_ms));
        kept.map(|kept| Arc::clone(&kept.push)).collect()
    }

    /// Forgets what waits for a device: it has got it, or never will.
    pub(crate) fn clear(&self, token: &str) {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }
}
