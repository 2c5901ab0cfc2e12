//! Events of transactions whose end nobody knows: a store that goes away while it commits may have
//! committed. Whoever submits them again is told of duplicates, and no session was ever told of them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, PlannedEvent},
    clock::Timestamp,
    event::Event,
    ids::UserId,
};

/// How long after a failure its events may come again and still count.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Events that are remembered, 16 bytes each. Beyond it the first stay: the transaction that was cut
/// off comes before those that found nobody to talk to.
const EVENTS_MAX: usize = 65_536;

/// The events of failed transactions, for a while.
#[derive(Default)]
pub(super) struct Doubts {
    hasher: RandomState,
    /// Until when, by a hash of the event's identity. Two with one hash cost a session a look into
    /// the store.
    until: Mutex<HashMap<u64, Timestamp>>,
    /// Whether there are any; spares everyone the lock in good times.
    any: AtomicBool,
}

impl Doubts {
    /// Notes that nobody knows whether `batch` was committed.
    pub(super) fn note(&self, batch: &NotificationBatch, now: Timestamp) {
        let mut until = self.until();
        for planned in batch.events() {
            let key = self.key(&planned.event);
            if until.len() >= EVENTS_MAX && !until.contains_key(&key) {
                until.retain(|_, end| *end > now);
                if until.len() >= EVENTS_MAX {
                    break;
                }
            }
            until.insert(key, now.after(REMEMBERED));
        }
        self.any.store(!until.is_empty(), Ordering::Release);
    }

    /// The recipients whose notification an earlier try may have made that nobody heard of.
    ///
    /// Nothing is forgotten by it: the other parts of an event with many recipients come yet.
    pub(super) fn untold<'a>(
        &self,
        batch: &'a NotificationBatch,
        appended: &'a [AppendedEvent],
        now: Timestamp,
    ) -> Vec<&'a UserId> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut until = self.until();
        let mut users = Vec::new();
        for (planned, event) in batch.events().iter().zip(appended) {
            let doubtful = until.get(&self.key(&planned.event)).is_some_and(|end| *end > now);
            if doubtful && event.duplicates > 0 {
                users.extend(duplicates(planned, event));
            }
        }
        if until.values().all(|end| *end <= now) {
            *until = HashMap::new();
            self.any.store(false, Ordering::Release);
        }
        users
    }

    fn key(&self, event: &Event) -> u64 {
        self.hasher.hash_one((event.source.as_str(), event.id.as_str()))
    }

    fn until(&self) -> MutexGuard<'_, HashMap<u64, Timestamp>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Recipients who had theirs already. What is stored is in the order of the recipients.
fn duplicates<'a>(
    planned: &'a PlannedEvent,
    appended: &'a AppendedEvent,
) -> impl Iterator<Item = &'a UserId> {
    let mut stored = appended.stored.iter().map(|it| &it.user).peekable();
    let users = planned.recipients.iter().map(|it| &it.user);
    users.filter(move |user| stored.next_if(|new| new == user).is_none())
}
