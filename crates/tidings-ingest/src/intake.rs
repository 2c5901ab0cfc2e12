//! What an event source talks to: plans events and waits until their rows are durable.

use std::sync::Arc;

use tidings_core::{
    batch::{NotificationBatch, PlannedEvent, Recipient},
    clock::Clock,
    event::{Audience, Event, IncomingEvent},
    ids::UserId,
    plan::plan_event,
    ports::{Presence, SocialGraphStore},
    route::RoutingPolicy,
};
use tokio::sync::oneshot;

use crate::{
    outcome::{Accepted, IntakeError},
    pipeline::{JobResult, PipelineHandle},
};

/// How the intake plans.
#[derive(Debug, Clone)]
pub struct IntakeConfig {
    /// When pushes fall due.
    pub routing: RoutingPolicy,
    /// Followers that are read and stored at a time.
    pub fanout_page: usize,
}

/// Takes events from any source.
#[derive(Clone)]
pub struct Intake {
    config: IntakeConfig,
    pipeline: PipelineHandle,
    graph: Arc<dyn SocialGraphStore>,
    presence: Arc<dyn Presence>,
    clock: Arc<dyn Clock>,
}

impl Intake {
    /// An intake that feeds `pipeline`.
    pub fn new(
        config: IntakeConfig,
        pipeline: PipelineHandle,
        graph: Arc<dyn SocialGraphStore>,
        presence: Arc<dyn Presence>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { config, pipeline, graph, presence, clock }
    }

    /// Plans and stores `events`, in their order, and says what became of each, once it is durable.
    ///
    /// The followers of a user are those at the time of planning; a long list is stored page by page,
    /// so that memory stays bounded and other events are not held up. If the node dies in between,
    /// the event was not answered, and sending it again completes it.
    pub async fn accept(&self, events: &[IncomingEvent]) -> Vec<Result<Accepted, IntakeError>> {
        let mut packer = Packer::new(self, events.len());
        for (index, incoming) in events.iter().enumerate() {
            let planned = match &incoming.audience {
                Audience::Users(users) => packer.add_users(index, &incoming.event, users).await,
                Audience::FollowersOf(user) => {
                    packer.add_followers(index, &incoming.event, user).await
                }
            };
            let Err(error) = planned else { continue };
            if matches!(error, IntakeError::Busy { .. } | IntakeError::Stopping) {
                // The rest would wait for the same full queue, one after the other.
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

    fn plan(&self, event: &Arc<Event>, users: impl IntoIterator<Item = UserId>) -> PlannedEvent {
        let is_online = |user: &UserId| self.presence.is_online(user);
        plan_event(event, users, is_online, &self.config.routing, self.clock.now())
    }
}

/// Packs the rows of one caller's events into jobs and collects their answers.
struct Packer<'a> {
    intake: &'a Intake,
    outcomes: Vec<Result<Accepted, IntakeError>>,
    open: NotificationBatch,
    open_indices: Vec<usize>,
    running: Vec<(Vec<usize>, oneshot::Receiver<JobResult>)>,
}

impl<'a> Packer<'a> {
    fn new(intake: &'a Intake, events: usize) -> Self {
        Self {
            intake,
            outcomes: vec![Ok(Accepted::default()); events],
            open: NotificationBatch::new(intake.pipeline.limits()),
            open_indices: Vec::new(),
            running: Vec::new(),
        }
    }

    async fn add_users(
        &mut self,
        index: usize,
        event: &Arc<Event>,
        users: &[UserId],
    ) -> Result<(), IntakeError> {
        let planned = self.intake.plan(event, users.iter().cloned());
        self.add(index, event, planned.recipients).await
    }

    async fn add_followers(
        &mut self,
        index: usize,
        event: &Arc<Event>,
        user: &UserId,
    ) -> Result<(), IntakeError> {
        let mut cursor = None;
        loop {
            let limit = self.intake.config.fanout_page;
            let page = self.intake.graph.get_followers(user, cursor.as_ref(), limit).await;
            let page = page.map_err(|error| IntakeError::Graph(Arc::new(error)))?;
            let followers = page.items.into_iter().map(|follow| follow.follower);
            let planned = self.intake.plan(event, followers);
            self.add(index, event, planned.recipients).await?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Adds rows of one event, at most a batch full at a time.
    async fn add(
        &mut self,
        index: usize,
        event: &Arc<Event>,
        recipients: Vec<Recipient>,
    ) -> Result<(), IntakeError> {
        let max_rows = self.open.limits().max_rows;
        let mut recipients = recipients.into_iter().peekable();
        loop {
            let chunk: Vec<_> = recipients.by_ref().take(max_rows).collect();
            let planned = PlannedEvent { event: Arc::clone(event), recipients: chunk, fan_out: None };
            let now = self.intake.clock.now();
            if let Err(planned) = self.open.try_add(planned, now) {
                self.submit().await?;
                let fits = self.open.try_add(planned, now);
                debug_assert!(fits.is_ok(), "an empty batch takes any event of up to max_rows");
            }
            self.open_indices.push(index);
            if recipients.peek().is_none() {
                return Ok(());
            }
        }
    }

    /// Queues the open batch. Its events fail together when the queue does not take it.
    async fn submit(&mut self) -> Result<(), IntakeError> {
        let empty = NotificationBatch::new(self.open.limits());
        let batch = std::mem::replace(&mut self.open, empty);
        let indices = std::mem::take(&mut self.open_indices);
        match self.intake.pipeline.submit(batch).await {
            Ok(answer) => {
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
        if !self.open.is_empty() {
            // What did not fit is noted in `outcomes`.
            let _noted = self.submit().await.is_err();
        }
        for (indices, answer) in std::mem::take(&mut self.running) {
            match answer.await.unwrap_or(Err(IntakeError::Stopping)) {
                Ok(accepted) => self.add_accepted(&indices, &accepted),
                Err(error) => self.fail_all(&indices, &error),
            }
        }
        self.outcomes
    }

    fn add_accepted(&mut self, indices: &[usize], accepted: &[Accepted]) {
        for (&index, part) in indices.iter().zip(accepted) {
            if let Ok(whole) = &mut self.outcomes[index] {
                whole.stored += part.stored;
                whole.duplicates += part.duplicates;
            }
        }
    }

    fn fail_all(&mut self, indices: &[usize], error: &IntakeError) {
        for &index in indices {
            self.outcomes[index] = Err(error.clone());
        }
    }
}
