//! The live sessions of this node, by user.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_core::{
    batch::AppendedEvent,
    ids::UserId,
    inbox::{Mark, Selection},
    ports::{LiveNotifications, Presence},
};

use super::{
    mailbox::Mailbox,
    protocol::{EventFrames, Marked, ServerFrame},
};

/// Locks that the users are spread over, so that sessions that come and go do not hold up broadcasts.
const SHARDS: usize = 64;

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

/// The live sessions of this node, by user.
pub struct ConnectionPool {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
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
            hasher: RandomState::new(),
            sessions: AtomicUsize::new(0),
            sessions_max,
            per_user_max,
            mailbox_frames: mailbox_frames.max(1),
        }
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
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are as good as any")]
        let index = self.hasher.hash_one(user) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
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
        }
        metrics::gauge!("tidings_realtime_sessions").increment(1.0);
        Ok(Registration { pool: Arc::clone(self), user: user.clone(), mailbox })
    }

    /// Tells the user's sessions that notifications were marked on some screen.
    pub fn broadcast_mark(&self, user: &UserId, mark: Mark, selection: &Selection, unread: u64) {
        let sessions = self.sessions_of(user);
        if sessions.is_empty() {
            return;
        }
        let what = Marked::new(mark, selection);
        let frame: Arc<str> = Arc::from(ServerFrame::Update { what, unread }.to_text());
        for mailbox in sessions {
            mailbox.put_update(&frame);
        }
    }

    /// Has the user's sessions look whether their tokens still hold; those whose do not are closed.
    pub fn recheck_sessions(&self, user: &UserId) {
        for mailbox in self.sessions_of(user) {
            mailbox.put_recheck();
        }
    }

    fn sessions_of(&self, user: &UserId) -> Vec<Arc<Mailbox>> {
        self.shard(user).get(user).cloned().unwrap_or_default()
    }
}

impl Presence for ConnectionPool {
    fn is_online(&self, user: &UserId) -> bool {
        self.shard(user).contains_key(user)
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
    }

    fn prompt_look(&self, user: &UserId) {
        for mailbox in self.sessions_of(user) {
            mailbox.put_lag();
        }
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
