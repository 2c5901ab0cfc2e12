//! One fan-out, page after page.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    batch::{MAX_BATCH_ROWS, NotificationBatch},
    clock::{Clock, Timestamp},
    dead_letter::Stage,
    error_chain::ErrorChain,
    fan_out::{FanOut, FanOutStep},
    ports::{Cursor, FanOutStore},
};

use super::{
    FanOutConfig,
    measure::Measure,
    page::{Instead, Page, Rows},
};
use crate::{intake::is_refusal, outcome::IntakeError, pipeline::PipelineHandle, planner::Planner};

/// Pages after which a fan-out is given back if others wait: enough that claiming costs little.
const TURN_PAGES: u32 = 4;
/// How many times larger pages are than the first, where something direct need not wait for one to end:
/// commits and round trips then cost little beside the rows, and more gains next to nothing.
const WIDER: usize = 4;
/// Followers refused one after the other after which a fan-out is put aside: nearly everything is bad
/// then, and it would fill the dead letters.
const REFUSED_IN_A_ROW: u32 = 20;
/// For how long.
const PUT_ASIDE: Duration = Duration::from_secs(15 * 60);

/// What fan-outs are told with.
pub(super) struct Telling {
    config: FanOutConfig,
    store: Arc<dyn FanOutStore>,
    pub(super) planner: Planner,
    pub(super) pipeline: PipelineHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) measure: Measure,
    /// Whether fan-outs wait that nobody works at. As of the last look.
    others_wait: AtomicBool,
}

/// A fan-out that is being told.
struct Job {
    fan_out: FanOut,
    /// The page that comes next, if it is planned. One that may have been stored without our knowing is
    /// stored again as it is: planned anew it could end elsewhere, and its step would not be recognised.
    page: Option<Page>,
    /// Followers of the page that is planned next.
    limit: usize,
    /// Pages told since it was claimed.
    told: u32,
    /// Followers refused since one was told.
    refused: u32,
}

/// What comes after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// Everyone is told, it is others' turn, or nobody is to go on for a while.
    Leave,
}

impl Telling {
    pub(super) fn new(
        config: FanOutConfig,
        store: Arc<dyn FanOutStore>,
        planner: Planner,
        pipeline: PipelineHandle,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let others_wait = AtomicBool::new(false);
        Self { config, store, planner, pipeline, clock, measure: Measure::new(), others_wait }
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
        let limit = self.widest();
        let mut job = Job { fan_out, page: None, limit, told: 0, refused: 0 };
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
                Err(error) if is_refusal(&error) && self.divide(&mut job, &error) => {}
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

    /// Followers on a page at most.
    fn widest(&self) -> usize {
        let page = self.planner.page();
        if self.pipeline.has_spare_lane() { (page * WIDER).min(MAX_BATCH_ROWS) } else { page }
    }

    async fn plan(
        &self,
        fan_out: &FanOut,
        cursor: &Cursor,
        limit: usize,
    ) -> Result<Page, IntakeError> {
        let (planned, next) = self.planner.plan_page(fan_out, cursor, limit).await?;
        Ok(Page { rows: Rows::Followers(planned), next })
    }

    /// Plans the page at `cursor` while the one before is being stored. One that cannot be planned now is
    /// planned when its turn has come.
    async fn plan_ahead(&self, job: &Job, cursor: Option<&Cursor>, limit: usize) -> Option<Page> {
        let page = self.plan(&job.fan_out, cursor?, limit).await.ok()?;
        if let Rows::Followers(planned) = &page.rows
            && let Err(error) = self.store.prepare_page(planned).await
        {
            tracing::debug!(error = %ErrorChain(&error), "a page was not prepared");
        }
        Some(page)
    }

    /// Tells the next page and makes the step, in one transaction.
    ///
    /// The page after it is planned meanwhile, but stored afterwards only: steps are made in order.
    async fn tell_page(&self, job: &mut Job) -> Result<Then, IntakeError> {
        let page = match &job.page {
            Some(page) => page.clone(),
            None => {
                let planned = self.plan(&job.fan_out, &job.fan_out.cursor, job.limit).await?;
                job.page.insert(planned).clone()
            }
        };
        let (recipients, next) = (page.recipients(), page.next.clone());
        let is_letter = matches!(page.rows, Rows::Letter { .. });
        let now = self.clock.now();
        let (leased_until, then) = self.after(job, &page, now);
        let (id, steps) = (job.fan_out.id, job.fan_out.steps);
        let step = FanOutStep { id, steps, next: next.clone(), leased_until };
        let answer = self.pipeline.submit_page(self.batch(page, step, now)).await?;
        let limit = if recipients > 0 { job.limit * 2 } else { job.limit }.min(self.widest());
        let ahead = next.as_ref().filter(|_| then == Then::GoOn);
        let (answer, ahead) = tokio::join!(answer, self.plan_ahead(job, ahead, limit));
        let accepted = answer.unwrap_or(Err(IntakeError::Stopping))?;
        self.measure.pages.increment(1);
        let told: usize = accepted.iter().map(|it| it.stored).sum();
        self.measure.rows.increment(u64::try_from(told).unwrap_or(u64::MAX));
        if is_letter {
            let labels = [("origin", "fan_out"), ("stage", Stage::Store.as_str())];
            metrics::counter!("tidings_dead_letters_total", &labels).increment(1);
        }
        if recipients > 0 {
            job.refused = 0;
        }
        job.limit = limit;
        if let (Then::GoOn, Some(cursor)) = (then, next) {
            job.fan_out.cursor = cursor;
            job.fan_out.steps += 1;
            job.page = ahead;
            job.told += 1;
        }
        Ok(then)
    }

    /// How long the fan-out is to be ours after `page`, and whether to go on with it.
    fn after(&self, job: &Job, page: &Page, now: Timestamp) -> (Timestamp, Then) {
        if page.next.is_none() {
            return (now, Then::Leave);
        }
        if job.refused >= REFUSED_IN_A_ROW {
            tracing::error!(
                fan_out = job.fan_out.id.0,
                refused = job.refused,
                "one follower after the other is refused: a fan-out is put aside for a while"
            );
            return (now.after(PUT_ASIDE), Then::Leave);
        }
        if job.told + 1 >= TURN_PAGES && self.others_wait() {
            // Given back with the step, so that there is no moment at which it is nobody's and not free.
            return (now, Then::Leave);
        }
        (now.after(self.config.lease), Then::GoOn)
    }

    fn batch(&self, page: Page, step: FanOutStep, now: Timestamp) -> NotificationBatch {
        let mut batch = NotificationBatch::new(self.pipeline.limits().unlimited());
        match page.rows {
            Rows::Followers(planned) => {
                let fits = batch.try_add(planned, now);
                debug_assert!(fits.is_ok(), "a page has at most as many rows as a store takes");
            }
            Rows::Letter { letter, .. } => batch.add_dead_letter(letter, now),
            Rows::Nothing => {}
        }
        batch.step_fan_out(step, now);
        batch
    }

    /// Makes less of a page that the store refuses. Says whether there is less.
    fn divide(&self, job: &mut Job, error: &IntakeError) -> bool {
        let Some(page) = job.page.take() else { return false };
        match page.refused(&ErrorChain(error).to_string(), self.clock.now()) {
            Instead::Fewer(limit) => job.limit = limit,
            Instead::Store(page) => {
                job.refused += u32::from(matches!(page.rows, Rows::Letter { .. }));
                job.page = Some(page);
            }
            Instead::GiveUp => return false,
        }
        true
    }
}
