//! How the cache is doing, for readiness.

use std::sync::{Arc, Mutex, PoisonError};

/// How the cache is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphCacheHealth {
    /// Whether answers are kept. If not, every read asks the store, and a write may wait for a moment.
    pub is_open: bool,
    /// Why the last connection failed or ended, if none has worked since.
    pub last_error: Option<String>,
}

/// Says how the cache is doing.
#[derive(Debug, Clone, Default)]
pub struct GraphCacheHealthHandle(Arc<Mutex<GraphCacheHealth>>);

impl GraphCacheHealthHandle {
    /// How it is doing now.
    #[must_use]
    pub fn snapshot(&self) -> GraphCacheHealth {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whether it is open, and whether that is new.
    pub(super) fn set_open(&self, is_open: bool) -> bool {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = health.is_open != is_open;
        health.is_open = is_open;
        if is_open {
            health.last_error = None;
        }
        drop(health);
        metrics::gauge!("tidings_graph_cache_open").set(if is_open { 1.0 } else { 0.0 });
        is_new
    }

    pub(super) fn note_error(&self, error: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(error);
    }
}
