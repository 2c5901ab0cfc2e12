//! Acknowledgements on their way to the store, some at a time.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use tidings_core::{
    delivery::Delivery,
    error_chain::ErrorChain,
    ids::UserId,
    inbox::{Acknowledgement, Stretch},
    ports::NotificationStore,
    retry::{RetryDecision, RetryPolicy},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Acknowledgements that may wait; beyond it sessions wait to hand over theirs.
const QUEUE: usize = 16_384;
/// Rows, of inboxes and of the delivery log, that are gathered before they are stored.
const GATHER_ROWS: usize = 16_384;
/// Rows that are stored at once. What is appended meanwhile waits for as long as that takes, and each may
/// be on a page of its own.
const PART_ROWS: usize = 256;
/// … when it has to be quick.
const LARGE_PART_ROWS: usize = 4096;
/// After each part, storing rests for so many times as long as the part took: when a notification has
/// just gone to everyone, their acknowledgements can wait and the frames of the next one cannot.
const REST: u32 = 3;
/// However slow the store is, it rests no longer.
const REST_MAX: Duration = Duration::from_millis(100);
/// Within so many times as long as they gathered they are stored, if the store can do it: after that there
/// are no rests, and large parts.
const PATIENCE: u32 = 3;
/// Rows that wait at most for a store that is away; from half of it on their deliveries are not logged.
const KEPT_ROWS: usize = 8 * GATHER_ROWS;
const RETRY: RetryPolicy = RetryPolicy { max_attempts: u32::MAX, base_ms: 200, cap_ms: 5_000 };

/// Where sessions leave acknowledgements.
#[derive(Debug, Clone)]
pub struct AckLog(mpsc::Sender<Acknowledgement>);

impl AckLog {
    /// Hands over an acknowledgement; waits while too many are waiting.
    pub(super) async fn note(&self, ack: Acknowledgement) {
        // The flusher outlives the sessions; if it is gone the node is being cut off, and the push
        // that this would have cancelled is sent: at least once, as promised.
        let _taken = self.0.send(ack).await.is_ok();
    }
}

/// Stores acknowledgements, some at a time.
pub struct AckFlusher {
    acks: mpsc::Receiver<Acknowledgement>,
    store: Arc<dyn NotificationStore>,
    gather: Duration,
}

impl AckFlusher {
    /// A flusher to `store`, and the log that feeds it. Acknowledgements gather for `gather` before they
    /// are stored: the longer, the more of them are on the same page of the store, and the more are lost
    /// when the node is killed.
    #[must_use]
    pub fn new(store: Arc<dyn NotificationStore>, gather: Duration) -> (Self, AckLog) {
        let (sender, acks) = mpsc::channel(QUEUE);
        (Self { acks, store, gather }, AckLog(sender))
    }

    /// Stores acknowledgements until `stop`, then what is queued by then.
    pub async fn run(mut self, stop: CancellationToken) {
        // What a store that was away did not take. Sessions outlive that, and do not say again what they
        // have said.
        let mut left = Gathered::default();
        let mut failures = 0;
        loop {
            if left.is_empty() {
                failures = 0;
                match self.first(&stop).await {
                    Some(first) => left.add(first),
                    None => return,
                }
                self.gather(&mut left, &stop).await;
            } else {
                failures += 1;
                left = self.wait(left, retry_wait(failures), &stop).await;
            }
            let rows = left.rows;
            left = self.store(left, failures > 0, &stop).await;
            if left.rows < rows {
                failures = 0;
            }
            if !left.is_empty() && self.acks.is_closed() {
                // The clients keep their place; at worst they are pushed what they have seen.
                tracing::warn!(users = left.of_users.len(), "acknowledgements were not stored");
                return;
            }
        }
    }

    /// The first of the next ones; `None` when there will be none.
    async fn first(&mut self, stop: &CancellationToken) -> Option<Acknowledgement> {
        tokio::select! {
            biased;
            () = stop.cancelled(), if !self.acks.is_closed() => self.acks.close(),
            ack = self.acks.recv() => return ack,
        }
        self.acks.recv().await
    }

    /// Adds what comes while it gathers, up to as many rows as are stored together.
    async fn gather(&mut self, to: &mut Gathered, stop: &CancellationToken) {
        let mut until = pin!(tokio::time::sleep(self.gather));
        while to.rows < GATHER_ROWS {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.acks.is_closed() => self.acks.close(),
                () = &mut until, if !self.acks.is_closed() => break,
                ack = self.acks.recv() => match ack {
                    Some(ack) => to.add(ack),
                    None => break,
                },
            }
        }
    }

    /// Leaves a store that is away alone for `wait`, however much comes meanwhile: nobody who acknowledges is
    /// held up by it.
    async fn wait(&mut self, left: Gathered, wait: Duration, stop: &CancellationToken) -> Gathered {
        let mut kept = left;
        let mut until = pin!(tokio::time::sleep(wait));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.acks.is_closed() => self.acks.close(),
                () = &mut until, if !self.acks.is_closed() => return kept,
                ack = self.acks.recv() => match ack {
                    Some(ack) => kept.add(ack),
                    None => return kept,
                },
            }
            if kept.rows > KEPT_ROWS + GATHER_ROWS {
                kept = Gathered::of(kept.in_order().into_iter());
            }
        }
    }

    /// Stores what was gathered; gives back what a store that is away did not take.
    async fn store(
        &self,
        gathered: Gathered,
        is_careful: bool,
        stop: &CancellationToken,
    ) -> Gathered {
        // After a failure parts grow from small ones: a large one may be what a slow store does not manage.
        let mut largest = if is_careful { PART_ROWS } else { LARGE_PART_ROWS };
        let deadline = Instant::now() + self.gather * (PATIENCE - 1);
        let mut acks = gathered.in_order().into_iter().peekable();
        while acks.peek().is_some() {
            let is_urgent = || {
                stop.is_cancelled() || self.acks.len() >= QUEUE / 2 || Instant::now() >= deadline
            };
            let most = if is_urgent() { largest } else { PART_ROWS };
            largest = (largest * 2).min(LARGE_PART_ROWS);
            let part: Arc<[_]> = take_part(&mut acks, most).into();
            let start = Instant::now();
            let stored = self.store.acknowledge(Arc::clone(&part)).await;
            metrics::histogram!("tidings_realtime_ack_flush_seconds").record(start.elapsed());
            if let Err(error) = stored {
                let (error_chain, users) = (ErrorChain(&error), part.len());
                if error.is_transient() {
                    tracing::warn!(error = %error_chain, "acknowledgements wait for the store");
                    return Gathered::of(part.iter().cloned().chain(acks));
                }
                tracing::warn!(error = %error_chain, users, "acknowledgements were not stored");
            }
            if acks.peek().is_some() && !is_urgent() {
                let rest = (start.elapsed() * REST).min(REST_MAX);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(rest) => {}
                }
            }
        }
        Gathered::default()
    }
}

/// How long a store that is away is left alone after so many attempts.
fn retry_wait(failures: u32) -> Duration {
    match RETRY.after_failure(failures, None, rand::random()) {
        RetryDecision::After(wait) => wait,
        RetryDecision::GiveUp => Duration::from_millis(RETRY.cap_ms),
    }
}

/// The next acknowledgements, until they have `most` rows: the last one may go beyond it.
fn take_part(
    acks: &mut impl Iterator<Item = Acknowledgement>,
    most: usize,
) -> Vec<Acknowledgement> {
    let (mut part, mut rows) = (Vec::new(), 0);
    while rows < most
        && let Some(ack) = acks.next()
    {
        rows += 1 + ack.deliveries.len();
        part.push(ack);
    }
    part
}

/// Acknowledgements of different users.
#[derive(Default)]
struct Gathered {
    of_users: HashMap<UserId, (Stretch, Vec<Delivery>)>,
    rows: usize,
}

impl Gathered {
    /// These, as far as there is room for them: there is for many times as many as a store that works has to
    /// wait for, and no memory lasts for one that is away.
    fn of(acks: impl Iterator<Item = Acknowledgement>) -> Self {
        let mut gathered = Self::default();
        let (mut unlogged, mut lost) = (0, 0);
        for mut ack in acks {
            if gathered.rows + ack.deliveries.len() >= KEPT_ROWS / 2 {
                unlogged += std::mem::take(&mut ack.deliveries).len();
            }
            if gathered.rows < KEPT_ROWS {
                gathered.add(ack);
            } else {
                lost += 1;
            }
        }
        if unlogged + lost > 0 {
            tracing::warn!(
                deliveries = unlogged,
                users = lost,
                "too many acknowledgements wait for the store: these deliveries are not logged, and \
                 what these users have seen may be pushed to them"
            );
        }
        gathered
    }

    fn is_empty(&self) -> bool {
        self.of_users.is_empty()
    }

    fn add(&mut self, ack: Acknowledgement) {
        self.rows += 1 + ack.deliveries.len();
        let entry = self.of_users.entry(ack.user).or_default();
        entry.0 = entry.0.join(ack.has);
        entry.1.extend(ack.deliveries);
    }

    /// In the order of the inboxes, as far as they are known, so that a store that keeps them in it writes
    /// each page once; else in that of the users, by whom they are looked up.
    fn in_order(self) -> Vec<Acknowledgement> {
        let mut all: Vec<_> = self
            .of_users
            .into_iter()
            .map(|(user, (has, deliveries))| Acknowledgement { user, has, deliveries })
            .collect();
        let inbox = |ack: &Acknowledgement| ack.deliveries.first().map(|it| it.notification.inbox);
        all.sort_unstable_by(|a, b| {
            inbox(a).cmp(&inbox(b)).then_with(|| a.user.as_str().cmp(b.user.as_str()))
        });
        all
    }
}

#[cfg(test)]
mod tests;
