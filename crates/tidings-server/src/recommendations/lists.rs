//! Lists that were recommended a moment ago.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{Weighter, sync::Cache};
use tidings_core::{
    ids::UserId,
    recommendation::{Reason, Recommendation},
};
use tokio::time::Instant;

/// Users share so many counters of changes: one that is another's, too, drops a list that was good.
const COUNTERS: usize = 4_096;
/// What an entry costs besides its ids: the cache's slots, counts of references, this struct.
const OVERHEAD_BYTES: usize = 200;
/// A list of usual size. An estimate is good enough here.
const USUAL_BYTES: u64 = 2_048;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ListKey {
    pub(super) user: UserId,
    pub(super) limit: usize,
    pub(super) explain: bool,
}

/// A state of a user's: a list that was made at one that has passed is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

#[derive(Debug, Clone)]
struct Kept {
    list: Arc<[Recommendation]>,
    moment: Moment,
    until: Instant,
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<ListKey, Kept> for Bytes {
    fn weight(&self, key: &ListKey, kept: &Kept) -> u64 {
        let lists: usize = kept.list.iter().map(recommendation_bytes).sum();
        (key.user.as_str().len() + lists + OVERHEAD_BYTES) as u64
    }
}

fn recommendation_bytes(it: &Recommendation) -> usize {
    let mut bytes = size_of::<Recommendation>() + it.user.as_str().len();
    for reason in &it.reasons {
        bytes += size_of::<Reason>();
        if let Reason::FollowedBy { known, .. } = reason {
            bytes += known.iter().map(|it| size_of::<UserId>() + it.as_str().len()).sum::<usize>();
        }
    }
    bytes
}

/// Lists that were recommended a moment ago, within a limit of bytes.
pub(super) struct ListCache {
    lists: Cache<ListKey, Kept, Bytes>,
    ttl: Duration,
    counters: Vec<AtomicU64>,
    hasher: RandomState,
}

impl ListCache {
    /// Keeps lists for `ttl`; none if it is zero.
    pub(super) fn new(ttl: Duration, bytes: u64) -> Self {
        let items = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX).max(16);
        Self {
            lists: Cache::with_weighter(items, bytes, Bytes),
            ttl,
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    fn counter(&self, user: &UserId) -> &AtomicU64 {
        let place = self.hasher.hash_one(user) % COUNTERS as u64;
        &self.counters[usize::try_from(place).unwrap_or(0)]
    }

    /// The user's state now. Taken before a list is made.
    pub(super) fn moment(&self, user: &UserId) -> Moment {
        Moment(self.counter(user).load(Ordering::Acquire))
    }

    pub(super) fn find(&self, key: &ListKey) -> Option<Arc<[Recommendation]>> {
        if self.ttl.is_zero() {
            return None;
        }
        let kept = self.lists.get(key)?;
        let counts = kept.until > Instant::now() && kept.moment == self.moment(&key.user);
        counts.then_some(kept.list)
    }

    /// Keeps a list that was begun at `moment`.
    pub(super) fn keep(&self, key: ListKey, list: &Arc<[Recommendation]>, moment: Moment) {
        if self.ttl.is_zero() {
            return;
        }
        let until = Instant::now() + self.ttl;
        self.lists.insert(key, Kept { list: Arc::clone(list), moment, until });
    }

    /// Drops all lists of the user: those that are kept, and those that are being made.
    pub(super) fn forget(&self, user: &UserId) {
        self.counter(user).fetch_add(1, Ordering::AcqRel);
    }

    /// The same for all users.
    pub(super) fn forget_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> ListKey {
        ListKey { user: UserId::new(user).unwrap(), limit: 10, explain: false }
    }

    fn list(users: &[&str]) -> Arc<[Recommendation]> {
        let recommend = |user: &&str| Recommendation {
            user: UserId::new(user).unwrap(),
            score: 0.5,
            reasons: vec![Reason::FollowsYou],
        };
        users.iter().map(recommend).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_kept_for_a_while_and_dropped_when_its_user_does_something() {
        let ttl = Duration::from_secs(30);
        let cache = ListCache::new(ttl, 1 << 20);
        let ann = key("ann");
        let moment = cache.moment(&ann.user);
        assert!(cache.find(&ann).is_none());
        cache.keep(ann.clone(), &list(&["ben"]), moment);
        assert_eq!(cache.find(&ann).unwrap(), list(&["ben"]));
        assert!(cache.find(&ListKey { limit: 11, ..ann.clone() }).is_none());
        assert!(cache.find(&ListKey { explain: true, ..ann.clone() }).is_none());
        tokio::time::advance(ttl).await;
        assert!(cache.find(&ann).is_none(), "too old");

        cache.keep(ann.clone(), &list(&["ben"]), moment);
        cache.forget(&ann.user);
        assert!(cache.find(&ann).is_none(), "dropped");
        // A list that was begun before is not kept after.
        cache.keep(ann.clone(), &list(&["ben"]), moment);
        assert!(cache.find(&ann).is_none(), "begun too early");

        let (moment, eve) = (cache.moment(&ann.user), key("eve"));
        cache.keep(ann.clone(), &list(&["ben"]), moment);
        cache.keep(eve.clone(), &list(&["ben"]), cache.moment(&eve.user));
        assert!(cache.find(&ann).is_some() && cache.find(&eve).is_some());
        cache.forget_all();
        assert!(cache.find(&ann).is_none() && cache.find(&eve).is_none());
    }

    #[test]
    fn no_more_bytes_are_kept_than_allowed() {
        let cache = ListCache::new(Duration::from_secs(30), 10_000);
        for number in 0..1_000 {
            let key = key(&format!("u{number}"));
            let moment = cache.moment(&key.user);
            cache.keep(key, &list(&["a", "b", "c"]), moment);
        }
        assert!(cache.lists.weight() <= 10_000, "{}", cache.lists.weight());
        assert!(cache.lists.len() > 5);
    }
}
