//! Works off fan-outs: an event on its way to the followers of a user, page by page.
//!
//! Why nobody is told twice or left out, wherever a worker dies: the rows of a page and the step that
//! moves the job past them are one transaction, and the step is a compare-and-set on the steps made so
//! far. A page that was not committed is planned again; of two workers that both believe in their
//! lease, one commits the step and the other is fenced. The graph's cursor lists every follower who
//! follows from the first page to the last exactly once.
//!
//! A cursor means nothing to another graph, and nodes that share a store may have a graph each: a
//! worker claims the fan-outs of its own graph only.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Gauge};
use tidings_core::{
    batch::{NotificationBatch, PlannedEvent},
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    fan_out::{FanOut, FanOutStep, FanOutsLeft},
    ports::{Cursor, FanOutStore},
    retry::RetryPolicy,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{outcome::IntakeError, pipeline::PipelineHandle, planner::Planner};

/// Bounds of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanOutConfig {
    /// Jobs that are worked at, in turns.
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
        let telling = Telling { config, planner, pipeline, clock, measure: Measure::new() };
        Self { config, store, telling: Arc::new(telling) }
    }

    /// Works until `stop`. What is held then is free for others when its lease ends.
    pub async fn run(self, stop: CancellationToken) {
        let began = self.telling.pipeline.fan_out_began();
        let mut look_at = Instant::now();
        // A task per fan-out. They wait for each other where their pages enter the pipeline, first
        // come, first served: that is what makes them take turns.
        let mut running = JoinSet::new();
        loop {
            let room = self.config.concurrent.saturating_sub(running.len());
            if look_at <= Instant::now() && room > 0 {
                look_at = Instant::now() + self.config.poll;
                for fan_out in self.claim(room).await {
                    running.spawn(Arc::clone(&self.telling).tell(fan_out));
                }
            }
            let room = running.len() < self.config.concurrent;
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
                () = began.notified(), if room => look_at = Instant::now(),
                () = tokio::time::sleep_until(look_at), if room => {}
            }
        }
    }

    /// Claims up to `room` fan-outs, and says how much is left to do.
    async fn claim(&self, room: usize) -> Vec<FanOut> {
        let now = self.telling.clock.now();
        let graph = self.telling.planner.graph();
        let claimed = self.store.claim_fan_outs(graph, now, self.config.lease, room).await;
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::warn!(error = %ErrorChain(&error), "no fan-outs could be claimed");
            Vec::new()
        });
        if let Ok(backlog) = self.store.fan_out_backlog(graph).await {
            let measure = &self.telling.measure;
            measure.here.set(backlog.here, now);
            measure.elsewhere.set(backlog.elsewhere, now);
        }
        claimed
    }
}

/// What a fan-out is told with.
struct Telling {
    config: FanOutConfig,
    planner: Planner,
    pipeline: PipelineHandle,
    clock: Arc<dyn Clock>,
    measure: Measure,
}

/// A page of followers, and where the next one begins.
type Page = (PlannedEvent, Option<Cursor>);

impl Telling {
    /// Tells page after page, until everyone is told or somebody else has taken over.
    async fn tell(self: Arc<Self>, mut fan_out: FanOut) {
        let mut attempt = 0;
        let mut planned: Option<Page> = None;
        loop {
            match self.tell_page(&fan_out, &mut planned).await {
                Ok(None) => return,
                Ok(Some(cursor)) => {
                    attempt = 0;
                    fan_out = FanOut { cursor, steps: fan_out.steps + 1, ..fan_out };
                }
                Err(IntakeError::Fenced(_)) => {
                    tracing::info!(fan_out = fan_out.id.0, "another worker goes on with a fan-out");
                    return;
                }
                Err(IntakeError::Stopping) => return,
                Err(error) => {
                    attempt += 1;
                    tracing::warn!(fan_out = fan_out.id.0, attempt, error = %ErrorChain(&error),
                        "a page of followers was not told");
                    self.measure.failures.increment(1);
                    if !error.is_transient() {
                        // Taken up again when the lease has ended: a person may have mended it.
                        return;
                    }
                    let wait = self.config.retry.ceiling(attempt).mul_f64(rand::random());
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Tells the next page and makes the step, in one transaction; says where to go on.
    ///
    /// A page that may have been stored without our knowing is stored again as it was planned: planned
    /// anew it could end elsewhere, and its step would not be recognised.
    async fn tell_page(
        &self,
        fan_out: &FanOut,
        planned: &mut Option<Page>,
    ) -> Result<Option<Cursor>, IntakeError> {
        if planned.is_none() {
            *planned = Some(self.planner.plan_page(fan_out).await?);
        }
        let Some((page, next)) = planned.clone() else { return Ok(None) };
        let now = self.clock.now();
        let mut batch = NotificationBatch::new(self.pipeline.limits().unlimited());
        let fits = batch.try_add(page, now);
        debug_assert!(fits.is_ok(), "a page has at most as many rows as a store takes");
        batch.step_fan_out(
            FanOutStep {
                id: fan_out.id,
                steps: fan_out.steps,
                next: next.clone(),
                leased_until: now.after(self.config.lease),
            },
            now,
        );
        let answer = self.pipeline.submit_page(batch).await?;
        let accepted = answer.await.unwrap_or(Err(IntakeError::Stopping))?;
        *planned = None;
        self.measure.pages.increment(1);
        let told: usize = accepted.iter().map(|it| it.stored).sum();
        self.measure.rows.increment(u64::try_from(told).unwrap_or(u64::MAX));
        Ok(next)
    }
}

/// What is left to do for the followers of one graph, or of several.
struct Left {
    unfinished: Gauge,
    oldest_age: Gauge,
}

impl Left {
    fn of(graph: &'static str) -> Self {
        Self {
            unfinished: metrics::gauge!("tidings_fan_out_unfinished", "graph" => graph),
            oldest_age: metrics::gauge!("tidings_fan_out_oldest_age_seconds", "graph" => graph),
        }
    }

    fn set(&self, left: FanOutsLeft, now: Timestamp) {
        self.unfinished.set(as_f64(left.unfinished));
        let age = left.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        self.oldest_age.set(age.as_secs_f64());
    }
}

struct Measure {
    here: Left,
    /// Of graphs that this node does not ask: other nodes tell them, if they run.
    elsewhere: Left,
    pages: Counter,
    rows: Counter,
    failures: Counter,
}

impl Measure {
    fn new() -> Self {
        metrics::describe_gauge!("tidings_fan_out_unfinished", "Fan-outs that have not ended");
        metrics::describe_gauge!(
            "tidings_fan_out_oldest_age_seconds",
            metrics::Unit::Seconds,
            "How long ago the oldest fan-out began that has not ended"
        );
        metrics::describe_counter!("tidings_fan_out_pages_total", "Pages of followers told");
        metrics::describe_counter!("tidings_fan_out_rows_total", "Followers told by fan-outs");
        metrics::describe_counter!("tidings_fan_out_failures_total", "Pages to be told again");
        Self {
            here: Left::of("here"),
            elsewhere: Left::of("elsewhere"),
            pages: metrics::counter!("tidings_fan_out_pages_total"),
            rows: metrics::counter!("tidings_fan_out_rows_total"),
            failures: metrics::counter!("tidings_fan_out_failures_total"),
        }
    }
}

fn as_f64(count: u64) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}
