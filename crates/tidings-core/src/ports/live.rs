//! Live sessions, as the engine sees them.

use crate::{batch::AppendedEvent, ids::UserId};

/// Whether anyone is looking.
pub trait Presence: Send + Sync + 'static {
    /// Whether the user has a live session now. A hint: it may change before it is used.
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
}
