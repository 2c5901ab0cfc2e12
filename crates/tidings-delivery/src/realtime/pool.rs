//! The live sessions of this node, by user.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_core::{
    batch::AppendedEvent,
    clock::Timestamp,
    ids::{NotificationId, UserId},
    inbox::{InboxState, Mark, Selection},
    ports::{Attendance, LiveNotifications, Presence, RealtimeBus, SessionHint},
};

use super::{
    bus::{InProcessBus, SHARDS, ShardIndex, UserHash},
    mailbox::Mailbox,
    protocol::{EventFrames, Marked, ServerFrame},
};

/// There is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolFull {
    /// The node holds as many as it may.
    #[error("the node holds as many sessions as it may")]
    Node,
    /// The user has as many as one may have.
    #[error("the user has as many sessions as one may have")]
    User,
}

type Shard = HashMap<UserId, Vec<Arc<Mailbox>>>;

/// The live sessions of this node, by user; what they hear, the bus takes to those of other nodes.
pub struct ConnectionPool {
    /// As the bus has them: many, so that sessions that come and go do not hold up broadcasts.
    shards: Box<[Mutex<Shard>]>,
    bus: Arc<dyn RealtimeBus>,
    sessions: AtomicUsize,
    sessions_max: usize,
    per_user_max: usize,
    mailbox_frames: usize,
}

impl ConnectionPool {
    /// A pool of at most `sessions_max` sessions, `per_user_max` of one user, each with a mailbox of
    /// `mailbox_frames` frames.
    #[must_use]
    pub fn new(sessions_max: usize, per_user_max: usize, mailbox_frames: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bus: Arc::new(InProcessBus),
            sessions: AtomicUsize::new(0),
            sessions_max,
            per_user_max,
            mailbox_frames: mailbox_frames.max(1),
        }
    }

    /// The same, with other nodes on `bus`.
    #[must_use]
    pub fn with_bus(self, bus: Arc<dyn RealtimeBus>) -> Self {
        Self { bus, ..self }
    }

    /// Sessions that are open now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Whether no session is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, user: &UserId) -> MutexGuard<'_, Shard> {
        self.shard_at(UserHash::of(user).shard())
    }

    fn shard_at(&self, index: ShardIndex) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(index.get())].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a place for a session, which lasts as long as the answer lives. What is broadcast from
    /// now on is in its mailbox.
    pub(super) fn register(self: &Arc<Self>, user: &UserId) -> Result<Registration, PoolFull> {
        if self.sessions.fetch_add(1, Ordering::Relaxed) >= self.sessions_max {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(PoolFull::Node);
        }
        let mailbox = Arc::new(Mailbox::new(self.mailbox_frames));
        {
            let mut shard = self.shard(user);
            let sessions = shard.entry(user.clone()).or_default();
            if sessions.len() >= self.per_user_max {
                drop(shard);
                self.sessions.fetch_sub(1, Ordering::Relaxed);
                return Err(PoolFull::User);
            }
            // Most users have one session, and a Vec would make room for four.
            sessions.reserve_exact(1);
            sessions.push(Arc::clone(&mailbox));
            if sessions.len() == 1 {
                // While the shard is locked, so that the bus hears of it in order.
                self.bus.announce(user, Attendance::Came);
            }
        }
        metrics::gauge!("tidings_realtime_sessions").increment(1.0);
        Ok(Registration { pool: Arc::clone(self), user: user.clone(), mailbox })
    }

    /// Tells the user's sessions, on all nodes, that notifications were marked on some screen; `inbox` is
    /// what the store said of it.
    pub fn broadcast_mark(
        &self,
        user: &UserId,
        mark: Mark,
        selection: &Selection,
        inbox: &InboxState,
    ) {
        let InboxState { unread, last_seq, .. } = *inbox;
        let selection = selection.clone();
        self.broadcast_hint(user, &SessionHint::Marked { mark, selection, unread, last_seq });
    }

    /// Ends the user's sessions, on all nodes, whose tokens were issued before `before` or do not say when.
    /// Their clients come back with a new token.
    pub fn revoke(&self, user: &UserId, before: Timestamp) {
        self.broadcast_hint(user, &SessionHint::Revoke { before });
    }

    fn broadcast_hint(&self, user: &UserId, hint: &SessionHint) {
        self.hear_hint(user, hint);
        self.bus.publish_hint(user, hint);
    }

    /// Tells the user's sessions on this node.
    pub(super) fn hear_hint(&self, user: &UserId, hint: &SessionHint) {
        let sessions = self.sessions_of(user);
        match hint {
            _ if sessions.is_empty() => {}
            SessionHint::Marked { mark, selection, unread, last_seq } => {
                let what = Marked::new(*mark, selection);
                let (unread, seq) = (*unread, *last_seq);
                put_update(&sessions, &ServerFrame::Update { what, unread, seq });
            }
            SessionHint::Look => sessions.iter().for_each(|mailbox| mailbox.put_lag()),
            SessionHint::Revoke { before } => {
                sessions.iter().for_each(|mailbox| mailbox.put_revoked(*before));
            }
            // A hint that a later version knows: the store tells the rest.
            _ => {}
        }
    }

    /// Offers a notification that another node stored to the user's sessions here.
    pub(super) fn hear_notification(
        &self,
        user: &str,
        id: NotificationId,
        frame: impl FnOnce() -> Arc<str>,
    ) {
        let shard = self.shard_at(UserHash::of_text(user).shard());
        let Some(sessions) = shard.get(user) else { return };
        let frame = frame();
        for mailbox in sessions {
            mailbox.put(id, &frame);
        }
    }

    /// Has the user's sessions look whether their tokens still hold; those whose do not are closed.
    pub fn recheck_sessions(&self, user: &UserId) {
        for mailbox in self.sessions_of(user) {
            mailbox.put_recheck();
        }
    }

    /// Tells the user's sessions here how far the inbox reaches, and the count if it is news.
    pub(super) fn hear_head(&self, user: &UserId, inbox: &InboxState, count: CountIs) {
        let sessions = self.sessions_of(user);
        for mailbox in &sessions {
            mailbox.put_head(inbox.last_seq);
        }
        if count == CountIs::News && !sessions.is_empty() {
            let (unread, seq) = (inbox.unread, inbox.last_seq);
            put_update(&sessions, &ServerFrame::Count { unread, seq });
        }
    }

    /// The users of a shard that have sessions here.
    pub(super) fn users_of(&self, shard: ShardIndex) -> Vec<UserId> {
        self.shard_at(shard).keys().cloned().collect()
    }

    /// Shows the users of a shard that have sessions here, while none can come or leave.
    pub(super) fn with_users_of(
        &self,
        shard: ShardIndex,
        look: impl FnOnce(&mut dyn Iterator<Item = &UserId>),
    ) {
        look(&mut self.shard_at(shard).keys());
    }

    fn sessions_of(&self, user: &UserId) -> Vec<Arc<Mailbox>> {
        self.shard(user).get(user).cloned().unwrap_or_default()
    }
}

impl Presence for ConnectionPool {
    fn is_online(&self, user: &UserId) -> bool {
        self.shard(user).contains_key(user) || self.bus.is_online_elsewhere(user)
    }
}

impl LiveNotifications for ConnectionPool {
    fn broadcast_notification(&self, appended: &AppendedEvent) {
        let mut frames = EventFrames::new(appended);
        for stored in &appended.stored {
            let shard = self.shard(&stored.user);
            let Some(sessions) = shard.get(&stored.user) else { continue };
            // Mailboxes do not wait, so the shard can stay locked.
            let frame = frames.frame(stored.id, &stored.user);
            for mailbox in sessions {
                mailbox.put(stored.id, &frame);
            }
        }
        self.bus.publish_notification(appended);
    }

    fn prompt_look(&self, user: &UserId) {
        self.broadcast_hint(user, &SessionHint::Look);
    }

    fn prompt_all(&self) {
        if self.bus.prompt_all() {
            return;
        }
        for shard in ShardIndex::all() {
            self.shard_at(shard).values().flatten().for_each(|mailbox| mailbox.put_lag());
        }
    }
}

/// Whether sessions were told this count of unread notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountIs {
    News,
    Told,
}

fn put_update(sessions: &[Arc<Mailbox>], frame: &ServerFrame<'_>) {
    let frame: Arc<str> = Arc::from(frame.to_text());
    for mailbox in sessions {
        mailbox.put_update(&frame);
    }
}

/// A session's place in the pool.
pub(super) struct Registration {
    pool: Arc<ConnectionPool>,
    user: UserId,
    mailbox: Arc<Mailbox>,
}

impl Registration {
    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        {
            let mut shard = self.pool.shard(&self.user);
            if let Some(sessions) = shard.get_mut(&self.user) {
                sessions.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
                if sessions.is_empty() {
                    shard.remove(&self.user);
                    self.pool.bus.announce(&self.user, Attendance::Left);
                }
            }
        }
        self.pool.sessions.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("tidings_realtime_sessions").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_a_place_is_free_again_when_a_session_ends() {
        let pool = Arc::new(ConnectionPool::new(3, 2, 8));
        let [ann, ben] = ["ann", "ben"].map(|id| UserId::new(id).unwrap());
        let first = pool.register(&ann).unwrap();
        let _second = pool.register(&ann).unwrap();
        assert_eq!(pool.register(&ann).err(), Some(PoolFull::User));
        let _third = pool.register(&ben).unwrap();
        assert_eq!(pool.register(&ben).err(), Some(PoolFull::Node));
        drop(first);
        assert!(pool.is_online(&ann) && pool.len() == 2);
        let _fourth = pool.register(&ben).unwrap();
    }
}
