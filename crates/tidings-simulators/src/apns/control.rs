//! The handle that makes an APNs simulator misbehave.

use std::sync::Arc;

use super::{ApnsDeviceState, ApnsFailure};
use crate::device_states::DeviceStates;
use crate::faults::NextFailures;
use crate::{ConnectionFaults, SimulatorError};

/// Sets device states and orders faults; cloning shares them. Everything acts at once.
#[derive(Debug, Clone)]
pub struct ApnsControl {
    connections: ConnectionFaults,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    devices: DeviceStates<ApnsDeviceState>,
    failures: NextFailures<ApnsFailure>,
}

impl ApnsControl {
    pub(super) fn new(connections: ConnectionFaults, max_device_states: usize) -> Self {
        let devices = DeviceStates::new(max_device_states);
        let failures = NextFailures::none();
        Self { connections, shared: Arc::new(Shared { devices, failures }) }
    }

    /// Faults of the transport.
    #[must_use]
    pub fn connections(&self) -> &ConnectionFaults {
        &self.connections
    }

    /// Puts the device with this token (hex, any case) into `state`.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::TooManyDeviceStates`] if the table is full.
    pub fn set_device(&self, token: &str, state: ApnsDeviceState) -> Result<(), SimulatorError> {
        self.shared.devices.put(&token.to_ascii_lowercase(), state)
    }

    /// Makes the device live again.
    pub fn revive_device(&self, token: &str) {
        self.shared.devices.remove(&token.to_ascii_lowercase());
    }

    /// Answers the next `pushes` pushes that are otherwise correct with `failure`; replaces what is
    /// left of an earlier order.
    pub fn fail_next(&self, pushes: u64, failure: ApnsFailure) {
        self.shared.failures.set(failure, pushes);
    }

    pub(super) fn find_device(&self, token: &str) -> Option<ApnsDeviceState> {
        self.shared.devices.find(token)
    }

    pub(super) fn take_failure(&self) -> Option<ApnsFailure> {
        self.shared.failures.take()
    }
}
