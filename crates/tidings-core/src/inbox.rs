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
    /// The newest notification that a live session acknowledged, and with it all since `acked_after`.
    pub acked_seq: Seq,
    /// What comes before the acknowledged ones: a session that began here says nothing of them.
    pub acked_after: Seq,
    /// Notifications that are neither read nor archived.
    pub unread: u64,
    /// Everything up to here was too old and is forgotten; zero while the inbox is whole.
    pub forgotten_seq: Seq,
}

impl InboxState {
    /// What live sessions have acknowledged.
    #[must_use]
    pub fn acked(&self) -> Stretch {
        Stretch { after: self.acked_after, upto: self.acked_seq }
    }
}

/// A stretch of an inbox: everything after `after`, up to `upto`. Empty unless `upto` is greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The place before the first.
    pub after: Seq,
    /// The last.
    pub upto: Seq,
}

impl Stretch {
    /// Whether a notification is in it.
    #[must_use]
    pub fn contains(self, seq: Seq) -> bool {
        self.after < seq && seq <= self.upto
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.upto <= self.after
    }

    /// Both, if nothing is missing between them; else the later of the two. What the earlier one said is
    /// forgotten then: a push of it that still waits is sent although somebody has seen it, which is better
    /// than none of what nobody has.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if other.is_empty() {
            return self;
        }
        if self.is_empty() {
            return other;
        }
        let (earlier, later) = if self.upto <= other.upto { (self, other) } else { (other, self) };
        if later.after <= earlier.upto {
            Self { after: earlier.after.min(later.after), upto: later.upto }
        } else {
            later
        }
    }
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

/// A live session of `user` has everything in a stretch of the inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledgement {
    /// Whose inbox.
    pub user: UserId,
    /// What the session has: from where it began, up to the newest that it acknowledged.
    pub has: Stretch,
    /// What the delivery log says of how they got there.
    pub deliveries: Vec<Delivery>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(after: u64, upto: u64) -> Stretch {
        Stretch { after: Seq(after), upto: Seq(upto) }
    }

    #[test]
    fn stretches_are_joined_where_nothing_is_missing_between_them() {
        let nothing = stretch(0, 0);
        for (one, other, joined) in [
            (nothing, stretch(0, 3), stretch(0, 3)),
            (nothing, stretch(4, 5), stretch(4, 5)),
            (stretch(0, 3), stretch(3, 5), stretch(0, 5)),
            (stretch(0, 3), stretch(1, 2), stretch(0, 3)),
            (stretch(2, 5), stretch(0, 5), stretch(0, 5)),
            (stretch(0, 3), stretch(4, 5), stretch(4, 5)),
            (stretch(4, 5), stretch(7, 7), stretch(4, 5)),
        ] {
            assert_eq!(one.join(other), joined, "{one:?} {other:?}");
            assert_eq!(other.join(one), joined, "{other:?} {one:?}");
        }
        let joined = stretch(4, 6);
        let has = |seq| joined.contains(Seq(seq));
        assert_eq!([4, 5, 6, 7].map(has), [false, true, true, false]);
        assert!(!nothing.contains(Seq(0)));
    }
}
