//! What happens in a subscription.

use std::time::{Duration, Instant};

/// A notification as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its place in the inbox.
    pub seq: u64,
    /// The notification as JSON.
    pub json: String,
    /// When it was read from the socket.
    pub at: Instant,
}

/// What happens in a subscription.
#[derive(Debug, Clone)]
pub enum SubscriptionEvent {
    /// The session is open.
    Welcome {
        /// The newest notification in the inbox.
        seq: u64,
        /// Notifications that are neither read nor archived.
        unread: u64,
    },
    /// The next notification; each once, in order, without holes.
    Notification(Arrival),
    /// A notification came again; it is left out.
    Repeated {
        /// Its place in the inbox.
        seq: u64,
    },
    /// The server left something out. The session is closed, and resumed after a random wait, which
    /// fills the gap.
    Gap {
        /// The last notification before it.
        after: u64,
        /// The one that came instead of the next.
        got: u64,
    },
    /// Notifications were marked on another screen.
    Unread {
        /// Notifications that are neither read nor archived.
        unread: u64,
    },
    /// The session ended and will be opened again.
    Disconnected {
        /// Why, for people.
        reason: String,
        /// When the next attempt is made.
        retry_in: Duration,
    },
}

/// Why a subscription cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The address is not that of a node.
    #[error("{url:?} is not the address of a node")]
    Address {
        /// What was given.
        url: String,
    },
    /// The server will not have this session, now or later.
    #[error("the session was refused: {reason} ({code})")]
    Refused {
        /// The close code.
        code: u16,
        /// Why, in the server's words.
        reason: String,
    },
    /// The budget of attempts is spent.
    #[error("gave up after {attempts} attempts: {last}")]
    GaveUp {
        /// How many there were.
        attempts: u32,
        /// What ended the last.
        last: String,
    },
}
