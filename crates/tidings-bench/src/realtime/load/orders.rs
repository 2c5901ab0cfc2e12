//! What the generator is told, and what it answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Schedule;

/// What the clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::realtime) enum Protocol {
    /// `tidings.v1`.
    Tidings,
    /// Centrifugo's JSON protocol, with server-side subscriptions.
    Centrifugo,
    /// No greeting: frames come after the upgrade.
    Bare,
}

/// Whose notifications a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::realtime) enum Inboxes {
    /// Each its own: an event is for [`super::recipient`].
    Own,
    /// All the same: an event is for everyone.
    Shared,
}

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::realtime) struct Settings {
    pub(in crate::realtime) protocol: Protocol,
    pub(in crate::realtime) address: SocketAddr,
    /// Signs the tokens (HS256).
    pub(in crate::realtime) secret: String,
    /// Clients at most; client `n` is user `n`.
    pub(in crate::realtime) clients: u32,
    pub(in crate::realtime) inboxes: Inboxes,
    /// With inboxes of their own: events are for the first so many clients.
    pub(in crate::realtime) told: u32,
    /// Events are numbered below this.
    pub(in crate::realtime) events: u64,
    /// The first so many clients have small receive buffers, so that not reading is felt by the node.
    pub(in crate::realtime) narrow: u32,
}

/// A further line.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::realtime) enum Order {
    /// Hold so many clients.
    Open { clients: u32 },
    /// Measure the latency of these events from when they are due.
    Measure(Schedule),
    /// Forget when the first and the last notification came.
    Fresh,
    /// Forget how long connections and replays took.
    Forget,
    /// Every client leaves for `offline_ms` every `every_ms`, each at another time; 0 ends it.
    Blink { every_ms: u64, offline_ms: u64 },
    /// Connect to this address from now on.
    Move { address: SocketAddr },
    /// The first so many clients read no more than so many bytes a second, the others all.
    Slow { clients: u32, bytes_per_s: u32 },
    /// Only answer.
    Look,
}

/// Some percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// How things are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::realtime) struct Status {
    /// Clients whose session is open.
    pub(in crate::realtime) live: u32,
    /// Those of them that have all that was in their inbox when they were welcomed.
    pub(in crate::realtime) caught_up: u32,
    /// Notifications that came, each counted once.
    pub(in crate::realtime) arrived: u64,
    /// Notifications that came once more.
    pub(in crate::realtime) doubled: u64,
    /// Notifications that came before one that should have come earlier.
    pub(in crate::realtime) misplaced: u64,
    /// Notifications of somebody else, or of no event.
    pub(in crate::realtime) strange: u64,
    /// Bytes of the texts of all notifications.
    pub(in crate::realtime) text_bytes: u64,
    /// Sessions that were open and ended other than by leaving.
    pub(in crate::realtime) cut: u64,
    /// Attempts that did not become a session.
    pub(in crate::realtime) refused: u64,
    /// When the first notification came, in microseconds since 1970; 0 for none.
    pub(in crate::realtime) first_us: u64,
    /// When the last one came.
    pub(in crate::realtime) last_us: u64,
    /// From when an event was due to its arrival.
    pub(in crate::realtime) latency: Percentiles,
    /// From the beginning of a connection to the last notification that was missed meanwhile; of
    /// those that missed any.
    pub(in crate::realtime) replay: Percentiles,
    /// From the beginning of a connection to the welcome.
    pub(in crate::realtime) connect: Percentiles,
    /// Why a session ended last, for people.
    pub(in crate::realtime) trouble: Option<String>,
}
