//! Gathers the rows of all callers into batches and stores them.
//!
//! Each lane stores one transaction at a time. Rows that arrive meanwhile gather in the next
//! batch, so the batch size follows the load by itself: small and fast when quiet, large when busy.
//! A job goes to the emptiest lane, so that none waits while a lane is idle; what moves a partition's
//! position follows what does so already, so its order holds.

mod doubt;
mod entrance;
mod gathering;
mod lane;
mod measure;
mod prompt;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    batch::{BatchLimits, NotificationBatch},
    clock::{Clock, Timestamp},
    ports::{LiveNotifications, NotificationStore, StoreError},
};
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::entrance::LaneNumber;
use self::{
    doubt::Doubts,
    entrance::{Entrance, Entrances},
    gathering::{Job, Waiter},
    lane::{Lane, Storing},
    measure::Measure,
};
use crate::outcome::{Accepted, IntakeError};

/// Bounds of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineConfig {
    /// When a batch is closed.
    pub batch: BatchLimits,
    /// Jobs that may wait for the store, in each lane.
    pub queue_jobs: usize,
    /// Bytes that may wait for the store, the batches that are being stored included.
    pub queue_bytes: usize,
    /// How long a caller may wait for room in the queue before it is turned away.
    pub queue_wait: Duration,
    /// Transactions that may run at once. More than one gains something only where the store can.
    pub lanes: usize,
}

/// What the pipeline answers for each event of a job, in its order.
pub type JobResult = Result<Vec<Accepted>, IntakeError>;

/// Bytes of one permit of the queue's budget: a semaphore counts to 2^32 at most on some platforms.
const PERMIT_BYTES: usize = 256;

/// Called after each commit that may have made pushes fall due.
pub type AfterCommit = Arc<dyn Fn() + Send + Sync>;

/// What a job is stored before or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Somebody waits for it.
    Direct,
    /// A page of a fan-out: goes when nothing direct waits, or when it has been passed over for long.
    Page,
}

/// The store does not take batches at the moment.
#[derive(Debug, Clone)]
pub struct StoreFailing {
    /// When the first of the appends failed that have failed since the last success.
    pub since: Timestamp,
    /// Why the last one failed.
    pub error: Arc<StoreError>,
}

/// Whether appends succeed, as the last of them showed.
#[derive(Debug, Default)]
struct Health {
    failing: Mutex<Option<StoreFailing>>,
    /// Rings when an append failed that may have been committed all the same.
    doubtful: Notify,
    /// Not all sessions have looked since.
    is_doubtful: AtomicBool,
}

impl Health {
    fn failing(&self) -> MutexGuard<'_, Option<StoreFailing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_success(&self) {
        *self.failing() = None;
    }

    fn note_failure(&self, at: Timestamp, error: &Arc<StoreError>) {
        {
            let mut failing = self.failing();
            let since = failing.as_ref().map_or(at, |it| it.since);
            *failing = Some(StoreFailing { since, error: Arc::clone(error) });
        }
        self.is_doubtful.store(true, Ordering::Release);
        self.doubtful.notify_one();
    }
}

/// Where callers leave their rows.
#[derive(Debug, Clone)]
pub struct PipelineHandle {
    lanes: Arc<Entrances>,
    room: Arc<Semaphore>,
    room_permits: usize,
    /// Pages that may be in the pipeline at once: not so many that nothing direct can start, and none
    /// that waits for room where direct jobs do.
    pages: Arc<Semaphore>,
    queue_wait: Duration,
    batch: BatchLimits,
    health: Arc<Health>,
    fan_out_began: Arc<Notify>,
}

impl PipelineHandle {
    /// Jobs that wait for the store, or are being stored.
    pub(crate) fn waiting_jobs(&self) -> usize {
        self.lanes.waiting_jobs()
    }

    /// What a job may hold at most.
    pub(crate) fn limits(&self) -> BatchLimits {
        self.batch
    }

    /// Whether a page in one lane leaves another to what is direct.
    pub(crate) fn has_spare_lane(&self) -> bool {
        self.lanes.len() > 1
    }

    /// Rings when a fan-out has begun.
    pub(crate) fn fan_out_began(&self) -> Arc<Notify> {
        Arc::clone(&self.fan_out_began)
    }

    /// How the store fails, if the last append did.
    #[must_use]
    pub fn failing(&self) -> Option<StoreFailing> {
        self.health.failing().clone()
    }

    /// Queues rows that fit an empty batch; the receiver tells when they are durable. They are stored
    /// after those that were queued to the lane `beside`, and it is said which lane they are in.
    ///
    /// Waits for room, at most `queue_wait`.
    pub(crate) async fn submit(
        &self,
        batch: NotificationBatch,
        beside: Option<LaneNumber>,
    ) -> Result<(oneshot::Receiver<JobResult>, LaneNumber), IntakeError> {
        match timeout(self.queue_wait, self.enqueue(batch, Rank::Direct, beside)).await {
            Ok(queued) => queued,
            // The queue is full because nothing leaves it, or because too much comes in.
            Err(_) => Err(match self.failing() {
                Some(failing) => IntakeError::Store(failing.error),
                None => IntakeError::Busy { retry_after: self.queue_wait },
            }),
        }
    }

    /// Queues rows that fit an empty batch, waiting for room as long as it takes: for a source that can
    /// be held up. The receiver tells when they are durable.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Stopping`].
    pub async fn submit_patiently(
        &self,
        batch: NotificationBatch,
    ) -> Result<oneshot::Receiver<JobResult>, IntakeError> {
        self.enqueue(batch, Rank::Direct, None).await.map(|(answer, _)| answer)
    }

    /// Queues a page of a fan-out likewise. It gives way to direct jobs.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Stopping`].
    pub async fn submit_page(
        &self,
        batch: NotificationBatch,
    ) -> Result<oneshot::Receiver<JobResult>, IntakeError> {
        self.enqueue(batch, Rank::Page, None).await.map(|(answer, _)| answer)
    }

    async fn enqueue(
        &self,
        batch: NotificationBatch,
        rank: Rank,
        beside: Option<LaneNumber>,
    ) -> Result<(oneshot::Receiver<JobResult>, LaneNumber), IntakeError> {
        let permits = (batch.bytes() / PERMIT_BYTES + 1).min(self.room_permits);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = match rank {
            Rank::Direct => Arc::clone(&self.room).acquire_many_owned(permits).await,
            Rank::Page => Arc::clone(&self.pages).acquire_owned().await,
        };
        let room = room.map_err(|_| IntakeError::Stopping)?;
        let counted = self.lanes.choose(&batch, beside);
        let (lane, number) = (self.lanes.at(&counted), counted.lane());
        let queue = match rank {
            Rank::Direct => &lane.direct,
            Rank::Page => &lane.pages,
        };
        let queue = queue.clone();
        let (reply, answer) = oneshot::channel();
        let (events, since) = (batch.events().len(), Instant::now());
        let waiter = Waiter { events, since, reply, _room: room, _counted: counted };
        let sent = queue.send(Job { batch, waiter }).await;
        sent.map_err(|_| IntakeError::Stopping)?;
        Ok((answer, number))
    }
}

/// The tasks that store what the intake accepts, one per lane.
pub struct Pipeline {
    lanes: Vec<Lane>,
    storing: Arc<Storing>,
}

impl Pipeline {
    /// A pipeline in front of `store`, and the handle that feeds it.
    pub fn new(
        config: PipelineConfig,
        store: Arc<dyn NotificationStore>,
        live: Arc<dyn LiveNotifications>,
        after_commit: AfterCommit,
        clock: Arc<dyn Clock>,
    ) -> (Self, PipelineHandle) {
        let health = Arc::new(Health::default());
        let fan_out_began = Arc::new(Notify::new());
        let storing = Storing {
            store,
            live,
            after_commit,
            clock,
            health: Arc::clone(&health),
            doubts: Doubts::default(),
            fan_out_began: Arc::clone(&fan_out_began),
            measure: Measure::new(),
        };
        let storing = Arc::new(storing);
        let queue = config.queue_jobs.max(1);
        let (mut lanes, mut entrances) = (Vec::new(), Vec::new());
        for _ in 0..config.lanes.max(1) {
            let (direct, direct_jobs) = mpsc::channel(queue);
            // A page waits here at most: its worker holds the others back.
            let (pages, page_jobs) = mpsc::channel(1);
            lanes.push(Lane::new(config.batch, direct_jobs, page_jobs, Arc::clone(&storing)));
            entrances.push(Entrance::new(direct, pages));
        }
        let room_permits = (config.queue_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let handle = PipelineHandle {
            lanes: Arc::new(Entrances::new(entrances)),
            room: Arc::new(Semaphore::new(room_permits)),
            room_permits,
            pages: Arc::new(Semaphore::new(config.lanes.saturating_sub(1).max(1))),
            queue_wait: config.queue_wait,
            batch: config.batch,
            health,
            fan_out_began,
        };
        (Self { lanes, storing }, handle)
    }

    /// Stores batches until `stop`, then what is queued by then, and returns.
    pub async fn run(self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        // Ends with this future.
        let mut beside = JoinSet::new();
        let storing = Arc::clone(&self.storing);
        beside.spawn(prompt::after_failures(storing));
        for lane in self.lanes {
            running.spawn(lane.run(stop.clone()));
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                // A lane that panics takes its jobs' answers along; the supervisor sees us end.
                tracing::error!(%error, "a lane of the intake failed");
                stop.cancel();
            }
        }
        if self.storing.health.is_doubtful.load(Ordering::Acquire) {
            // Those on other nodes, before this one is silent.
            self.storing.live.prompt_all();
        }
    }
}
