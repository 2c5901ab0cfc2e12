//! What waits for one session.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidings_core::{
    clock::Timestamp,
    ids::{NotificationId, Seq},
};
use tokio::sync::Notify;

/// Updates of marks that wait for a slow session: beyond it only the newest, with its unread count,
/// is of any use.
const UPDATES: usize = 16;

/// What an idle mailbox may keep room for.
const IDLE_CAPACITY: usize = 4;

/// A frame that waits for a session.
#[derive(Debug, Clone)]
pub(super) enum Waiting {
    /// This notification.
    Notification(NotificationId, Arc<str>),
    /// The session's token may have been revoked.
    Recheck,
    /// Something that has no place in the order.
    Update(Arc<str>),
    /// Notifications were dropped, or never left here: the session has to read from the store.
    Lagged,
    /// The inbox has at least everything up to here.
    Reaches(Seq),
    /// Tokens that were issued earlier are not good any more.
    Revoked(Timestamp),
}

#[derive(Default)]
struct State {
    notifications: VecDeque<(NotificationId, Arc<str>)>,
    updates: VecDeque<Arc<str>>,
    /// How far the inbox reaches, if someone has looked.
    head: Seq,
    lagged: bool,
    recheck: bool,
    revoked: Option<Timestamp>,
}

/// What waits for one session: bounded, and never waited for by those who fill it. A session that
/// falls behind loses its queue, not its place: it reads from the store what it missed.
pub(super) struct Mailbox {
    state: Mutex<State>,
    ready: Notify,
    capacity: usize,
}

impl Mailbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a notification; when there is no room, drops all that wait.
    pub(super) fn put(&self, id: NotificationId, frame: &Arc<str>) {
        {
            let mut state = self.state();
            if state.notifications.len() >= self.capacity {
                state.notifications.clear();
                state.lagged = true;
                metrics::counter!("tidings_realtime_lagged_total").increment(1);
            }
            if !state.lagged {
                state.notifications.push_back((id, Arc::clone(frame)));
            }
        }
        self.ready.notify_one();
    }

    /// Has the session read from the store, also what waits here: all of it is there.
    pub(super) fn put_lag(&self) {
        {
            let mut state = self.state();
            state.notifications.clear();
            state.lagged = true;
        }
        self.ready.notify_one();
    }

    /// Has the session look whether its token still holds.
    pub(super) fn put_recheck(&self) {
        self.state().recheck = true;
        self.ready.notify_one();
    }

    /// Says how far the inbox reaches. A session that lacks nothing up to there does nothing.
    pub(super) fn put_head(&self, seq: Seq) {
        {
            let mut state = self.state();
            state.head = state.head.max(seq);
        }
        self.ready.notify_one();
    }

    /// Ends the session if its token was issued earlier.
    pub(super) fn put_revoked(&self, before: Timestamp) {
        {
            let mut state = self.state();
            state.revoked = state.revoked.max(Some(before));
        }
        self.ready.notify_one();
    }

    /// Leaves an update; when there is no room, drops the oldest.
    pub(super) fn put_update(&self, frame: &Arc<str>) {
        {
            let mut state = self.state();
            if state.updates.len() >= UPDATES {
                state.updates.pop_front();
            }
            state.updates.push_back(Arc::clone(frame));
        }
        self.ready.notify_one();
    }

    /// Takes what waits, if anything does. Takes the lag first: what follows is newer than it.
    pub(super) fn take(&self) -> Option<Waiting> {
        let mut state = self.state();
        if std::mem::take(&mut state.recheck) {
            return Some(Waiting::Recheck);
        }
        if let Some(before) = state.revoked.take() {
            return Some(Waiting::Revoked(before));
        }
        if std::mem::take(&mut state.lagged) {
            return Some(Waiting::Lagged);
        }
        if let Some((id, frame)) = state.notifications.pop_front() {
            if state.notifications.is_empty() && state.notifications.capacity() > IDLE_CAPACITY {
                // A burst is over: an idle session keeps next to nothing.
                state.notifications = VecDeque::new();
            }
            return Some(Waiting::Notification(id, frame));
        }
        // After the notifications: those that wait here need not be read from the store.
        let head = std::mem::take(&mut state.head);
        if head > Seq::ZERO {
            return Some(Waiting::Reaches(head));
        }
        state.updates.pop_front().map(Waiting::Update)
    }

    /// Waits until something may wait. Cancel-safe: a wake-up that nobody took is kept.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::ids::InboxNumber;

    use super::*;

    fn id(seq: u64) -> NotificationId {
        NotificationId { inbox: InboxNumber(1), seq: Seq(seq) }
    }

    #[test]
    fn a_head_is_told_once_and_after_the_notifications_that_wait() {
        let mailbox = Mailbox::new(2);
        mailbox.put_head(Seq(7));
        mailbox.put_head(Seq(6));
        mailbox.put(id(7), &Arc::from("x"));
        assert!(matches!(mailbox.take(), Some(Waiting::Notification(it, _)) if it == id(7)));
        assert!(matches!(mailbox.take(), Some(Waiting::Reaches(Seq(7)))));
        assert!(mailbox.take().is_none());
    }

    #[test]
    fn a_full_mailbox_loses_its_queue_and_says_so_once() {
        let mailbox = Mailbox::new(2);
        let frame: Arc<str> = Arc::from("x");
        for seq in 1..=4 {
            mailbox.put(id(seq), &frame);
        }
        assert!(matches!(mailbox.take(), Some(Waiting::Lagged)));
        assert!(mailbox.take().is_none());
        mailbox.put(id(5), &frame);
        assert!(matches!(mailbox.take(), Some(Waiting::Notification(it, _)) if it == id(5)));
    }
}
