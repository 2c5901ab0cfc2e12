//! The handle that makes a Web Push simulator misbehave, and that its browser is asked through.

use std::fmt;
use std::sync::Arc;

use super::subscription::{SubscribeOptions, Subscriptions, WebPushSubscription};
use super::{WebPushDeviceState, WebPushFailure};
use crate::device_states::DeviceStates;
use crate::faults::Failures;
use crate::pending::Pending;
use crate::{AcceptedPush, Clock, ConnectionFaults, SimulatorError};

/// Subscribes, sets device states and orders faults; cloning shares them. Everything acts at once.
#[derive(Clone)]
pub struct WebPushControl {
    connections: ConnectionFaults,
    shared: Arc<Shared>,
}

struct Shared {
    subscriptions: Subscriptions,
    devices: DeviceStates<WebPushDeviceState>,
    failures: Failures<WebPushFailure>,
    pending: Pending,
    clock: Clock,
}

impl WebPushControl {
    pub(super) fn new(
        connections: ConnectionFaults,
        subscriptions: Subscriptions,
        max_device_states: usize,
        clock: Clock,
    ) -> Self {
        let shared = Shared {
            subscriptions,
            devices: DeviceStates::new(max_device_states),
            failures: Failures::none(),
            pending: Pending::default(),
            clock,
        };
        Self { connections, shared: Arc::new(shared) }
    }

    /// Faults of the transport.
    #[must_use]
    pub fn connections(&self) -> &ConnectionFaults {
        &self.connections
    }

    /// Subscribes as a page would through its browser. A name that is taken is subscribed anew.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::ApplicationServerKey`] or [`SimulatorError::SubscriptionName`] if the options
    /// cannot be right, [`SimulatorError::TooManySubscriptions`] if there are too many.
    pub fn subscribe(
        &self,
        options: &SubscribeOptions,
    ) -> Result<Arc<WebPushSubscription>, SimulatorError> {
        self.shared.subscriptions.add(options)
    }

    /// Puts the subscription with this endpoint into `state`. With `*` in it, for any characters, it
    /// is a pattern; endpoints set by themselves come first, then the oldest pattern.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::TooManyDeviceStates`] if the table is full.
    pub fn set_device(
        &self,
        endpoint: &str,
        state: WebPushDeviceState,
    ) -> Result<(), SimulatorError> {
        self.shared.devices.put(endpoint, state)
    }

    /// Makes the subscription live again, and gives its browser what was kept for it.
    pub fn revive_device(&self, endpoint: &str) {
        self.shared.devices.remove(endpoint);
        self.shared.pending.clear(endpoint);
    }

    /// What is kept for a browser that is offline, the oldest first.
    #[must_use]
    pub fn kept_for(&self, endpoint: &str) -> Vec<Arc<AcceptedPush>> {
        self.shared.pending.list(endpoint, (self.shared.clock)())
    }

    /// Answers the next `messages` messages that are otherwise correct with `failure`; replaces what
    /// is left of an earlier order.
    pub fn fail_next(&self, messages: u64, failure: WebPushFailure) {
        self.shared.failures.set(failure, messages);
    }

    /// Answers a share (0 to 1) of the messages that are otherwise correct with a failure, at random;
    /// replaces earlier shares.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::Shares`] if they are not shares of one whole.
    pub fn set_failure_shares(
        &self,
        shares: &[(f64, WebPushFailure)],
    ) -> Result<(), SimulatorError> {
        self.shared.failures.set_shares(shares)
    }

    pub(super) fn subscriptions(&self) -> &Subscriptions {
        &self.shared.subscriptions
    }

    pub(super) fn find_device(&self, endpoint: &str) -> Option<WebPushDeviceState> {
        self.shared.devices.find(endpoint)
    }

    pub(super) fn take_failure(&self) -> Option<WebPushFailure> {
        self.shared.failures.take()
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.shared.pending
    }
}

impl fmt::Debug for WebPushControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebPushControl")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
