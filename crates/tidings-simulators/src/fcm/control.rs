//! The handle that makes an FCM simulator misbehave.

use std::fmt;
use std::sync::Arc;

use super::oauth::TokenEndpoint;
use super::{FcmDeviceState, FcmFailure};
use crate::device_states::DeviceStates;
use crate::faults::Failures;
use crate::{ConnectionFaults, SimulatorError};

/// Sets device states and orders faults; cloning shares them. Everything acts at once.
#[derive(Clone)]
pub struct FcmControl {
    connections: ConnectionFaults,
    shared: Arc<Shared>,
    endpoint: Arc<TokenEndpoint>,
}

struct Shared {
    devices: DeviceStates<FcmDeviceState>,
    failures: Failures<FcmFailure>,
}

impl FcmControl {
    pub(super) fn new(
        connections: ConnectionFaults,
        max_device_states: usize,
        endpoint: Arc<TokenEndpoint>,
    ) -> Self {
        let devices = DeviceStates::new(max_device_states);
        let failures = Failures::none();
        Self { connections, shared: Arc::new(Shared { devices, failures }), endpoint }
    }

    /// Faults of the transport.
    #[must_use]
    pub fn connections(&self) -> &ConnectionFaults {
        &self.connections
    }

    /// Puts the device with this registration token into `state`.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::TooManyDeviceStates`] if the table is full.
    pub fn set_device(&self, token: &str, state: FcmDeviceState) -> Result<(), SimulatorError> {
        self.shared.devices.put(token, state)
    }

    /// Makes the device live again.
    pub fn revive_device(&self, token: &str) {
        self.shared.devices.remove(token);
    }

    /// Answers the next `messages` messages that are otherwise correct with `failure`; replaces what
    /// is left of an earlier order.
    pub fn fail_next(&self, messages: u64, failure: FcmFailure) {
        self.shared.failures.set(failure, messages);
    }

    /// Answers the next `requests` for an access token with 503.
    pub fn fail_next_token_requests(&self, requests: u64) {
        self.endpoint.fail_next(requests);
    }

    /// Ends every access token that was issued: the next send with one gets 401.
    pub fn revoke_access_tokens(&self) {
        self.endpoint.revoke_all();
    }

    /// How many access tokens were issued since the start.
    #[must_use]
    pub fn access_tokens_issued(&self) -> u64 {
        self.endpoint.issued()
    }

    pub(super) fn find_device(&self, token: &str) -> Option<FcmDeviceState> {
        self.shared.devices.find(token)
    }

    pub(super) fn take_failure(&self) -> Option<FcmFailure> {
        self.shared.failures.take()
    }
}

impl fmt::Debug for FcmControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FcmControl").field("connections", &self.connections).finish_non_exhaustive()
    }
}
