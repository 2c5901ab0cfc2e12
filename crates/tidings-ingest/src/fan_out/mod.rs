//! Works off fan-outs: an event on its way to the followers of a user, page by page.
//!
//! Why nobody is told twice or left out, wherever a worker dies: the rows of a page and the step that
//! moves the job past them are one transaction, and the step is a compare-and-set on the steps made so
//! far. A page that was not committed is planned again; of two workers that both believe in their
//! lease, one commits the step and the other is fenced. The graph's cursor lists every follower who
//! follows from the first page to the last exactly once.
//!
//! A page that the store refuses is read again in halves, down to the follower whose notification it
//! does not take: that becomes a dead letter, and the fan-out goes on behind it.
//!
//! A cursor means nothing to another graph, and nodes that share a store may have a graph each: a
//! worker claims the fan-outs of its own graph only.

mod measure;
mod page;
mod telling;

use std::{sync::Arc, time::Duration};

use tidings_core::{
    clock::Clock, error_chain::ErrorChain, fan_out::FanOut, ports::FanOutStore, retry::RetryPolicy,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use self::telling::Telling;
use crate::{pipeline::PipelineHandle, planner::Planner};

/// Bounds of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanOutConfig {
    /// Jobs that are worked at at once, a page of each in turn. When more wait, one that has had its
    /// pages is given back, and waits behind them.
    pub concurrent: usize,
    /// How long a job is this worker's after each step.
    pub lease: Duration,
    /// How often jobs are looked for that nobody announced: those of workers that died.
    pub poll: Duration,
    /// How long to wait when the store or the graph is out of reach.
    pub retry: RetryPolicy,
}

/// Works off fan-outs, a page of each in turn.
pub struct FanOutWorker {
    config: FanOutConfig,
    store: Arc<dyn FanOutStore>,
    telling: Arc<Telling>,
}

impl FanOutWorker {
    /// A worker on the jobs of `store`.
    pub fn new(
        config: FanOutConfig,
        store: Arc<dyn FanOutStore>,
        planner: Planner,
        pipeline: PipelineHandle,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let config = FanOutConfig { concurrent: config.concurrent.max(1), ..config };
        let telling = Telling::new(config, Arc::clone(&store), planner, pipeline, clock);
        let telling = Arc::new(telling);
        Self { config, store, telling }
    }

    /// Works until `stop`. What is held then is free for others when its lease ends.
    pub async fn run(self, stop: CancellationToken) {
        let began = self.telling.pipeline.fan_out_began();
        let mut look_at = Instant::now();
        // A task per fan-out. They wait for each other where their pages enter the pipeline, first
        // come, first served: that is what makes them take turns.
        let mut running = JoinSet::new();
        loop {
            if look_at <= Instant::now() {
                look_at = Instant::now() + self.config.poll;
                let room = self.config.concurrent.saturating_sub(running.len());
                for fan_out in self.claim(room).await {
                    running.spawn(Arc::clone(&self.telling).tell(fan_out));
                }
                self.look_who_waits(running.len()).await;
            }
            // With everything taken, one that began only has to be known to wait.
            let room = running.len() < self.config.concurrent;
            let look_when_begun = room || !self.telling.others_wait();
            // Losing a branch is harmless: a page under way goes on, and is found to be told.
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ended) = running.join_next() => {
                    // There is room again, and others may have been waiting for it.
                    look_at = Instant::now();
                    if let Err(error) = ended {
                        tracing::error!(%error, "a fan-out failed; it is taken up again later");
                    }
                }
                () = began.notified(), if look_when_begun => look_at = Instant::now(),
                () = tokio::time::sleep_until(look_at) => {}
            }
        }
    }

    /// Claims up to `room` fan-outs.
    async fn claim(&self, room: usize) -> Vec<FanOut> {
        if room == 0 {
            return Vec::new();
        }
        let (graph, now) = (self.telling.planner.graph(), self.telling.clock.now());
        let claimed = self.store.claim_fan_outs(graph, now, self.config.lease, room).await;
        claimed.unwrap_or_else(|error| {
            tracing::warn!(error = %ErrorChain(&error), "no fan-outs could be claimed");
            Vec::new()
        })
    }

    /// Says how much is left to do, and whether more is than the `running` ones. Those may be another
    /// node's that asks the same graph: then one is given back in vain now and then.
    async fn look_who_waits(&self, running: usize) {
        let Ok(backlog) = self.store.fan_out_backlog(self.telling.planner.graph()).await else {
            return;
        };
        let (measure, now) = (&self.telling.measure, self.telling.clock.now());
        measure.here.set(backlog.here, now);
        measure.elsewhere.set(backlog.elsewhere, now);
        let running = u64::try_from(running).unwrap_or(u64::MAX);
        self.telling.note_others_wait(backlog.here.unfinished > running);
    }
}
