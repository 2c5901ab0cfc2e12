//! What waits for one session.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use tidings_core::{
    clock::Timestamp,
    ids::{NotificationId, Seq},
};

/// Updates of marks that wait for a slow session: beyond it only the newest, with its unread count,
/// is of any use.
const UPDATES: usize = 16;

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
struct Queue {
    notifications: VecDeque<(NotificationId, Arc<str>)>,
    updates: VecDeque<Arc<str>>,
    /// How far the inbox reaches, if someone has looked.
    head: Seq,
    lagged: bool,
    recheck: bool,
    revoked: Option<Timestamp>,
}

impl Queue {
    /// Takes the lag first: what follows is newer than it.
    fn take(&mut self) -> Option<Waiting> {
        if std::mem::take(&mut self.recheck) {
            return Some(Waiting::Recheck);
        }
        if let Some(before) = self.revoked.take() {
            return Some(Waiting::Revoked(before));
        }
        if std::mem::take(&mut self.lagged) {
            return Some(Waiting::Lagged);
        }
        if let Some((id, frame)) = self.notifications.pop_front() {
            return Some(Waiting::Notification(id, frame));
        }
        // After the notifications: those that wait here need not be read from the store.
        let head = std::mem::take(&mut self.head);
        if head > Seq::ZERO {
            return Some(Waiting::Reaches(head));
        }
        self.updates.pop_front().map(Waiting::Update)
    }

    fn is_empty(&self) -> bool {
        let is_quiet = !self.recheck && !self.lagged && self.revoked.is_none();
        is_quiet
            && self.head == Seq::ZERO
            && self.notifications.is_empty()
            && self.updates.is_empty()
    }
}

#[derive(Default)]
struct State {
    /// There while something waits only: nearly all mailboxes are empty nearly always.
    queue: Option<Box<Queue>>,
    /// Wakes the session, if it waits.
    session: Option<Waker>,
}

/// What waits for one session: bounded, and never waited for by those who fill it. A session that
/// falls behind loses its queue, not its place: it reads from the store what it missed.
pub(super) struct Mailbox {
    state: Mutex<State>,
    capacity: usize,
}

impl Mailbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits, and wakes the session.
    fn leave(&self, change: impl FnOnce(&mut Queue)) {
        let session = {
            let mut state = self.state();
            change(state.queue.get_or_insert_default());
            state.session.take()
        };
        // Woken without the lock, which is the first thing that the session takes.
        if let Some(session) = session {
            session.wake();
        }
    }

    /// Leaves a notification; when there is no room, drops all that wait.
    pub(super) fn put(&self, id: NotificationId, frame: &Arc<str>) {
        self.leave(|queue| {
            if queue.notifications.len() >= self.capacity {
                queue.notifications.clear();
                queue.lagged = true;
                metrics::counter!("tidings_realtime_lagged_total").increment(1);
            }
            if !queue.lagged {
                queue.notifications.push_back((id, Arc::clone(frame)));
            }
        });
    }

    /// Has the session read from the store, also what waits here: all of it is there.
    pub(super) fn put_lag(&self) {
        self.leave(|queue| {
            queue.notifications.clear();
            queue.lagged = true;
        });
    }

    /// Has the session look whether its token still holds.
    pub(super) fn put_recheck(&self) {
        self.leave(|queue| queue.recheck = true);
    }

    /// Says how far the inbox reaches. A session that lacks nothing up to there does nothing.
    pub(super) fn put_head(&self, seq: Seq) {
        self.leave(|queue| queue.head = queue.head.max(seq));
    }

    /// Ends the session if its token was issued earlier.
    pub(super) fn put_revoked(&self, before: Timestamp) {
        self.leave(|queue| queue.revoked = queue.revoked.max(Some(before)));
    }

    /// Leaves an update; when there is no room, drops the oldest.
    pub(super) fn put_update(&self, frame: &Arc<str>) {
        self.leave(|queue| {
            if queue.updates.len() >= UPDATES {
                queue.updates.pop_front();
            }
            queue.updates.push_back(Arc::clone(frame));
        });
    }

    /// Takes what waits, if anything does.
    pub(super) fn take(&self) -> Option<Waiting> {
        let mut state = self.state();
        let queue = state.queue.as_mut()?;
        let waiting = queue.take();
        if queue.is_empty() {
            state.queue = None;
        }
        waiting
    }

    /// Waits until something waits. For one task at a time; cancel-safe, since it takes nothing.
    pub(super) async fn ready(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.queue.is_some() {
                return Poll::Ready(());
            }
            match &mut state.session {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

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

    #[test]
    fn an_empty_mailbox_is_small_and_keeps_no_room() {
        // With the two counters of its `Arc`, a size class of 64 bytes.
        assert!(size_of::<Mailbox>() <= 48, "{}", size_of::<Mailbox>());
        let mailbox = Mailbox::new(64);
        let frame: Arc<str> = Arc::from("x");
        for seq in 1..=64 {
            mailbox.put(id(seq), &frame);
        }
        mailbox.put_update(&frame);
        while mailbox.take().is_some() {}
        assert!(mailbox.state().queue.is_none());
    }

    #[test]
    fn a_mailbox_is_ready_for_as_long_as_something_waits() {
        let is_ready = |mailbox: &Mailbox| {
            let mut ready = std::pin::pin!(mailbox.ready());
            ready.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        let mailbox = Mailbox::new(2);
        assert!(!is_ready(&mailbox));
        mailbox.put_lag();
        assert!(is_ready(&mailbox) && is_ready(&mailbox));
        mailbox.take();
        assert!(!is_ready(&mailbox));
        mailbox.put_update(&Arc::from("x"));
        assert!(is_ready(&mailbox));
    }
}
