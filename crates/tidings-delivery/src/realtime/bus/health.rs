//! How the bus is doing, for readiness.

use std::sync::{Arc, Mutex, PoisonError};

/// How the bus is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusHealth {
    /// Whether what this node says comes back to it.
    pub is_up: bool,
    /// Why the last connection failed or ended, if none has worked since.
    pub last_error: Option<String>,
}

/// Says how the bus is doing.
#[derive(Debug, Clone, Default)]
pub struct BusHealthHandle(Arc<Mutex<BusHealth>>);

impl BusHealthHandle {
    /// How it is doing now.
    #[must_use]
    pub fn snapshot(&self) -> BusHealth {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_up(&self, is_up: bool) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        health.is_up = is_up;
        if is_up {
            health.last_error = None;
        }
        drop(health);
        metrics::gauge!("tidings_bus_up").set(if is_up { 1.0 } else { 0.0 });
    }

    pub(super) fn note_error(&self, error: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(error);
    }
}
