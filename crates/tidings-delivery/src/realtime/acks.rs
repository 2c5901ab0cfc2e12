//! Acknowledgements on their way to the store, some at a time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidings_core::{
    delivery::Delivery,
    error_chain::ErrorChain,
    ids::{Seq, UserId},
    inbox::Acknowledgement,
    ports::NotificationStore,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Acknowledgements that may wait; beyond it sessions wait to hand over theirs.
const QUEUE: usize = 16_384;
/// Users whose acknowledgements are gathered, and rows for the delivery log, before they are stored.
const GATHER_ROWS: usize = QUEUE;
/// Rows that are stored at once. What is appended meanwhile waits for as long as that takes, and each may
/// be on a page of its own.
const PART_ROWS: usize = 256;
/// After each part, storing rests for so many times as long as the part took: when a notification has
/// just gone to everyone, their acknowledgements can wait and the frames of the next one cannot.
const REST: u32 = 3;
/// However slow the store is, it rests no longer.
const REST_MAX: Duration = Duration::from_millis(100);

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
                ack = self.acks.recv() => ack,
                () = stop.cancelled(), if !self.acks.is_closed() => {
                    self.acks.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let gathered = self.gather(first).await;
            for part in gathered.into_parts() {
                let began = Instant::now();
                self.store(part).await;
                self.rest((began.elapsed() * REST).min(REST_MAX), &stop).await;
            }
        }
    }

    async fn gather(&mut self, first: Acknowledgement) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.add(first);
        let until = Instant::now() + self.gather;
        while gathered.rows < GATHER_ROWS {
            match tokio::time::timeout_at(until, self.acks.recv()).await {
                Ok(Some(ack)) => gathered.add(ack),
                Ok(None) | Err(_) => break,
            }
        }
        gathered
    }

    async fn store(&self, part: Vec<Acknowledgement>) {
        let start = Instant::now();
        if let Err(error) = self.store.acknowledge(part).await {
            // The clients keep their place; at worst they are pushed what they have seen.
            tracing::warn!(error = %ErrorChain(&error), "acknowledgements were not stored");
        }
        metrics::histogram!("tidings_realtime_ack_flush_seconds").record(start.elapsed());
    }

    /// Waits, unless many are waiting or the node stops.
    async fn rest(&self, rest: Duration, stop: &CancellationToken) {
        if self.acks.len() < QUEUE / 2 {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
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

    /// In the order of the inboxes, so that a store that keeps them in it writes each page once.
    fn into_parts(self) -> Vec<Vec<Acknowledgement>> {
        let mut all: Vec<_> = self
            .of_users
            .into_iter()
            .map(|(user, (seq, deliveries))| Acknowledgement { user, seq, deliveries })
            .collect();
        all.sort_by_key(|ack| ack.deliveries.first().map(|it| it.notification.inbox));
        let (mut parts, mut part, mut rows) = (Vec::new(), Vec::new(), 0);
        for ack in all {
            rows += 1 + ack.deliveries.len();
            part.push(ack);
            if rows >= PART_ROWS {
                parts.push(std::mem::take(&mut part));
                rows = 0;
            }
        }
        parts.push(part);
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use tidings_core::{
        clock::Timestamp,
        delivery::{Channel, Outcome},
        ids::{InboxNumber, NotificationId},
    };

    use super::*;

    /// An acknowledgement of all up to `seq`, of which `delivered` were delivered with it.
    fn ack(inbox: u64, seq: u64, delivered: u64) -> Acknowledgement {
        let user = UserId::new(&format!("u{inbox}")).unwrap();
        let deliveries = (seq + 1 - delivered..=seq)
            .map(|seq| Delivery {
                notification: NotificationId { inbox: InboxNumber(inbox), seq: Seq(seq) },
                user: user.clone(),
                channel: Channel::WebSocket,
                target: "phone".to_owned(),
                attempt: 1,
                at: Timestamp::from_millis(0),
                latency_ms: 1,
                outcome: Outcome::Delivered,
                reason: None,
                provider_id: None,
            })
            .collect();
        Acknowledgement { user, seq: Seq(seq), deliveries }
    }

    fn parts(acks: impl IntoIterator<Item = Acknowledgement>) -> Vec<Vec<Acknowledgement>> {
        let mut gathered = Gathered::default();
        acks.into_iter().for_each(|ack| gathered.add(ack));
        gathered.into_parts()
    }

    #[test]
    fn what_a_user_acknowledges_twice_is_stored_once_with_all_deliveries() {
        let [part] = parts([ack(7, 3, 2), ack(7, 9, 4)]).try_into().unwrap();
        let [stored] = part.try_into().unwrap();
        assert_eq!((stored.seq, stored.deliveries.len()), (Seq(9), 6));
        // In whichever order they come.
        let [part] = parts([ack(7, 9, 4), ack(7, 3, 0)]).try_into().unwrap();
        assert_eq!(part[0].seq, Seq(9));
    }

    #[test]
    fn parts_are_bounded_in_the_order_of_inboxes_and_nothing_is_left_out() {
        let users = 3_000;
        let mixed = (0..users).map(|user| ack((user * 1_777) % users, 5, 1));
        let parts = parts(mixed.chain(iter::once(ack(users, 5, 0))));
        let most = PART_ROWS + 2;
        let rows = |part: &Vec<Acknowledgement>| -> usize {
            part.iter().map(|it| 1 + it.deliveries.len()).sum()
        };
        assert!(parts.len() == 24 && parts.iter().all(|part| rows(part) <= most));
        let inboxes: Vec<_> = parts
            .iter()
            .flatten()
            .flat_map(|it| it.deliveries.iter().map(|it| it.notification.inbox.0))
            .collect();
        assert_eq!(inboxes, (0..users).collect::<Vec<_>>());
        assert_eq!(parts.iter().flatten().count(), 3_001);
    }
}
