//! The model: lists that are searched from end to end, and counters that are counted each time.

use std::collections::{BTreeMap, BTreeSet};

use tidings_core::{
    ids::Seq,
    inbox::{InboxState, Mark},
};

use super::ops::Marked;

/// A notification: everything by number, times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) event: usize,
    pub(super) created: u64,
    pub(super) seen: Option<u64>,
    pub(super) read: Option<u64>,
    pub(super) archived: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// `seq` 1 first.
    pub(super) rows: Vec<Row>,
    /// Places, the last ones without a hole between them.
    pub(super) acked: BTreeSet<u64>,
}

/// What a device was registered with, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) token: usize,
    pub(super) make: usize,
    pub(super) at: u64,
}

/// A push by user, `seq` and device.
pub(super) type Job = (usize, u64, Option<usize>);

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) inboxes: BTreeMap<usize, Inbox>,
    /// The title under which an event came first.
    pub(super) titles: BTreeMap<usize, String>,
    /// By user and device.
    pub(super) devices: BTreeMap<(usize, usize), Registered>,
    /// When it falls due, and the attempt.
    pub(super) due: BTreeMap<Job, (u64, u32)>,
    /// (user, `seq`) to the attempts that were logged.
    pub(super) log: BTreeMap<(usize, u64), Vec<u32>>,
}

impl Model {
    /// Says how many recipients are new.
    pub(super) fn append(
        &mut self,
        event: usize,
        title: &str,
        recipients: &[(usize, Option<u64>)],
        now: u64,
    ) -> usize {
        self.titles.entry(event).or_insert_with(|| title.to_owned());
        let mut new = 0;
        for (user, wait) in recipients {
            let inbox = self.inboxes.entry(*user).or_default();
            if inbox.rows.iter().any(|row| row.event == event) {
                continue;
            }
            inbox.rows.push(Row { event, created: now, seen: None, read: None, archived: None });
            new += 1;
            let seq = inbox.rows.len() as u64;
            let has_device = self.devices.keys().any(|(owner, _)| owner == user);
            if let Some(wait) = wait.filter(|_| has_device) {
                self.due.insert((*user, seq, None), (now + wait, 1));
            }
        }
        new
    }

    pub(super) fn mark(&mut self, user: usize, mark: Mark, marked: &Marked, now: u64) {
        let Some(inbox) = self.inboxes.get_mut(&user) else {
            return;
        };
        for (row, seq) in inbox.rows.iter_mut().zip(1..) {
            let meant = match marked {
                Marked::UpTo(last) => seq <= *last,
                Marked::Ids(ids) => ids.contains(&(user, seq)),
            };
            if !meant {
                continue;
            }
            match mark {
                Mark::Seen => {
                    row.seen.get_or_insert(now);
                }
                Mark::Read => {
                    row.read.get_or_insert(now);
                    row.seen.get_or_insert(now);
                }
                Mark::Archived => {
                    row.archived.get_or_insert(now);
                }
            }
        }
    }

    pub(super) fn acknowledge(&mut self, user: usize, after: u64, upto: u64) {
        let Some(inbox) = self.inboxes.get_mut(&user) else { return };
        inbox.acked.extend(after + 1..=upto.min(inbox.rows.len() as u64));
        let mut first = inbox.acked.last().copied().unwrap_or(0);
        while first > 0 && inbox.acked.contains(&(first - 1)) {
            first -= 1;
        }
        inbox.acked.retain(|place| *place >= first);
    }

    pub(super) fn put_device(&mut self, user: usize, device: usize, registered: Registered) {
        self.devices.retain(|_, other| other.token != registered.token);
        self.devices.insert((user, device), registered);
    }

    pub(super) fn state(&self, user: usize) -> InboxState {
        let Some(inbox) = self.inboxes.get(&user) else {
            return InboxState::default();
        };
        let unread = inbox.rows.iter().filter(|row| row.read.or(row.archived).is_none());
        InboxState {
            last_seq: Seq(inbox.rows.len() as u64),
            acked_seq: Seq(inbox.acked.last().copied().unwrap_or(0)),
            acked_after: Seq(inbox.acked.first().map_or(0, |first| first - 1)),
            unread: unread.count() as u64,
            forgotten_seq: Seq::ZERO,
        }
    }
}
