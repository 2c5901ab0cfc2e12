//! Who is not to be recommended to anyone: the store is the truth, each node holds all of them in memory
//! and reads what is new every few seconds.

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::Gauge;
use rpds::HashTrieSetSync;
use tidings_core::{
    error_chain::ErrorChain,
    ids::UserId,
    ports::{RecommendationFeedbackStore, StoreError},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often changes that other nodes made are read.
const POLL: Duration = Duration::from_secs(2);
/// How often all are read anew: an erased user makes no change.
const RELOAD: Duration = Duration::from_secs(600);
/// Changes that are read at a time.
const PAGE: usize = 1_000;

/// Who is not to be recommended to anyone.
pub struct HiddenUsers {
    store: Arc<dyn RecommendationFeedbackStore>,
    known: RwLock<Known>,
    /// The last change that was read.
    seen: AtomicU64,
    count: Gauge,
}

#[derive(Default)]
struct Known {
    /// Shares its parts with its copies: requests that are under way keep what they have, for little.
    users: HashTrieSetSync<UserId>,
    /// What has changed since all are being read anew, if they are: who, and whether they are hidden.
    meanwhile: Option<Vec<(UserId, bool)>>,
}

impl Known {
    fn change(&mut self, user: UserId, is_hidden: bool) {
        if is_hidden {
            self.users.insert_mut(user);
        } else {
            self.users.remove_mut(&user);
        }
    }
}

impl HiddenUsers {
    /// Nobody, until [`Self::load`].
    #[must_use]
    pub fn new(store: Arc<dyn RecommendationFeedbackStore>) -> Self {
        metrics::describe_gauge!(
            "tidings_recommendation_hidden_users",
            "Users who are recommended to nobody"
        );
        let count = metrics::gauge!("tidings_recommendation_hidden_users");
        Self { store, known: RwLock::default(), seen: AtomicU64::new(0), count }
    }

    /// All of them, as they are known now.
    #[must_use]
    pub fn users(&self) -> HashTrieSetSync<UserId> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).users.clone()
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Recommends `user` to nobody: on this node from now on, on others within a few seconds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; nothing has changed then.
    pub async fn hide(&self, user: &UserId) -> Result<(), StoreError> {
        self.store.put_unrecommendable(user).await?;
        self.apply([(user.clone(), true)]);
        Ok(())
    }

    /// Lets `user` be recommended again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; nothing has changed then.
    pub async fn show(&self, user: &UserId) -> Result<(), StoreError> {
        self.store.remove_unrecommendable(user).await?;
        self.apply([(user.clone(), false)]);
        Ok(())
    }

    /// Forgets `user`, whom the store has forgotten.
    pub fn forget(&self, user: &UserId) {
        self.apply([(user.clone(), false)]);
    }

    fn apply(&self, changes: impl IntoIterator<Item = (UserId, bool)>) {
        let mut known = self.known_mut();
        for (user, is_hidden) in changes {
            if let Some(meanwhile) = &mut known.meanwhile {
                meanwhile.push((user.clone(), is_hidden));
            }
            known.change(user, is_hidden);
        }
        self.measure(&known);
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge of so many users need not be exact")]
    fn measure(&self, known: &Known) {
        self.count.set(known.users.size() as f64);
    }

    /// Reads all of them. Before the first request is answered, and now and then; not twice at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; what was known stands.
    pub async fn load(&self) -> Result<(), StoreError> {
        let before = self.seen.load(Ordering::Relaxed);
        self.known_mut().meanwhile = Some(Vec::new());
        let read = self.read_all().await;
        let mut known = self.known_mut();
        let meanwhile = known.meanwhile.take().unwrap_or_default();
        let (users, seen) = read?;
        known.users = users;
        // What changed here since may have been read before it changed; and what another node did after
        // that, too: then the store says once more in which order.
        self.seen.store(if meanwhile.is_empty() { seen } else { before }, Ordering::Relaxed);
        meanwhile.into_iter().for_each(|(user, is_hidden)| known.change(user, is_hidden));
        self.measure(&known);
        Ok(())
    }

    /// All of them, and the last change among them.
    async fn read_all(&self) -> Result<(HashTrieSetSync<UserId>, u64), StoreError> {
        let mut read = Known::default();
        let mut seen = 0;
        loop {
            let page = self.store.list_unrecommendable(seen, PAGE).await?;
            let is_last = page.len() < PAGE;
            seen = page.last().map_or(seen, |it| it.change);
            // One who changed meanwhile is listed again.
            page.into_iter().for_each(|it| read.change(it.user, it.is_unrecommendable));
            if is_last {
                return Ok((read.users, seen));
            }
        }
    }

    /// Reads what changed since the last time.
    async fn read(&self) -> Result<(), StoreError> {
        loop {
            let after = self.seen.load(Ordering::Relaxed);
            let page = self.store.list_unrecommendable(after, PAGE).await?;
            let is_last = page.len() < PAGE;
            if let Some(last) = page.last() {
                self.seen.store(last.change, Ordering::Relaxed);
                self.apply(page.into_iter().map(|it| (it.user, it.is_unrecommendable)));
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Reads until `stop`. While the store is gone, what is known stands.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut is_failing = false;
        let mut reload_at = Instant::now() + RELOAD;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            let is_due = reload_at <= Instant::now();
            let read = if is_due { self.load().await } else { self.read().await };
            match read {
                Err(error) if !is_failing => {
                    tracing::warn!(
                        error = %ErrorChain(&error),
                        "who is not to be recommended any more is not known"
                    );
                    is_failing = true;
                }
                Err(_) => {}
                Ok(()) => {
                    is_failing = false;
                    if is_due {
                        reload_at = Instant::now() + RELOAD;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tidings_core::{clock::Timestamp, ports::UnrecommendableChange, recommendation::Feedback};

    use super::*;

    /// Changes in memory, and nothing else.
    #[derive(Default)]
    struct Memory {
        changes: Mutex<Vec<UnrecommendableChange>>,
        /// How long it takes to give a page out that was read.
        delay: Mutex<Duration>,
    }

    impl Memory {
        fn change(&self, user: &UserId, is_unrecommendable: bool) {
            let mut changes = self.changes.lock().unwrap();
            let change = changes.last().map_or(0, |it| it.change) + 1;
            changes.retain(|it| it.user != *user);
            changes.push(UnrecommendableChange { change, user: user.clone(), is_unrecommendable });
        }
    }

    #[async_trait]
    impl RecommendationFeedbackStore for Memory {
        async fn dismiss(&self, _: &UserId, _: &[UserId], _: Timestamp) -> Result<(), StoreError> {
            Ok(())
        }

        async fn undismiss(&self, _: &UserId, _: &UserId) -> Result<(), StoreError> {
            Ok(())
        }

        async fn add_impressions(
            &self,
            _: &UserId,
            _: &[UserId],
            _: Timestamp,
        ) -> Result<(), StoreError> {
            Ok(())
        }

        async fn feedback(&self, _: &UserId) -> Result<Feedback, StoreError> {
            Ok(Feedback::default())
        }

        async fn put_unrecommendable(&self, user: &UserId) -> Result<(), StoreError> {
            self.change(user, true);
            Ok(())
        }

        async fn remove_unrecommendable(&self, user: &UserId) -> Result<(), StoreError> {
            self.change(user, false);
            Ok(())
        }

        async fn list_unrecommendable(
            &self,
            after: u64,
            limit: usize,
        ) -> Result<Vec<UnrecommendableChange>, StoreError> {
            let delay = *self.delay.lock().unwrap();
            let page = {
                let changes = self.changes.lock().unwrap();
                changes.iter().filter(|it| it.change > after).take(limit).cloned().collect()
            };
            tokio::time::sleep(delay).await;
            Ok(page)
        }

        async fn erase_feedback(&self, user: &UserId) -> Result<(), StoreError> {
            self.changes.lock().unwrap().retain(|it| it.user != *user);
            Ok(())
        }
    }

    fn user(number: usize) -> UserId {
        UserId::new(&format!("u{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_node_hides_is_hidden_soon_and_what_was_erased_in_the_end() {
        let store = Arc::new(Memory::default());
        let node = || Arc::new(HiddenUsers::new(Arc::<Memory>::clone(&store) as _));
        let here = node();
        // More than a page.
        for number in 0..PAGE + 10 {
            here.hide(&user(number)).await.unwrap();
        }
        let there = node();
        there.load().await.unwrap();
        assert_eq!(there.users(), here.users());
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&there).run(stop.clone()));
        let before = there.users();
        here.show(&user(0)).await.unwrap();
        here.hide(&user(9_999)).await.unwrap();
        tokio::time::sleep(POLL + Duration::from_millis(1)).await;
        assert_eq!(there.users(), here.users());
        assert!(!there.users().contains(&user(0)) && there.users().contains(&user(9_999)));
        assert!(before.contains(&user(0)), "what a request has does not change under it");

        store.erase_feedback(&user(1)).await.unwrap();
        here.forget(&user(1));
        tokio::time::sleep(POLL * 2).await;
        assert!(there.users().contains(&user(1)));
        tokio::time::sleep(RELOAD).await;
        assert_eq!(there.users(), here.users());
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
    #[tokio::test(start_paused = true)]
    async fn what_changes_while_all_are_read_anew_stays_changed() {
        let store = Arc::new(Memory::default());
        let hidden = Arc::new(HiddenUsers::new(Arc::<Memory>::clone(&store) as _));
        for number in 0..3 {
            hidden.hide(&user(number)).await.unwrap();
        }
        *store.delay.lock().unwrap() = Duration::from_secs(5);
        let (loading, changing) = (Arc::clone(&hidden), Arc::clone(&hidden));
        let change = async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            changing.hide(&user(7)).await.unwrap();
            changing.show(&user(0)).await.unwrap();
            store.erase_feedback(&user(1)).await.unwrap();
            changing.forget(&user(1));
        };
        let (loaded, ()) = tokio::join!(loading.load(), change);
        loaded.unwrap();
        let users = hidden.users();
        let mut users: Vec<_> = users.iter().map(UserId::as_str).collect();
        users.sort_unstable();
        assert_eq!(users, ["u2", "u7"]);
    }
}
