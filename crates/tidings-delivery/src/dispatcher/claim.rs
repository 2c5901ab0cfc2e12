//! The loop that claims.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    clock::Clock,
    error_chain::ErrorChain,
    ports::{DeliveryStore, DeviceStore, DuePush, PushSettlement, StoreError},
    route::RoutingPolicy,
};
use tokio::{
    sync::{Notify, mpsc},
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    DispatcherConfig,
    alarm::Alarm,
    job::{self, Sending},
    lanes::PushLanes,
    settle::{self, Outage},
};

/// The least wait between two looks into the store: a push that is due but cannot be claimed must
/// not make the loop spin.
const LEAST_POLL: Duration = Duration::from_millis(10);

/// Pushes that are held in memory at least, if that many are due: some go nowhere.
const LEAST_JOBS: usize = 64;

/// Wakes a [`PushDispatcher`].
#[derive(Debug, Clone)]
pub struct DispatcherHandle {
    wake: Arc<Notify>,
}

impl DispatcherHandle {
    /// Says that pushes may have fallen due: to be called after a commit that planned some. Cheap,
    /// does not wait, and any number of calls before the dispatcher looks are one.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

/// Sends the pushes that fall due in a store.
///
/// Any number of dispatchers, on any number of nodes, may share a store: each push is leased to one
/// of them. At-least-once: a push may go out twice, always under the same identity.
pub struct PushDispatcher {
    store: Arc<dyn DeliveryStore>,
    sending: Arc<Sending>,
    wake: Arc<Notify>,
}

impl PushDispatcher {
    /// A dispatcher that sends through `lanes` what falls due in `store`, to where `routing` says;
    /// devices that no lane is for are skipped. It starts with [`run`](Self::run).
    pub fn new(
        config: DispatcherConfig,
        store: Arc<dyn DeliveryStore>,
        devices: Arc<dyn DeviceStore>,
        lanes: Arc<PushLanes>,
        routing: Arc<RoutingPolicy>,
        clock: Arc<dyn Clock>,
    ) -> (Self, DispatcherHandle) {
        let alarm = Alarm::default();
        let sending = Arc::new(Sending { lanes, devices, routing, clock, config, alarm });
        let wake = Arc::new(Notify::new());
        let handle = DispatcherHandle { wake: Arc::clone(&wake) };
        (Self { store, sending, wake }, handle)
    }

    /// Claims, sends and settles until `stop`; then claims no more and returns when what is under
    /// way has been sent and settled.
    ///
    /// Dropping it cuts everything off: what was not settled is due again when its lease ends.
    pub async fn run(self, stop: CancellationToken) {
        let config = &self.sending.config;
        let (settlements, done) = mpsc::channel(config.batch_rows.max(1));
        let mut settler = JoinSet::new();
        let store = Arc::clone(&self.store);
        settler.spawn(settle::run(store, done, config.batch_rows, config.store_retry));
        let mut jobs = JoinSet::new();
        self.claim_until(&stop, &settlements, &mut jobs).await;
        while let Some(ended) = jobs.join_next().await {
            report(ended);
        }
        drop(settlements);
        while let Some(ended) = settler.join_next().await {
            report(ended);
        }
    }

    async fn claim_until(
        &self,
        stop: &CancellationToken,
        settlements: &mpsc::Sender<PushSettlement>,
        jobs: &mut JoinSet<()>,
    ) {
        let config = &self.sending.config;
        let mut outage = Outage::new("claimed");
        while !stop.is_cancelled() {
            // A lane that is stuck holds as many as it may have under way, and few that wait: the others
            // still find room.
            let limit = self.sending.lanes.concurrency().saturating_mul(2).max(LEAST_JOBS);
            // A claim is a transaction: not one for each job that ends.
            let worthwhile = (limit / 4).clamp(1, config.batch_rows.max(1));
            let room = limit.saturating_sub(jobs.len()).min(config.batch_rows.max(1));
            if room < worthwhile {
                tokio::select! {
                    () = stop.cancelled() => return,
                    Some(ended) = jobs.join_next() => report(ended),
                }
                continue;
            }
            // Not cut off by `stop`: what it leases meanwhile would wait for its lease to end.
            let wait = match self.claim(room).await {
                Ok(claimed) => {
                    outage.end();
                    let is_all = claimed.pushes.len() < room;
                    self.start(claimed, settlements, jobs);
                    if is_all { self.until_next().await } else { Ok(Duration::ZERO) }
                }
                Err(error) => Err(error),
            };
            match wait {
                Ok(Duration::ZERO) => {}
                Ok(wait) => self.idle(wait, stop, jobs).await,
                Err(error) => {
                    if !error.is_transient() {
                        tracing::error!(error = %ErrorChain(&error), "pushes cannot be claimed");
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = outage.wait(&error, config.store_retry) => {}
                    }
                }
            }
        }
    }

    async fn claim(&self, limit: usize) -> Result<Claimed, StoreError> {
        let leased_at = Instant::now();
        let now = self.sending.clock.now();
        let pushes = self.store.claim_due(now, self.sending.config.lease, limit).await?;
        Ok(Claimed { pushes, leased_at })
    }

    fn start(
        &self,
        claimed: Claimed,
        settlements: &mpsc::Sender<PushSettlement>,
        jobs: &mut JoinSet<()>,
    ) {
        for due in claimed.pushes {
            let sending = Arc::clone(&self.sending);
            let settlements = settlements.clone();
            let leased_at = claimed.leased_at;
            jobs.spawn(async move {
                let settlement = job::run(sending, due, leased_at).await;
                // Fails only if the settler is gone, and then the lease takes care of it.
                drop(settlements.send(settlement).await);
            });
        }
    }

    /// How long nothing falls due, as far as is known.
    async fn until_next(&self) -> Result<Duration, StoreError> {
        let idle = self.sending.config.idle_poll;
        let next = self.store.next_due().await?;
        let wait = next.map_or(idle, |next| next.since(self.sending.clock.now()).min(idle));
        Ok(wait.max(LEAST_POLL))
    }

    /// Waits for `wait`, for a call to wake, or for the end; sees off jobs meanwhile.
    async fn idle(&self, wait: Duration, stop: &CancellationToken, jobs: &mut JoinSet<()>) {
        let mut timer = std::pin::pin!(sleep(wait));
        loop {
            // Every branch is cancel-safe: a call to wake that is not taken here is kept.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => return,
                () = &mut timer => return,
                Some(ended) = jobs.join_next() => report(ended),
            }
        }
    }
}

struct Claimed {
    pushes: Vec<DuePush>,
    leased_at: Instant,
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the push dispatcher failed; its lease will end");
    }
}
