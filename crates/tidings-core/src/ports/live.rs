//! Live sessions, as the engine sees them.

use crate::{
    batch::AppendedEvent,
    clock::Timestamp,
    ids::{Seq, UserId},
    inbox::{Mark, Selection},
};

/// Whether anyone is looking.
pub trait Presence: Send + Sync + 'static {
    /// Whether the user has a live session now, on any node. A hint: it may change before it is used,
    /// and while nodes cannot hear each other it knows of this node only. Cheap, and never waits.
    fn is_online(&self, user: &UserId) -> bool;
}

/// Takes what has just been committed to the live sessions.
///
/// A hint, not a promise: it does not wait, and what it drops is repaired from the store by `seq`.
/// Called in commit order per inbox wherever one process is the only writer; out of order costs
/// sessions a look into the store, never a hole.
pub trait LiveNotifications: Send + Sync + 'static {
    /// Offers the new notifications of `appended` to the sessions of their users.
    fn broadcast_notification(&self, appended: &AppendedEvent);

    /// Has the user's sessions look into the store: it may hold notifications that were committed
    /// without anyone hearing of it. A hint likewise; costs a session that lacks nothing one read.
    fn prompt_look(&self, user: &UserId);

    /// Has the sessions of all users, on all nodes, look likewise, as fast as the store is read for many at
    /// once: it was away, and may have committed what nobody heard of.
    fn prompt_all(&self);
}

/// What all sessions of a user are told, on whatever node they are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionHint {
    /// Notifications were marked on some screen.
    Marked {
        /// What was said of them.
        mark: Mark,
        /// Which.
        selection: Selection,
        /// The inbox's count afterwards.
        unread: u64,
        /// The newest notification that is counted in it.
        last_seq: Seq,
    },
    /// The store may hold notifications that nobody heard of.
    Look,
    /// Sessions whose tokens were issued earlier, or do not say when, are to end.
    Revoke {
        /// Whatever was issued earlier is not good any more.
        before: Timestamp,
    },
}

/// What became of a user's sessions on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    /// The first session has opened.
    Came,
    /// The last session has ended.
    Left,
}

/// Tells the other nodes what their sessions have to hear, and knows who has sessions there.
///
/// Everything is a hint. A call neither waits nor fails: it is on the path of a commit, and what was
/// committed stays so whatever becomes of the bus. Messages may be lost, doubled and late. An adapter
/// that loses messages notices it by itself, and has the sessions of its node repaired from the store:
/// within a second, as long as the node's users are few enough for the rate that it may ask at.
///
/// What one node says of one user arrives in the order in which it was said; of several nodes, in any.
pub trait RealtimeBus: Send + Sync + 'static {
    /// Tells the other nodes of the notifications that are new in `appended`.
    fn publish_notification(&self, appended: &AppendedEvent);

    /// Tells the user's sessions on other nodes.
    fn publish_hint(&self, user: &UserId, hint: &SessionHint);

    /// Has the sessions of all users, here and on other nodes, look into the store at a bounded rate. Says
    /// whether it does so for those here.
    fn prompt_all(&self) -> bool;

    /// Tells the other nodes that the user has sessions here from now on, or no more.
    fn announce(&self, user: &UserId, attendance: Attendance);

    /// Whether another node said lately that the user has sessions there. False while that cannot be
    /// known: then a push falls due at once that might have waited for an acknowledgement.
    fn is_online_elsewhere(&self, user: &UserId) -> bool;
}
