//! What requests talk to: plans events and waits until their rows are durable.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    batch::{NotificationBatch, PlannedEvent},
    clock::Clock,
    event::IncomingEvent,
    ports::StoreError,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    outcome::{Accepted, IntakeError},
    pipeline::{JobResult, LaneNumber, PipelineHandle, StoreFailing},
    planner::Planner,
};

/// Takes events from requests.
#[derive(Clone)]
pub struct Intake {
    planner: Planner,
    pipeline: PipelineHandle,
    clock: Arc<dyn Clock>,
    answer_wait: Duration,
}

impl Intake {
    /// An intake that feeds `pipeline`. Whoever waits for the store is told after `answer_wait` that
    /// it does not answer.
    pub fn new(
        planner: Planner,
        pipeline: PipelineHandle,
        clock: Arc<dyn Clock>,
        answer_wait: Duration,
    ) -> Self {
        Self { planner, pipeline, clock, answer_wait }
    }

    /// Plans and stores `events`, in their order, and says what became of each, once it is durable.
    ///
    /// Of a long list of followers the first page is stored with the event, and a durable job that
    /// tells the others. An event that the store refuses fails alone; once the store does not take or
    /// answer what it might, the rest is not tried.
    pub async fn accept(&self, events: &[IncomingEvent]) -> Vec<Result<Accepted, IntakeError>> {
        let mut packer = Packer::new(self, events);
        for index in 0..events.len() {
            let Err(error) = packer.plan(index).await else { continue };
            if error.concerns_all() {
                // The rest would wait for the same full queue or store, one after the other.
                let rest: Vec<_> = (index..events.len()).collect();
                packer.fail_all(&rest, &error);
                break;
            }
            packer.fail_all(&[index], &error);
        }
        packer.finish().await
    }

    /// Jobs in the pipeline: waiting for the store, or being stored.
    #[must_use]
    pub fn waiting_jobs(&self) -> usize {
        self.pipeline.waiting_jobs()
    }

    /// How the store fails, if the last append did.
    #[must_use]
    pub fn store_failing(&self) -> Option<StoreFailing> {
        self.pipeline.failing()
    }
}

/// Packs the rows of one caller's events into jobs and collects their answers.
struct Packer<'a> {
    intake: &'a Intake,
    events: &'a [IncomingEvent],
    outcomes: Vec<Result<Accepted, IntakeError>>,
    open: NotificationBatch,
    open_indices: Vec<usize>,
    running: Vec<(Vec<usize>, oneshot::Receiver<JobResult>)>,
    /// Where all of its jobs go, so that the events stay in their order.
    lane: Option<LaneNumber>,
    /// Until when the store may answer.
    deadline: Instant,
}

impl<'a> Packer<'a> {
    fn new(intake: &'a Intake, events: &'a [IncomingEvent]) -> Self {
        Self {
            intake,
            events,
            outcomes: vec![Ok(Accepted::default()); events.len()],
            open: NotificationBatch::new(intake.pipeline.limits()),
            open_indices: Vec::new(),
            running: Vec::new(),
            lane: None,
            deadline: Instant::now() + intake.answer_wait,
        }
    }

    async fn plan(&mut self, index: usize) -> Result<(), IntakeError> {
        let planned = self.intake.planner.plan(&self.events[index]).await?;
        self.add(index, planned).await
    }

    /// Adds rows of one event, at most a batch full at a time. What the event begins goes with the
    /// first of them.
    async fn add(&mut self, index: usize, planned: PlannedEvent) -> Result<(), IntakeError> {
        let max_rows = self.open.limits().max_rows;
        let PlannedEvent { event, mut recipients, mut fan_out } = planned;
        loop {
            let rest = recipients.split_off(max_rows.min(recipients.len()));
            let chunk =
                PlannedEvent { event: Arc::clone(&event), recipients, fan_out: fan_out.take() };
            let now = self.intake.clock.now();
            if let Err(chunk) = self.open.try_add(chunk, now) {
                self.submit().await?;
                let fits = self.open.try_add(chunk, now);
                debug_assert!(fits.is_ok(), "an empty batch takes any event of up to max_rows");
            }
            self.open_indices.push(index);
            if rest.is_empty() {
                return Ok(());
            }
            recipients = rest;
        }
    }

    /// Queues the open batch. Its events fail together when the queue does not take it.
    async fn submit(&mut self) -> Result<(), IntakeError> {
        let empty = NotificationBatch::new(self.open.limits());
        let batch = std::mem::replace(&mut self.open, empty);
        let indices = std::mem::take(&mut self.open_indices);
        match self.intake.pipeline.submit(batch, self.lane).await {
            Ok((answer, lane)) => {
                self.lane = Some(lane);
                self.running.push((indices, answer));
                Ok(())
            }
            Err(error) => {
                self.fail_all(&indices, &error);
                Err(error)
            }
        }
    }

    async fn finish(mut self) -> Vec<Result<Accepted, IntakeError>> {
        let mut refused = self.settle().await;
        refused.sort_unstable();
        refused.dedup();
        for (nth, &index) in refused.iter().enumerate() {
            self.outcomes[index] = Ok(Accepted::default());
            if let Err(error) = self.plan(index).await {
                self.fail_all(&[index], &error);
            }
            // One event's rows at a time: whatever is refused now is refused for its own sake.
            self.settle().await;
            if let Err(error) = &self.outcomes[index]
                && error.concerns_all()
            {
                let error = error.clone();
                self.fail_all(&refused[nth..], &error);
                break;
            }
        }
        self.outcomes
    }

    /// Waits for all jobs, and returns the events of those that the store refused together with others.
    async fn settle(&mut self) -> Vec<usize> {
        if !self.open.is_empty() {
            // What did not fit is noted in `outcomes`.
            let _noted = self.submit().await.is_err();
        }
        let mut refused = Vec::new();
        for (indices, answer) in std::mem::take(&mut self.running) {
            let answer = match timeout_at(self.deadline, answer).await {
                Ok(answer) => answer.unwrap_or(Err(IntakeError::Stopping)),
                // The job stays in the queue and is stored when the store is itself again.
                Err(_) => Err(IntakeError::Late { retry_after: self.intake.answer_wait }),
            };
            match answer {
                Ok(accepted) => self.add_accepted(&indices, &accepted),
                Err(error) => {
                    if is_refusal(&error) && indices.len() > 1 {
                        refused.extend_from_slice(&indices);
                    }
                    self.fail_all(&indices, &error);
                }
            }
        }
        refused
    }

    fn add_accepted(&mut self, indices: &[usize], accepted: &[Accepted]) {
        for (&index, part) in indices.iter().zip(accepted) {
            if let Ok(whole) = &mut self.outcomes[index] {
                whole.stored += part.stored;
                whole.duplicates += part.duplicates;
                whole.fans_out |= part.fans_out;
            }
        }
    }

    fn fail_all(&mut self, indices: &[usize], error: &IntakeError) {
        for &index in indices {
            self.outcomes[index] = Err(error.clone());
        }
    }
}

/// Whether the store will not take it as it is, now or later.
pub(crate) fn is_refusal(error: &IntakeError) -> bool {
    matches!(error, IntakeError::Store(cause)
        if matches!(**cause, StoreError::Refused { .. } | StoreError::Corrupt { .. }))
}
