//! Signing users out everywhere: the store is the truth, each node reads what is new every second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    ids::UserId,
    ports::{RevocationStore, StoreError},
};
use tidings_delivery::realtime::ConnectionPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::RevokedTokens;

/// How often what other nodes revoked is read: one query, however many sessions there are.
const POLL: Duration = Duration::from_secs(1);
/// Revocations that are read at a time.
const PAGE: usize = 1_000;
/// How often old ones are forgotten, and how many at a time.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
const FORGET_ROWS: usize = 1_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Keeps the table of refused tokens as the store has it, and ends sessions whose token is in it.
pub struct Revocations {
    store: Arc<dyn RevocationStore>,
    revoked: Arc<RevokedTokens>,
    pool: Arc<ConnectionPool>,
    clock: Arc<dyn Clock>,
    /// How long revocations are kept; for ever if nothing.
    keep: Option<Duration>,
    /// The last change that was read.
    seen: AtomicU64,
}

impl Revocations {
    /// Keeps `revoked` up to date, and forgets revocations after `keep_days`; never if zero.
    pub fn new(
        store: Arc<dyn RevocationStore>,
        revoked: Arc<RevokedTokens>,
        pool: Arc<ConnectionPool>,
        clock: Arc<dyn Clock>,
        keep_days: u32,
    ) -> Self {
        let keep = Some(DAY * keep_days).filter(|keep| !keep.is_zero());
        Self { store, revoked, pool, clock, keep, seen: AtomicU64::new(0) }
    }

    /// Refuses the user's tokens that were issued before `before`: on this node from now on, on others
    /// within about a second. Returns the time that stands.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; nothing is refused then.
    pub async fn revoke(&self, user: &UserId, before: Timestamp) -> Result<Timestamp, StoreError> {
        let stands = self.store.put_revocation(user, before).await?;
        self.apply(user, stands);
        Ok(stands)
    }

    /// Reads what was revoked since the last time. Before the first request is answered, all of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub async fn read(&self) -> Result<(), StoreError> {
        loop {
            let after = self.seen.load(Ordering::Relaxed);
            let page = self.store.list_revocations(after, PAGE).await?;
            for it in &page {
                self.apply(&it.user, it.before);
                self.seen.store(it.change, Ordering::Relaxed);
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    fn apply(&self, user: &UserId, before: Timestamp) {
        // In this order: a session that is told looks into the table.
        self.revoked.put(user, before);
        self.pool.recheck_sessions(user);
    }

    /// Reads, and forgets, until `stop`. While the store is gone, what is known is refused.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut is_failing = false;
        let mut forget_at = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            let mut done = self.read().await;
            if done.is_ok() && forget_at <= Instant::now() {
                done = self.forget().await;
                forget_at = Instant::now() + FORGET_EVERY;
            }
            match done {
                Err(error) if !is_failing => {
                    tracing::warn!(error = %ErrorChain(&error), "what others revoked is not known");
                    is_failing = true;
                }
                Err(_) => {}
                Ok(()) => is_failing = false,
            }
        }
    }

    async fn forget(&self) -> Result<(), StoreError> {
        let Some(keep) = self.keep else { return Ok(()) };
        let cutoff = self.clock.now().before(keep);
        while self.store.forget_revocations(cutoff, FORGET_ROWS).await? == FORGET_ROWS as u64 {}
        self.revoked.forget(cutoff);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tidings_core::{clock::ManualClock, ports::Revocation};

    use super::*;

    /// Revocations in memory, which cannot be read at times.
    #[derive(Default)]
    struct Memory {
        changes: Mutex<Vec<Revocation>>,
        is_gone: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl RevocationStore for Memory {
        async fn put_revocation(
            &self,
            user: &UserId,
            before: Timestamp,
        ) -> Result<Timestamp, StoreError> {
            let mut changes = self.changes.lock().unwrap();
            let change = changes.last().map_or(0, |it| it.change) + 1;
            changes.push(Revocation { change, user: user.clone(), before });
            Ok(before)
        }

        async fn list_revocations(
            &self,
            after: u64,
            limit: usize,
        ) -> Result<Vec<Revocation>, StoreError> {
            if self.is_gone.load(Ordering::SeqCst) {
                let source = "told to be gone".into();
                return Err(StoreError::Unavailable { op: "list", backend: "double", source });
            }
            let changes = self.changes.lock().unwrap();
            Ok(changes.iter().filter(|it| it.change > after).take(limit).cloned().collect())
        }

        async fn forget_revocations(&self, cutoff: Timestamp, _: usize) -> Result<u64, StoreError> {
            let mut changes = self.changes.lock().unwrap();
            let before = changes.len();
            changes.retain(|it| it.before >= cutoff);
            Ok((before - changes.len()) as u64)
        }
    }

    fn user(number: usize) -> UserId {
        UserId::new(&format!("u{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_node_revoked_is_refused_soon_and_forgotten_in_the_end() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let store = Arc::new(Memory::default());
        let clock = ManualClock::new(now);
        let node = || {
            let store: Arc<dyn RevocationStore> = Arc::<Memory>::clone(&store);
            let pool = Arc::new(ConnectionPool::new(1, 1, 1));
            let revoked = Arc::new(RevokedTokens::new(10_000));
            let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
            let it = Revocations::new(store, Arc::clone(&revoked), pool, clock, 2);
            (Arc::new(it), revoked)
        };
        let ((here, revoked_here), (there, revoked_there)) = (node(), node());
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&there).run(stop.clone()));
        // More than a page.
        for number in 0..PAGE + 10 {
            here.revoke(&user(number), now).await.unwrap();
        }
        assert!(revoked_here.is_revoked(&user(0), None));
        let soon = POLL + Duration::from_millis(1);
        tokio::time::sleep(soon).await;
        assert!((0..PAGE + 10).all(|number| revoked_there.is_revoked(&user(number), None)));

        // While the store is gone, what is known holds; afterwards what was missed comes.
        store.is_gone.store(true, Ordering::SeqCst);
        store.put_revocation(&user(9_999), now).await.unwrap();
        tokio::time::sleep(soon * 3).await;
        assert!(revoked_there.is_revoked(&user(0), None));
        assert!(!revoked_there.is_revoked(&user(9_999), None));
        store.is_gone.store(false, Ordering::SeqCst);
        tokio::time::sleep(soon).await;
        assert!(revoked_there.is_revoked(&user(9_999), None));

        clock.advance(DAY * 2 + Duration::from_millis(1));
        tokio::time::sleep(FORGET_EVERY + soon).await;
        assert!(store.changes.lock().unwrap().is_empty());
        assert!(!revoked_there.is_revoked(&user(0), None));
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}
