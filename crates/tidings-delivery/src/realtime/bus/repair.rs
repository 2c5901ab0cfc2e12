//! Tells sessions from the store what the bus may have lost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_core::{
    error_chain::ErrorChain,
    ids::{Seq, UserId},
    inbox::InboxState,
    ports::NotificationStore,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    super::pool::{ConnectionPool, CountIs},
    shard::{ShardIndex, ShardSet, UserHash},
};

/// How long after a failure the store is asked again.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// How fast the store is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct RepairRate {
    /// Inboxes per second.
    pub(super) users_per_s: usize,
    /// Inboxes in one query.
    pub(super) group: usize,
    /// From one round over all to the next, while the bus is down.
    pub(super) poll: Duration,
}

/// Shards whose sessions may lack something.
#[derive(Default)]
pub(super) struct RepairOrders {
    due: Mutex<ShardSet>,
    ready: Notify,
}

impl RepairOrders {
    pub(super) fn add(&self, shards: ShardSet) {
        if !shards.is_empty() {
            self.due.lock().unwrap_or_else(PoisonError::into_inner).0 |= shards.0;
            self.ready.notify_one();
        }
    }

    /// Those that are due, which are due no more.
    fn take(&self) -> ShardSet {
        std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn wait(&self) -> ShardSet {
        loop {
            let due = self.take();
            if !due.is_empty() {
                return due;
            }
            self.ready.notified().await;
        }
    }
}

/// Works off repairs, at a bounded rate.
pub(super) struct Repairer {
    pool: Arc<ConnectionPool>,
    store: Arc<dyn NotificationStore>,
    rate: RepairRate,
    /// What sessions were told in the rounds since the bus went down: then only news is told.
    told: HashMap<UserHash, (Seq, u64)>,
    /// When the store may be asked again.
    next: Instant,
}

impl Repairer {
    pub(super) fn new(
        pool: Arc<ConnectionPool>,
        store: Arc<dyn NotificationStore>,
        rate: RepairRate,
    ) -> Self {
        Self { pool, store, rate, told: HashMap::new(), next: Instant::now() }
    }

    /// Works off what is ordered; while `is_up` says no, all shards again and again. Never ends.
    pub(super) async fn run(mut self, orders: &RepairOrders, is_up: impl Fn() -> bool) {
        loop {
            let round = Instant::now();
            let due = tokio::select! {
                due = orders.wait() => due,
                () = sleep(self.rate.poll) => ShardSet::NONE,
            };
            let due = if is_up() {
                self.told = HashMap::new();
                due
            } else {
                // Not faster than the poll, whatever is ordered: each round sees all.
                sleep_until(round + self.rate.poll).await;
                let _taken = orders.take();
                ShardSet::ALL
            };
            if !due.is_empty() {
                let left = self.repair(due).await;
                if !left.is_empty() {
                    orders.add(left);
                    sleep(STORE_RETRY).await;
                }
            }
        }
    }

    /// Repairs the sessions of these shards; gives back those that it could not.
    async fn repair(&mut self, shards: ShardSet) -> ShardSet {
        metrics::counter!("tidings_bus_repairs_total").increment(1);
        let mut left = shards;
        let (mut group, mut of) = (Vec::new(), Vec::new());
        for shard in shards.iter() {
            for user in self.pool.users_of(shard) {
                group.push(user);
                if group.len() >= self.rate.group && !self.ask(&mut group).await {
                    return left;
                }
            }
            of.push(shard);
            if group.is_empty() {
                settle(&mut left, &mut of);
            }
        }
        if group.is_empty() || self.ask(&mut group).await {
            settle(&mut left, &mut of);
        }
        left
    }

    /// Asks the store for the heads of a group and tells its sessions.
    async fn ask(&mut self, group: &mut Vec<UserId>) -> bool {
        let users = std::mem::take(group);
        sleep_until(self.next).await;
        let share = users.len() as f64 / self.rate.users_per_s.max(1) as f64;
        self.next = Instant::now() + Duration::from_secs_f64(share);
        match self.store.heads(&users).await {
            Ok(heads) => {
                metrics::counter!("tidings_bus_repaired_users_total").increment(users.len() as u64);
                for (user, head) in users.iter().zip(&heads) {
                    self.tell(user, head);
                }
                true
            }
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "live sessions were not repaired");
                false
            }
        }
    }

    fn tell(&mut self, user: &UserId, head: &InboxState) {
        let state = (head.last_seq, head.unread);
        let before = self.told.insert(UserHash::of(user), state);
        let count = if before == Some(state) { CountIs::Told } else { CountIs::News };
        self.pool.hear_head(user, head, count);
    }
}

fn settle(left: &mut ShardSet, done: &mut Vec<ShardIndex>) {
    done.drain(..).for_each(|shard| left.remove(shard));
}
