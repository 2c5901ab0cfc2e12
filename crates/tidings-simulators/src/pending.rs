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
    push: Arc<AcceptedPush>,
}

/// Accepted pushes that wait for their devices, in bounded memory.
#[derive(Default)]
pub(crate) struct Pending {
    devices: Mutex<HashMap<Box<str>, Vec<Kept>>>,
}

impl Pending {
    pub(crate) fn keep(&self, slot: Option<String>, push: Arc<AcceptedPush>) {
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
        kept.push(Kept { slot, push });
    }

    /// What waits for a device, the oldest first.
    pub(crate) fn list(&self, token: &str) -> Vec<Arc<AcceptedPush>> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = devices.get(token).into_iter().flatten();
        kept.map(|kept| Arc::clone(&kept.push)).collect()
    }

    /// Forgets what waits for a device: it has got it, or never will.
    pub(crate) fn clear(&self, token: &str) {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }
}
