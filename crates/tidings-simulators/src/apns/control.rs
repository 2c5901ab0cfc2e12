//! The handle that makes an APNs simulator misbehave.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{ApnsDeviceState, ApnsFailure};
use crate::device_states::DeviceStates;
use crate::faults::Failures;
use crate::pending::Pending;
use crate::{AcceptedPush, Clock, ConnectionFaults, SimulatorError};

/// Sets device states and orders faults; cloning shares them. Everything acts at once.
#[derive(Clone)]
pub struct ApnsControl {
    connections: ConnectionFaults,
    shared: Arc<Shared>,
}

struct Shared {
    devices: DeviceStates<ApnsDeviceState>,
    failures: Failures<ApnsFailure>,
    pending: Pending,
    /// Provider tokens issued up to then count as expired, whatever their age.
    expired_up_to_secs: AtomicI64,
    clock: Clock,
}

impl ApnsControl {
    pub(super) fn new(
        connections: ConnectionFaults,
        max_device_states: usize,
        clock: Clock,
    ) -> Self {
        let shared = Shared {
            devices: DeviceStates::new(max_device_states),
            failures: Failures::none(),
            pending: Pending::default(),
            expired_up_to_secs: AtomicI64::new(i64::MIN),
            clock,
        };
        Self { connections, shared: Arc::new(shared) }
    }

    /// Faults of the transport.
    #[must_use]
    pub fn connections(&self) -> &ConnectionFaults {
        &self.connections
    }

    /// Puts the device with this token (hex, any case) into `state`. With `*` in it, for any
    /// characters, it is a pattern; tokens set by themselves come first, then the oldest pattern.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::TooManyDeviceStates`] if the table is full.
    pub fn set_device(&self, token: &str, state: ApnsDeviceState) -> Result<(), SimulatorError> {
        self.shared.devices.put(&token.to_ascii_lowercase(), state)
    }

    /// Makes the device live again, and gives it what was kept for it.
    pub fn revive_device(&self, token: &str) {
        let token = token.to_ascii_lowercase();
        self.shared.devices.remove(&token);
        self.shared.pending.clear(&token);
    }

    /// What is kept for a device that is offline, the oldest first.
    #[must_use]
    pub fn kept_for(&self, token: &str) -> Vec<Arc<AcceptedPush>> {
        self.shared.pending.list(&token.to_ascii_lowercase(), (self.shared.clock)())
    }

    /// Answers every provider token issued up to the current second with 403
    /// `ExpiredProviderToken`, as if it were an hour old.
    pub fn expire_provider_tokens(&self) {
        let now_secs = (self.shared.clock)().div_euclid(1_000);
        self.shared.expired_up_to_secs.store(now_secs, Ordering::Relaxed);
    }

    /// Answers the next `pushes` pushes that are otherwise correct with `failure`; replaces what is
    /// left of an earlier order.
    pub fn fail_next(&self, pushes: u64, failure: ApnsFailure) {
        self.shared.failures.set(failure, pushes);
    }

    /// Answers a share (0 to 1) of the pushes that are otherwise correct with a failure, at random;
    /// replaces earlier shares.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::Shares`] if they are not shares of one whole.
    pub fn set_failure_shares(&self, shares: &[(f64, ApnsFailure)]) -> Result<(), SimulatorError> {
        self.shared.failures.set_shares(shares)
    }

    pub(super) fn find_device(&self, token: &str) -> Option<ApnsDeviceState> {
        self.shared.devices.find(token)
    }

    pub(super) fn take_failure(&self) -> Option<ApnsFailure> {
        self.shared.failures.take()
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.shared.pending
    }

    pub(super) fn expired_up_to_secs(&self) -> i64 {
        self.shared.expired_up_to_secs.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for ApnsControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApnsControl")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
