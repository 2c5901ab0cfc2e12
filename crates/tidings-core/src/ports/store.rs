//! Where notifications, devices, deliveries and dead letters are kept.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    batch::{AppendedEvent, NotificationBatch},
    clock::Timestamp,
    delivery::Delivery,
    device::Device,
    ids::{DeviceId, NotificationId, Seq, UserId},
    inbox::{InboxState, Mark, Selection},
    notification::Notification,
    ports::StoreError,
};

/// Notifications and inboxes.
#[async_trait]
pub trait NotificationStore: Send + Sync + 'static {
    /// Makes a batch durable in one transaction and says what became of each event, in the order of
    /// the batch.
    ///
    /// Each new row gets the next `seq` of its inbox and counts as unread; a row whose
    /// (user, source, event id) is known is a duplicate and changes nothing. An event whose
    /// (source, id) is known keeps the content that arrived first, also for users who are new to it.
    /// A recipient with `push_at` who has at least one device gets a push that falls due then.
    /// When this returns, all of it survives `kill -9` and power loss.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if nothing was committed, or nobody knows: appending again is safe.
    async fn append(
        &self,
        batch: NotificationBatch,
        now: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError>;

    /// The counters of an inbox; all zero for a user without one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn inbox(&self, user: &UserId) -> Result<InboxState, StoreError>;

    /// Up to `limit` notifications after `after`, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_after(
        &self,
        user: &UserId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError>;

    /// Up to `limit` notifications that are not archived, newest first, before `before` if that is
    /// given.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_newest(
        &self,
        user: &UserId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError>;

    /// The notification with this id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn find(&self, id: NotificationId) -> Result<Option<Notification>, StoreError>;

    /// Marks notifications of one inbox and returns its counters afterwards. Idempotent: the first
    /// time of a mark stands, and `unread` counts what is neither read nor archived.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if nothing was marked, or nobody knows: marking again is safe.
    async fn mark(
        &self,
        user: &UserId,
        mark: Mark,
        selection: Selection,
        now: Timestamp,
    ) -> Result<InboxState, StoreError>;

    /// Notes that a live session of the user has everything up to `seq`, and logs `deliveries` with
    /// it. Never moves back, nor beyond the newest notification.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if nothing was noted, or nobody knows: noting again logs the
    /// deliveries again, and changes nothing else.
    async fn acknowledge(
        &self,
        user: &UserId,
        seq: Seq,
        deliveries: Vec<Delivery>,
    ) -> Result<(), StoreError>;

    /// Asks the store for a sign of life, through the path that appends take.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with the cause.
    async fn check(&self) -> Result<(), StoreError>;
}

/// Devices that can be pushed to.
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// Registers a device, or refreshes it: token, app and time are replaced. A token that another
    /// device has, of whatever user, is taken from it, and that device is removed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn put_device(&self, device: Device) -> Result<(), StoreError>;

    /// The user's devices, ordered by id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError>;

    /// Removes a device; fine if there is none. Says whether there was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn remove_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError>;
}

/// Names a push that has fallen due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PushJob {
    /// The notification.
    pub notification: NotificationId,
    /// The device, once routing has chosen it; `None` before.
    pub device: Option<DeviceId>,
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

/// Pushes that fall due, and the log of all attempts.
#[async_trait]
pub trait DeliveryStore: Send + Sync + 'static {
    /// Leases up to `limit` pushes that are due at `now`, oldest first. A lease that is not settled
    /// within `lease` ends, and the push is due again: a worker that dies loses nothing.
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

    /// Settles leased pushes in one transaction. A push that is settled already is left alone, with
    /// its log rows still written: the attempt was made.
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
}

/// The number of a dead letter, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DeadLetterId(pub u64);

/// An input that could not become an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// Where it came from, for example `http`.
    pub origin: String,
    /// Why it was refused.
    pub reason: String,
    /// The input as it came, cut to what the caller chooses to keep.
    pub payload: Vec<u8>,
    /// When it came.
    pub at: Timestamp,
}

/// An input that could not become an event, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// The input and why it was refused.
    pub letter: NewDeadLetter,
}

/// Inputs that could not become events.
#[async_trait]
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Keeps letters, durably, in their order. Beyond the number that the store was told to keep,
    /// the oldest are dropped; returns how many were.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn append_dead_letters(&self, letters: Vec<NewDeadLetter>) -> Result<u64, StoreError>;

    /// Up to `limit` letters before `before`, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_dead_letters(
        &self,
        before: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Removes a letter; fine if there is none. Says whether there was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn remove_dead_letter(&self, id: DeadLetterId) -> Result<bool, StoreError>;
}
