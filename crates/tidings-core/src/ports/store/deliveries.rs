//! Pushes that fall due, and the log of all attempts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    device::Device,
    ids::{DeviceId, NotificationId, Seq, UserId},
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
    pub devices: Vec<Device>,
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

/// What came of a [`PushJob`].
#[derive(Debug, Clone)]
pub struct PushSettlement {
    /// Which push. It is done, except for `retries`.
    pub job: PushJob,
    /// Rows for the delivery log.
    pub deliveries: Vec<Delivery>,
    /// Devices to be tried again.
    pub retries: Vec<DueRetry>,
    /// Devices to be forgotten.
    pub prunes: Vec<Prune>,
}

impl PushSettlement {
    /// The retry, if it is the same push at another time: then nothing ends, and a store has only to
    /// move it. A service that is out of reach puts off all pushes that wait for it.
    #[must_use]
    pub fn moved(&self) -> Option<&DueRetry> {
        match self.retries.as_slice() {
            [retry] if self.job.device.as_ref() == Some(&retry.device) => Some(retry),
            _ => None,
        }
    }
}

/// The most rows of the delivery log that one page looks at: no filter makes a page expensive.
pub const MAX_LOG_LOOKS: usize = 5_000;

/// The number of a row in the delivery log.
///
/// Numbers grow in the order in which rows are written, which is about the order of their times; some
/// are never used, and none is used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DeliveryNumber(pub u64);

/// A row of the delivery log with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedDelivery {
    /// Its number.
    pub number: DeliveryNumber,
    /// The row.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// Which rows of the delivery log are wanted; all unless it is narrowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this channel.
    pub channel: Option<Channel>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// That ended at this time or later.
    pub since: Option<Timestamp>,
    /// That ended before this time.
    pub until: Option<Timestamp>,
}

impl DeliveryFilter {
    /// Whether `delivery` is wanted.
    #[must_use]
    pub fn takes(&self, delivery: &Delivery) -> bool {
        self.channel.is_none_or(|channel| delivery.channel == channel)
            && self.outcome.is_none_or(|outcome| delivery.outcome == outcome)
            && self.since.is_none_or(|since| delivery.at >= since)
            && self.until.is_none_or(|until| delivery.at < until)
    }
}

/// A row's place among those of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryPlace {
    /// The notification's place in the inbox.
    pub seq: Seq,
    /// The row's number.
    pub number: DeliveryNumber,
}

/// A part of a user's delivery log, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserLogPage {
    /// The rows that are wanted.
    pub rows: Vec<LoggedDelivery>,
    /// The place that was looked at last; `None` at the end.
    pub next: Option<DeliveryPlace>,
}

/// A part of the whole delivery log, in the order in which it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The rows that are wanted.
    pub rows: Vec<LoggedDelivery>,
    /// Whatever is wanted up to here was given by now; what comes later has a higher number.
    pub upto: DeliveryNumber,
    /// Whether that is all there is for now.
    pub complete: bool,
}

/// Pushes that fall due, and the log of all attempts.
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
    /// claimed since, is left alone, with its log rows still written: the attempt was made.
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

    /// The log of one notification, oldest first, at most `limit` rows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_deliveries(
        &self,
        notification: NotificationId,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Up to `limit` rows of a user's log that `filter` takes, newest notification first, and of one
    /// notification the last row first; those before the place `before`, if it is given. A page looks
    /// at [`MAX_LOG_LOOKS`] rows, so it may be empty and not the last.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_user_deliveries(
        &self,
        user: &UserId,
        filter: DeliveryFilter,
        before: Option<DeliveryPlace>,
        limit: usize,
    ) -> Result<UserLogPage, StoreError>;

    /// Up to `limit` rows of the whole log, or of one user's, that `filter` takes, in the order of their
    /// numbers: those after the number `after`, or from the first on. A page looks at about
    /// [`MAX_LOG_LOOKS`] rows, so it may be empty and not the last.
    ///
    /// Whoever goes on after [`LogPage::upto`] misses no row, whatever is written meanwhile: a row is
    /// given only when all with lower numbers can be seen. Without `after`, reading begins about where
    /// `filter.since` does and not at the first row: rows of that time which were written a thousand
    /// rows too late for their time may be missed at the beginning, and at the end for `filter.until`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn read_log(
        &self,
        user: Option<&UserId>,
        filter: DeliveryFilter,
        after: Option<DeliveryNumber>,
        limit: usize,
    ) -> Result<LogPage, StoreError>;
}
