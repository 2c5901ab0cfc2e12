//! All notifications of one user: their counters, and how they are marked.

use serde::Serialize;

use crate::{
    delivery::Delivery,
    ids::{NotificationId, Seq, UserId},
    notification::Notification,
};

/// An inbox's counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InboxState {
    /// The newest notification; zero for an inbox that has none.
    pub last_seq: Seq,
    /// The newest notification that a live session acknowledged, and with it all before.
    pub acked_seq: Seq,
    /// Notifications that are neither read nor archived.
    pub unread: u64,
    /// Everything up to here was too old and is forgotten; zero while the inbox is whole.
    pub forgotten_seq: Seq,
}

/// An inbox at one moment, from a place on.
#[derive(Debug, Clone, Default)]
pub struct InboxPage {
    /// The counters.
    pub inbox: InboxState,
    /// What comes after the place, oldest first, as much of it as was asked for.
    pub notifications: Vec<Notification>,
}

/// What is being said of notifications. Each mark is set once: the first time stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// They were shown to the user.
    Seen,
    /// The user opened them; implies [`Mark::Seen`].
    Read,
    /// The user put them away.
    Archived,
}

/// Which notifications of one inbox are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All up to this one, itself included.
    UpTo(Seq),
    /// These. Those of another inbox are left alone, as if they did not exist.
    Ids(Vec<NotificationId>),
}

/// A live session of `user` has everything up to `seq`.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledgement {
    /// Whose inbox.
    pub user: UserId,
    /// The newest notification that the session has, and with it all before.
    pub seq: Seq,
    /// What the delivery log says of how they got there.
    pub deliveries: Vec<Delivery>,
}
