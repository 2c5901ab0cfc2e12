//! All lanes of a node.

use std::sync::{Arc, PoisonError, RwLock};

use tidings_core::device::Device;

use super::{Lane, LaneHealth};

/// The lanes of a node, which can be replaced while it runs.
#[derive(Default)]
pub struct PushLanes {
    lanes: RwLock<Arc<[Arc<Lane>]>>,
}

impl PushLanes {
    /// These lanes. Of several for one device the first counts that names its app, else the first.
    #[must_use]
    pub fn new(lanes: Vec<Arc<Lane>>) -> Self {
        Self { lanes: RwLock::new(lanes.into()) }
    }

    /// From now on these lanes. What is under way on others ends there.
    pub fn replace(&self, lanes: Vec<Arc<Lane>>) {
        *self.lanes.write().unwrap_or_else(PoisonError::into_inner) = lanes.into();
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Arc<[Arc<Lane>]> {
        Arc::clone(&self.lanes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How they fare.
    #[must_use]
    pub fn health(&self) -> Vec<LaneHealth> {
        self.all().iter().map(|lane| lane.health()).collect()
    }

    /// The lane of a device.
    pub(in crate::dispatcher) fn find(&self, device: &Device) -> Option<Arc<Lane>> {
        let lanes = self.all();
        let names_app = |lane: &&Arc<Lane>| !lane.scope().apps.is_empty();
        let fitting = || lanes.iter().filter(|lane| lane.is_for(device));
        fitting().find(names_app).or_else(|| fitting().next()).cloned()
    }

    /// Sends under way at most, on all of them.
    pub(in crate::dispatcher) fn concurrency(&self) -> usize {
        self.all().iter().map(|lane| lane.concurrency()).fold(0, usize::saturating_add)
    }
}
