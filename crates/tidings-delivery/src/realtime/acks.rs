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
const QUEUE: usize = 4096;
/// How long acknowledgements gather before they are stored.
const GATHER: Duration = Duration::from_millis(50);
/// Rows for the delivery log that are gathered before they are stored.
const GATHER_ROWS: usize = 10_000;
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
}

impl AckFlusher {
    /// A flusher to `store`, and the log that feeds it.
    #[must_use]
    pub fn new(store: Arc<dyn NotificationStore>) -> (Self, AckLog) {
        let (sender, acks) = mpsc::channel(QUEUE);
        (Self { acks, store }, AckLog(sender))
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
            let mut rows = first.deliveries.len();
            let mut gathered = HashMap::new();
            add(&mut gathered, first);
            let until = Instant::now() + GATHER;
            while gathered.len() < QUEUE && rows < GATHER_ROWS {
                match tokio::time::timeout_at(until, self.acks.recv()).await {
                    Ok(Some(ack)) => {
                        rows += ack.deliveries.len();
                        add(&mut gathered, ack);
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            self.store(gathered).await;
        }
    }

    async fn store(&self, gathered: HashMap<UserId, (Seq, Vec<Delivery>)>) {
        let start = Instant::now();
        let acknowledged = gathered
            .into_iter()
            .map(|(user, (seq, deliveries))| Acknowledgement { user, seq, deliveries })
            .collect();
        if let Err(error) = self.store.acknowledge(acknowledged).await {
            // The clients keep their place; at worst they are pushed what they have seen.
            tracing::warn!(error = %ErrorChain(&error), "acknowledgements were not stored");
        }
        metrics::histogram!("tidings_realtime_ack_flush_seconds").record(start.elapsed());
    }
}

fn add(gathered: &mut HashMap<UserId, (Seq, Vec<Delivery>)>, ack: Acknowledgement) {
    let entry = gathered.entry(ack.user).or_default();
    entry.0 = entry.0.max(ack.seq);
    entry.1.extend(ack.deliveries);
}
