//! Settles what jobs have done, many at a time.

use std::{sync::Arc, time::Duration};

use rand::Rng;
use tidings_core::{
    error_chain::ErrorChain,
    ports::{DeliveryStore, PushSettlement, StoreError},
    retry::RetryPolicy,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// Settles until every sender is gone and everything is settled.
///
/// While the store is out of reach it is tried again and again; meanwhile the queue fills, jobs wait
/// with their settlements, and nothing more is claimed. A settlement that comes after its lease has
/// ended costs a second push under the same identity, not a lost one.
pub(super) async fn run(
    store: Arc<dyn DeliveryStore>,
    mut done: mpsc::Receiver<PushSettlement>,
    batch_rows: usize,
    store_retry: RetryPolicy,
) {
    let mut batch = Vec::new();
    while done.recv_many(&mut batch, batch_rows.max(1)).await > 0 {
        settle(store.as_ref(), &batch, store_retry).await;
        batch.clear();
    }
}

async fn settle(store: &dyn DeliveryStore, batch: &[PushSettlement], store_retry: RetryPolicy) {
    let mut outage = Outage::new("settled");
    loop {
        match store.settle(batch.to_vec()).await {
            Ok(()) => return outage.end(),
            Err(error) if error.is_transient() => outage.wait(&error, store_retry).await,
            Err(error) => {
                let error = ErrorChain(&error);
                let pushes = batch.len();
                tracing::error!(%error, pushes, "pushes cannot be settled and will be sent again");
                return;
            }
        }
    }
}

/// A time in which the store cannot be reached: logged when it begins and when it ends.
pub(super) struct Outage {
    what: &'static str,
    attempts: u32,
    since: Option<Instant>,
}

impl Outage {
    /// None so far; `what` is what cannot be done to pushes meanwhile.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, attempts: 0, since: None }
    }

    /// Waits before the store is tried again.
    pub(super) async fn wait(&mut self, error: &StoreError, policy: RetryPolicy) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::warn!(error = %ErrorChain(error), "pushes cannot be {} for now", self.what);
        }
        self.attempts = self.attempts.saturating_add(1);
        let ceiling = policy.ceiling(self.attempts);
        // Never at once, whatever chance says: this runs for as long as the outage lasts.
        let wait = ceiling.mul_f64(rand::rng().random_range(0.5..1.0));
        sleep(wait.max(Duration::from_millis(10))).await;
    }

    /// The store answers.
    pub(super) fn end(&mut self) {
        self.attempts = 0;
        if let Some(since) = self.since.take() {
            let lasted_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(lasted_ms, "pushes can be {} again", self.what);
        }
    }
}
