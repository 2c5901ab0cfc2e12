//! One transaction after the other, and what to do when one fails.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use tidings_core::{
    batch::{AppendedEvent, BatchLimits, BatchPart, NotificationBatch},
    clock::Clock,
    error_chain::ErrorChain,
    ports::{Claim, LiveNotifications, NotificationStore, StoreError},
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    AfterCommit, Health,
    doubt::Doubts,
    gathering::{Gathered, Gathering, Job, Waiter},
    measure::Measure,
};
use crate::outcome::{Accepted, IntakeError};

/// Direct transactions that may pass over a page of a fan-out that waits.
const PASSED_OVER: u32 = 4;

/// What every lane stores with.
pub(super) struct Storing {
    pub(super) store: Arc<dyn NotificationStore>,
    pub(super) live: Arc<dyn LiveNotifications>,
    pub(super) after_commit: AfterCommit,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
    pub(super) doubts: Doubts,
    pub(super) fan_out_began: Arc<Notify>,
    pub(super) measure: Measure,
}

/// Stores one transaction at a time.
pub(super) struct Lane {
    limits: BatchLimits,
    direct: mpsc::Receiver<Job>,
    pages: mpsc::Receiver<Job>,
    storing: Arc<Storing>,
}

impl Lane {
    pub(super) fn new(
        limits: BatchLimits,
        direct: mpsc::Receiver<Job>,
        pages: mpsc::Receiver<Job>,
        storing: Arc<Storing>,
    ) -> Self {
        Self { limits, direct, pages, storing }
    }

    /// Stores batches until `stop`, then what is queued by then, and returns.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut gathering = Gathering::new(self.limits);
        let mut running: Option<BoxFuture<'static, ()>> = None;
        let mut page: Option<Job> = None;
        let mut passed_over = 0;
        let (mut direct_open, mut pages_open) = (true, true);
        loop {
            // Jobs that wait already are gathered before a transaction starts.
            while gathering.takes_more()
                && let Ok(job) = self.direct.try_recv()
            {
                gathering.add(job);
            }
            let open = direct_open || pages_open;
            let idle = running.is_none();
            if idle && gathering.is_empty() && page.is_none() && !open {
                return;
            }
            let linger = gathering.time_left(Instant::now());
            if idle {
                let direct_is_due = !gathering.is_empty() && (linger.is_zero() || !direct_open);
                // A page goes when nothing direct waits, and now and then when something always does.
                let page_is_due = gathering.is_empty() || passed_over >= PASSED_OVER;
                if page_is_due && let Some(job) = page.take() {
                    passed_over = 0;
                    running = Some(Arc::clone(&self.storing).store(Gathered::alone(job)).boxed());
                } else if direct_is_due {
                    passed_over += u32::from(page.is_some());
                    running = Some(Arc::clone(&self.storing).store(gathering.take()).boxed());
                }
            }
            let idle = running.is_none();
            // Every branch is cancel-safe: a receive takes nothing until it wins, and the running
            // transaction stays in `running`.
            tokio::select! {
                () = wait_for(running.as_mut()), if !idle => running = None,
                job = self.direct.recv(), if direct_open && gathering.takes_more() => match job {
                    Some(job) => gathering.add(job),
                    None => direct_open = false,
                },
                job = self.pages.recv(), if pages_open && page.is_none() => match job {
                    Some(job) => page = Some(job),
                    None => pages_open = false,
                },
                () = tokio::time::sleep(linger), if idle && !gathering.is_empty() => {}
                () = stop.cancelled(), if !self.direct.is_closed() => {
                    self.direct.close();
                    self.pages.close();
                }
            }
        }
    }
}

async fn wait_for(running: Option<&mut BoxFuture<'static, ()>>) {
    if let Some(running) = running {
        running.await;
    }
}

impl Storing {
    /// Stores a batch and answers everyone who waits for a part of it.
    ///
    /// Parts that fail for a reason of their own fail alone: whoever was fenced is answered, and the
    /// rest stored again; a batch that the store refuses is stored part by part.
    async fn store(self: Arc<Self>, gathered: Gathered) {
        let Gathered { mut batch, mut waiters } = gathered;
        loop {
            let error = match self.append(&batch).await {
                Ok(appended) => return self.accept(&batch, &appended, waiters),
                Err(error) => error,
            };
            match &*error {
                StoreError::Fenced { claims } if waiters.len() > 1 => {
                    let (fenced, others) = divide(&batch, waiters, claims);
                    let all = others.is_empty() || fenced.is_empty();
                    fail_all(fenced, &error);
                    if all {
                        return fail_all(others, &error);
                    }
                    (batch, waiters) = regather(&batch, others);
                }
                StoreError::Refused { .. } | StoreError::Corrupt { .. } if waiters.len() > 1 => {
                    tracing::warn!(error = %ErrorChain(&*error), jobs = waiters.len(),
                        "a batch was refused; its parts are stored one by one");
                    return self.store_apart(&batch, waiters).await;
                }
                _ => return fail_all(waiters, &error),
            }
        }
    }

    async fn store_apart(&self, batch: &NotificationBatch, waiters: Vec<(BatchPart, Waiter)>) {
        let mut waiters = waiters.into_iter();
        while let Some(waiter) = waiters.next() {
            let (part, alone) = regather(batch, vec![waiter]);
            match self.append(&part).await {
                Ok(appended) => self.accept(&part, &appended, alone),
                Err(error) => {
                    fail_all(alone, &error);
                    if error.is_transient() {
                        // The store is gone: the others need not wait to hear the same.
                        return fail_all(waiters.collect(), &error);
                    }
                }
            }
        }
    }

    async fn append(
        &self,
        batch: &Arc<NotificationBatch>,
    ) -> Result<Vec<AppendedEvent>, Arc<StoreError>> {
        let now = self.clock.now();
        let started = Instant::now();
        match self.store.append(Arc::clone(batch), now).await {
            Ok(appended) => {
                self.health.note_success();
                self.measure.stored(batch, &appended, started.elapsed(), now);
                Ok(appended)
            }
            Err(error) => {
                let error = Arc::new(error);
                if error.is_transient() {
                    self.health.note_failure(now, &error);
                    self.doubts.note(batch, now);
                }
                self.measure.failed();
                Err(error)
            }
        }
    }

    fn accept(
        &self,
        batch: &NotificationBatch,
        appended: &[AppendedEvent],
        waiters: Vec<(BatchPart, Waiter)>,
    ) {
        let committed_at = self.clock.now();
        let mut results = appended.iter().map(|event| {
            self.live.broadcast_notification(event);
            Accepted {
                stored: event.stored.len(),
                duplicates: event.duplicates,
                fans_out: event.fans_out,
            }
        });
        for (_, waiter) in waiters {
            let accepted = results.by_ref().take(waiter.events).collect();
            waiter.answer(Ok(accepted));
        }
        for user in self.doubts.untold(batch, appended, committed_at) {
            self.live.prompt_look(user);
        }
        if batch.fan_out_steps().is_empty() {
            // How long a fan-out takes has its own measure.
            self.measure.end_to_end(appended, committed_at);
        }
        if !batch.events().is_empty() {
            (self.after_commit)();
        }
        if batch.events().iter().any(|it| it.fan_out.is_some()) {
            self.fan_out_began.notify_one();
        }
    }
}

type Waiters = Vec<(BatchPart, Waiter)>;

/// Tells those apart whose part moves on what others have taken over.
fn divide(batch: &NotificationBatch, waiters: Waiters, claims: &[Claim]) -> (Waiters, Waiters) {
    waiters.into_iter().partition(|(part, _)| batch.part_has_any_claim(part, claims))
}

/// A batch of the parts of `batch` that these waiters have brought.
fn regather(batch: &NotificationBatch, waiters: Waiters) -> (Arc<NotificationBatch>, Waiters) {
    let mut gathered = NotificationBatch::new(batch.limits().unlimited());
    let mut moved = Vec::with_capacity(waiters.len());
    for (part, waiter) in waiters {
        let part = batch.part(&part);
        moved.push((BatchPart::of_appended(&gathered, &part), waiter));
        let fits = gathered.try_append(part);
        debug_assert!(fits.is_ok(), "parts of one batch fit into one batch");
    }
    (Arc::new(gathered), moved)
}

fn fail_all(waiters: Waiters, error: &Arc<StoreError>) {
    if waiters.is_empty() {
        return;
    }
    tracing::warn!(error = %ErrorChain(&**error), jobs = waiters.len(), "a batch was not stored");
    let answer = match &**error {
        StoreError::Fenced { .. } => IntakeError::Fenced(Arc::clone(error)),
        _ => IntakeError::Store(Arc::clone(error)),
    };
    for (_, waiter) in waiters {
        waiter.answer(Err(answer.clone()));
    }
}
