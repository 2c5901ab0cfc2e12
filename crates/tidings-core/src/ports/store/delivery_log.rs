//! The log of all attempts.

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    ids::{NotificationId, Seq, UserId},
    ports::StoreError,
};

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

/// A part of the log of one notification, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationLogPage {
    /// The rows that are wanted.
    pub rows: Vec<LoggedDelivery>,
    /// The row that was looked at last; `None` at the end.
    pub next: Option<DeliveryNumber>,
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

/// The log of all attempts. Rows are written by [`settle`](super::DeliveryStore::settle), and by whoever
/// stores acknowledgements.
#[async_trait]
pub trait DeliveryLogStore: Send + Sync + 'static {
    /// Up to `limit` rows, 1 at least, of the log of one notification that `filter` takes, in the order
    /// of their numbers: those after the number `after`, or from the first on. A page looks at
    /// [`MAX_LOG_LOOKS`] rows, so it may be empty and not the last.
    ///
    /// Rows that are written at the same time may become visible in another order: whoever has to miss
    /// none of them uses [`read_log`](Self::read_log).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn list_deliveries(
        &self,
        notification: NotificationId,
        filter: DeliveryFilter,
        after: Option<DeliveryNumber>,
        limit: usize,
    ) -> Result<NotificationLogPage, StoreError>;

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
