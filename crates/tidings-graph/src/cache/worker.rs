//! What the cache does beside answering.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::interval};
use tokio_util::sync::CancellationToken;

use super::{
    ask::Inner,
    config::GraphCacheConfig,
    health::GraphCacheHealthHandle,
    question::Question,
    refresh,
    versions::{Fill, Versions},
    warm,
};

/// Answers that are brought to Redis at a time.
const FILLS: usize = 64;
/// How often gauges are set.
const GAUGES: Duration = Duration::from_secs(5);

/// What the cache does beside answering: it keeps connected, gives signs of life, brings answers to
/// Redis, and asks ahead.
pub struct GraphCacheWorker {
    inner: Arc<Inner>,
    config: GraphCacheConfig,
    fills: mpsc::Receiver<Fill>,
    refreshes: mpsc::Receiver<Question>,
    health: GraphCacheHealthHandle,
}

impl GraphCacheWorker {
    pub(super) fn new(
        inner: Arc<Inner>,
        config: GraphCacheConfig,
        (fills, refreshes): (mpsc::Receiver<Fill>, mpsc::Receiver<Question>),
        health: GraphCacheHealthHandle,
    ) -> Self {
        Self { inner, config, fills, refreshes, health }
    }

    /// Says how the cache is doing.
    #[must_use]
    pub fn health(&self) -> GraphCacheHealthHandle {
        self.health.clone()
    }

    /// Works until `stop`, and signs off. Nobody may write through the cache after that: the other nodes
    /// do not wait for this one any more.
    pub async fn run(self, stop: CancellationToken) {
        let Self { inner, config, fills, refreshes, health } = self;
        // The connection ends last: there is a last report to make.
        let disconnect = CancellationToken::new();
        let keep_connected = async {
            match &inner.versions {
                Versions::Shared(versions) => versions.run(&disconnect).await,
                Versions::Local(_) => {
                    health.set_open(true);
                    disconnect.cancelled().await;
                }
            }
        };
        let beside = async {
            tokio::join!(
                fill(&inner, fills, &stop),
                refresh::run(&inner, refreshes, config.refreshes, &stop),
                warm::run(&inner, config.warm_up_questions, config.warm_up_per_s, &stop),
                gauge(&inner, &stop),
            );
            disconnect.cancel();
        };
        tokio::join!(keep_connected, beside);
    }
}

/// Brings answers to Redis until `stop`.
async fn fill(inner: &Inner, mut fills: mpsc::Receiver<Fill>, stop: &CancellationToken) {
    let Versions::Shared(versions) = &inner.versions else { return };
    let mut batch = Vec::with_capacity(FILLS);
    loop {
        batch.clear();
        tokio::select! {
            () = stop.cancelled() => return,
            count = fills.recv_many(&mut batch, FILLS) => if count == 0 { return },
        }
        let kept = match versions.link() {
            Some(link) => versions.heed(&link, link.fill(&batch).await),
            None => None,
        };
        let total = batch.len() as u64;
        let counted = match kept {
            // What is left was overtaken by a write.
            Some(kept) => [("kept", kept), ("refused", total.saturating_sub(kept))],
            None => [("kept", 0), ("dropped", total)],
        };
        for (outcome, count) in counted {
            let labels = [("outcome", outcome)];
            metrics::counter!("tidings_graph_cache_fills_total", &labels).increment(count);
        }
    }
}

async fn gauge(inner: &Inner, stop: &CancellationToken) {
    let mut tick = interval(GAUGES);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                #[expect(clippy::cast_precision_loss, reason = "a gauge has no more digits")]
                let bytes = inner.resident.bytes() as f64;
                metrics::gauge!("tidings_graph_cache_l1_bytes").set(bytes);
            }
        }
    }
}
