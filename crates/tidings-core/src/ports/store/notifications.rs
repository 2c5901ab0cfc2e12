//! Notifications and inboxes.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    batch::{AppendedEvent, NotificationBatch},
    clock::Timestamp,
    ids::{NotificationId, Seq, UserId},
    inbox::{Acknowledgement, InboxPage, InboxState, Mark, Selection},
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
    /// An event with a fan-out whose (source, id) has none yet gets it; one that has, keeps it as it is.
    ///
    /// The batch's dead letters, advances and fan-out steps are part of the transaction. An advance is
    /// a compare-and-set: it holds if the partition's epoch is the same and its position is where the
    /// advance starts, or where it ends (then an earlier try was committed without our knowing).
    /// A fan-out step holds likewise. If any does not, nothing of the batch is committed.
    ///
    /// The batch is shared, so that a caller whose batch was not stored still has it.
    /// When this returns, all of it survives `kill -9` and power loss.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] names the advances and steps that did not hold, [`StoreError::Refused`]
    /// means that the batch can never be stored as it is; nothing was committed then.
    /// [`StoreError::Unavailable`] if nothing was committed, or nobody knows: appending again is safe.
    async fn append(
        &self,
        batch: Arc<NotificationBatch>,
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

    /// The counters of many inboxes, in the order of `users`; all zero for a user without one. A user
    /// may be named more than once.
    ///
    /// An adapter asks its database once for all of them, which is what this is for.
    ///
    /// # Errors
    ///
    /// As [`Self::inbox`], for all of them: one inbox that cannot be read spoils the answer.
    async fn heads(&self, users: &[UserId]) -> Result<Vec<InboxState>, StoreError> {
        let mut heads = Vec::with_capacity(users.len());
        for user in users {
            heads.push(self.inbox(user).await?);
        }
        Ok(heads)
    }

    /// For each place, in their order: the inbox, and up to `limit` notifications after the place,
    /// oldest first. The counters and the notifications of a page are of the same moment, so a page
    /// that is shorter than `limit` reaches to `last_seq`. A user may be named more than once.
    ///
    /// An adapter asks its database once for all of them, which is what this is for.
    ///
    /// # Errors
    ///
    /// As [`Self::list_after`], for all of them: one inbox that cannot be read spoils the answer.
    async fn pages_after(
        &self,
        places: &[(UserId, Seq)],
        limit: usize,
    ) -> Result<Vec<InboxPage>, StoreError> {
        let mut pages = Vec::with_capacity(places.len());
        for (user, after) in places {
            // In this order, and no further than the counters: what comes in between is left out.
            let inbox = self.inbox(user).await?;
            let mut notifications = self.list_after(user, *after, limit).await?;
            notifications.retain(|it| it.seq() <= inbox.last_seq);
            pages.push(InboxPage { inbox, notifications });
        }
        Ok(pages)
    }

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

    /// Notes what live sessions have, and logs the deliveries with it, in one transaction. Stretches are
    /// joined as [`Stretch::join`](crate::inbox::Stretch::join) does, and never reach beyond the newest
    /// notification; a user without an inbox is passed over.
    ///
    /// Nobody was promised anything: a store may answer before it would survive a crash of its
    /// machine. Clients that come back say again what they have.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if nothing was noted, or nobody knows: noting again logs the
    /// deliveries again, and changes nothing else.
    async fn acknowledge(&self, acknowledged: Arc<[Acknowledgement]>) -> Result<(), StoreError>;

    /// Asks the store for a sign of life, through the path that appends take.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with the cause.
    async fn check(&self) -> Result<(), StoreError>;
}
