//! One fan-out, page after page.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tidings_core::{
    batch::{NotificationBatch, PlannedEvent},
    clock::Clock,
    error_chain::ErrorChain,
    fan_out::{FanOut, FanOutStep},
    ports::Cursor,
};

use super::{FanOutConfig, measure::Measure};
use crate::{outcome::IntakeError, pipeline::PipelineHandle, planner::Planner};

/// Pages after which a fan-out is given back if others wait: enough that claiming costs little.
const TURN_PAGES: u32 = 4;

/// What fan-outs are told with.
pub(super) struct Telling {
    config: FanOutConfig,
    pub(super) planner: Planner,
    pub(super) pipeline: PipelineHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) measure: Measure,
    /// Whether fan-outs wait that nobody works at. As of the last look.
    others_wait: AtomicBool,
}

/// A page of followers, and where the next one begins.
type Page = (PlannedEvent, Option<Cursor>);

/// A fan-out that is being told.
struct Job {
    fan_out: FanOut,
    /// The page that comes next, if it is planned. One that may have been stored without our knowing is
    /// stored again as it is: planned anew it could end elsewhere, and its step would not be recognised.
    page: Option<Page>,
    /// Pages told since it was claimed.
    told: u32,
}

/// What comes after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// Everyone is told, or it is others' turn.
    Leave,
}

impl Telling {
    pub(super) fn new(
        config: FanOutConfig,
        planner: Planner,
        pipeline: PipelineHandle,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let others_wait = AtomicBool::new(false);
        Self { config, planner, pipeline, clock, measure: Measure::new(), others_wait }
    }

    pub(super) fn note_others_wait(&self, others_wait: bool) {
        self.others_wait.store(others_wait, Ordering::Relaxed);
    }

    pub(super) fn others_wait(&self) -> bool {
        self.others_wait.load(Ordering::Relaxed)
    }

    /// Tells page after page, until everyone is told, it is others' turn, or somebody else has taken
    /// over.
    pub(super) async fn tell(self: Arc<Self>, fan_out: FanOut) {
        let mut job = Job { fan_out, page: None, told: 0 };
        let id = job.fan_out.id.0;
        let mut attempt = 0;
        loop {
            match self.tell_page(&mut job).await {
                Ok(Then::GoOn) => attempt = 0,
                Ok(Then::Leave) | Err(IntakeError::Stopping) => return,
                Err(IntakeError::Fenced(_)) => {
                    tracing::info!(fan_out = id, "another worker goes on with a fan-out");
                    return;
                }
                Err(error) => {
                    attempt += 1;
                    tracing::warn!(fan_out = id, attempt, error = %ErrorChain(&error),
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

    /// Tells the next page and makes the step, in one transaction.
    async fn tell_page(&self, job: &mut Job) -> Result<Then, IntakeError> {
        let (planned, next) = match &job.page {
            Some(page) => page.clone(),
            None => job.page.insert(self.planner.plan_page(&job.fan_out).await?).clone(),
        };
        let now = self.clock.now();
        let turn_is_over = job.told + 1 >= TURN_PAGES && self.others_wait();
        let mut batch = NotificationBatch::new(self.pipeline.limits().unlimited());
        let fits = batch.try_add(planned, now);
        debug_assert!(fits.is_ok(), "a page has at most as many rows as a store takes");
        // Given back with the step, so that there is no moment at which it is nobody's and not free.
        let leased_until = if turn_is_over { now } else { now.after(self.config.lease) };
        let (id, steps) = (job.fan_out.id, job.fan_out.steps);
        batch.step_fan_out(FanOutStep { id, steps, next: next.clone(), leased_until }, now);
        let answer = self.pipeline.submit_page(batch).await?;
        let accepted = answer.await.unwrap_or(Err(IntakeError::Stopping))?;
        self.measure.pages.increment(1);
        let told: usize = accepted.iter().map(|it| it.stored).sum();
        self.measure.rows.increment(u64::try_from(told).unwrap_or(u64::MAX));
        let Some(cursor) = next.filter(|_| !turn_is_over) else { return Ok(Then::Leave) };
        job.fan_out.cursor = cursor;
        job.fan_out.steps += 1;
        job.page = None;
        job.told += 1;
        Ok(Then::GoOn)
    }
}
