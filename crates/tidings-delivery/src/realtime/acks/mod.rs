//! Acknowledgements on their way to the store, some at a time.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use tidings_core::{
    delivery::Delivery,
    error_chain::ErrorChain,
    ids::{Seq, UserId},
    inbox::Acknowledgement,
    ports::{NotificationStore, StoreError},
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
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.acks.is_closed() => {
                    self.acks.close();
                    continue;
                }
                ack = self.acks.recv() => ack,
            };
            let Some(first) = first else { return };
            let deadline = Instant::now() + self.gather * PATIENCE;
            let gathered = self.gather(first, &stop).await;
            self.store(gathered, deadline, &stop).await;
        }
    }

    async fn gather(&mut self, first: Acknowledgement, stop: &CancellationToken) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.add(first);
        let mut until = pin!(tokio::time::sleep(self.gather));
        while gathered.rows < GATHER_ROWS {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.acks.is_closed() => self.acks.close(),
                () = &mut until, if !self.acks.is_closed() => break,
                ack = self.acks.recv() => match ack {
                    Some(ack) => gathered.add(ack),
                    None => break,
                },
            }
        }
        gathered
    }

    async fn store(&self, gathered: Gathered, deadline: Instant, stop: &CancellationToken) {
        let mut acks = gathered.in_order().into_iter().peekable();
        while acks.peek().is_some() {
            let is_urgent = || {
                stop.is_cancelled() || self.acks.len() >= QUEUE / 2 || Instant::now() >= deadline
            };
            let most = if is_urgent() { LARGE_PART_ROWS } else { PART_ROWS };
            let part = take_part(&mut acks, most);
            let (users, start) = (part.len(), Instant::now());
            let stored = self.store.acknowledge(part).await;
            metrics::histogram!("tidings_realtime_ack_flush_seconds").record(start.elapsed());
            if let Err(error) = stored {
                // The clients keep their place; at worst they are pushed what they have seen.
                let is_away = matches!(error, StoreError::Unavailable { .. });
                let users = if is_away { users + acks.len() } else { users };
                tracing::warn!(
                    error = %ErrorChain(&error),
                    users,
                    "acknowledgements were not stored"
                );
                if is_away {
                    return;
                }
            }
            if acks.peek().is_some() && !is_urgent() {
                let rest = (start.elapsed() * REST).min(REST_MAX);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(rest) => {}
                }
            }
        }
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
    of_users: HashMap<UserId, (Seq, Vec<Delivery>)>,
    rows: usize,
}

impl Gathered {
    fn add(&mut self, ack: Acknowledgement) {
        self.rows += 1 + ack.deliveries.len();
        let entry = self.of_users.entry(ack.user).or_default();
        entry.0 = entry.0.max(ack.seq);
        entry.1.extend(ack.deliveries);
    }

    /// In the order of the inboxes, as far as they are known, so that a store that keeps them in it writes
    /// each page once; else in that of the users, by whom they are looked up.
    fn in_order(self) -> Vec<Acknowledgement> {
        let mut all: Vec<_> = self
            .of_users
            .into_iter()
            .map(|(user, (seq, deliveries))| Acknowledgement { user, seq, deliveries })
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
