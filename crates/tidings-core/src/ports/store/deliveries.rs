//! Pushes that fall due, and what came of them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    delivery::Delivery,
    device::{Device, PushToken},
    ids::{DeviceId, NotificationId},
    inbox::InboxState,
    notification::Notification,
    ports::StoreError,
};

/// Names a push that has fallen due, and the lease under which it was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PushJob {
    /// The notification.
    pub notification: NotificationId,
    /// The device, once routing has chosen it; `None` before.
    pub device: Option<DeviceId>,
    /// When the lease ends. Names the lease: who settles after another has claimed the push again
    /// settles nothing.
    pub leased_until: Timestamp,
}

/// A push that has fallen due, leased to the caller with all that routing needs.
#[derive(Debug, Clone)]
pub struct DuePush {
    /// Which push.
    pub job: PushJob,
    /// The notification, with its state as of now.
    pub notification: Arc<Notification>,
    /// The counters of its inbox as of now.
    pub inbox: InboxState,
    /// The user's devices now; for a job with a device that one only, or none if it is gone.
    pub devices: Arc<[Device]>,
    /// Number of the attempt that is due, from 1.
    pub attempt: u32,
}

/// A device to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRetry {
    /// The device.
    pub device: DeviceId,
    /// Number of the attempt that is then due.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
}

/// A token that its push service declared dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// The device.
    pub device: DeviceId,
    /// Remove the device only if it was registered at this time: one that has been registered again
    /// since has a new life.
    pub registered_at: Timestamp,
}

/// A device whose push service declared its token dead, to be tried again if it has another by now: it
/// was registered anew while the push was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// When, and which attempt.
    pub retry: DueRetry,
    /// The token that is dead.
    pub dead: PushToken,
}

/// What came of a [`PushJob`].
#[derive(Debug, Clone)]
pub struct PushSettlement {
    /// Which push. It is done, except for `retries` and `renewals`.
    pub job: PushJob,
    /// Rows for the delivery log.
    pub deliveries: Vec<Delivery>,
    /// Devices to be tried again.
    pub retries: Vec<DueRetry>,
    /// Devices to be forgotten.
    pub prunes: Vec<Prune>,
    /// Devices to be tried again if they have another token.
    pub renewals: Vec<Renewal>,
}

impl PushSettlement {
    /// The retry, if it is the same push at another time: then nothing ends, and a store has only to
    /// move it. A service that is out of reach puts off all pushes that wait for it.
    #[must_use]
    pub fn moved(&self) -> Option<&DueRetry> {
        match self.retries.as_slice() {
            _ if !self.renewals.is_empty() => None,
            [retry] if self.job.device.as_ref() == Some(&retry.device) => Some(retry),
            _ => None,
        }
    }
}

/// Pushes that fall due, and what came of them.
#[async_trait]
pub trait DeliveryStore: Send + Sync + 'static {
    /// Leases up to `limit` pushes that are due at `now`, oldest first. A lease that is not settled
    /// within `lease` ends, and the push is due again: a worker that dies loses nothing. Of many
    /// workers that claim at once, each gets pushes of its own. One that cannot be read is left out,
    /// and said in the log: it does not hold up the others.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; what was leased by then falls due again.
    async fn claim_due(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<DuePush>, StoreError>;

    /// Settles leased pushes in one transaction. A push that is settled already, or that another has
    /// claimed since, is left alone, with its log rows still written: the attempt was made. A device is
    /// tried again for a [`Renewal`] if its token, as the transaction sees it, is another than the dead
    /// one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if nothing was settled, or nobody knows.
    async fn settle(&self, settlements: Vec<PushSettlement>) -> Result<(), StoreError>;

    /// When the next push falls due, leases included; `None` if none is waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;
}
