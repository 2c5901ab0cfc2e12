//! Gathers the rows of all callers into batches and stores them, one transaction at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tidings_core::{
    batch::{BatchLimits, NotificationBatch},
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    ports::{LiveNotifications, NotificationStore, StoreError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::outcome::{Accepted, IntakeError};

/// Bounds of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineConfig {
    /// When a batch is closed.
    pub batch: BatchLimits,
    /// Jobs that may wait for the store.
    pub queue_jobs: usize,
    /// Bytes that may wait for the store, the batch that is being stored included.
    pub queue_bytes: usize,
    /// How long a caller may wait for room in the queue before it is turned away.
    pub queue_wait: Duration,
}

/// What the pipeline answers for each event of a job, in its order.
pub(crate) type JobResult = Result<Vec<Accepted>, IntakeError>;

/// Rows that are stored in one transaction and answered together.
struct Job {
    batch: NotificationBatch,
    waiter: Waiter,
}

/// Bytes of one permit of the queue's budget: a semaphore counts to 2^32 at most on some platforms.
const PERMIT_BYTES: usize = 256;

/// Where callers leave their rows.
#[derive(Debug, Clone)]
pub struct PipelineHandle {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    room_permits: usize,
    queue_wait: Duration,
    batch: BatchLimits,
    waiting: Arc<AtomicUsize>,
}

impl PipelineHandle {
    pub(crate) fn waiting_jobs(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What a job may hold at most.
    pub(crate) fn limits(&self) -> BatchLimits {
        self.batch
    }

    /// Queues rows that fit an empty batch; the receiver tells when they are durable.
    ///
    /// Waits for room, at most `queue_wait`.
    pub(crate) async fn submit(
        &self,
        batch: NotificationBatch,
    ) -> Result<oneshot::Receiver<JobResult>, IntakeError> {
        let permits = (batch.bytes() / PERMIT_BYTES + 1).min(self.room_permits);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let (reply, answer) = oneshot::channel();
        let queued = timeout(self.queue_wait, async {
            let room = Arc::clone(&self.room).acquire_many_owned(permits).await.ok()?;
            let waiter = Waiter {
                events: batch.events().len(),
                reply,
                _room: room,
                _counted: Counted::new(&self.waiting),
            };
            self.jobs.send(Job { batch, waiter }).await.ok()
        });
        match queued.await {
            Ok(Some(())) => Ok(answer),
            Ok(None) => Err(IntakeError::Stopping),
            Err(_) => Err(IntakeError::Busy { retry_after: self.queue_wait }),
        }
    }
}

/// Called after each commit that may have made pushes fall due.
pub type AfterCommit = Arc<dyn Fn() + Send + Sync>;

/// The one task that stores what the intake accepts.
///
/// One transaction at a time keeps broadcasts in commit order; rows that arrive meanwhile gather in
/// the next batch, so the batch size follows the load by itself.
pub struct Pipeline {
    jobs: mpsc::Receiver<Job>,
    config: PipelineConfig,
    store: Arc<dyn NotificationStore>,
    live: Arc<dyn LiveNotifications>,
    after_commit: AfterCommit,
    clock: Arc<dyn Clock>,
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
        let (sender, jobs) = mpsc::channel(config.queue_jobs.max(1));
        let room_permits = (config.queue_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let handle = PipelineHandle {
            jobs: sender,
            room: Arc::new(Semaphore::new(room_permits)),
            room_permits,
            queue_wait: config.queue_wait,
            batch: config.batch,
            waiting: Arc::default(),
        };
        (Self { jobs, config, store, live, after_commit, clock }, handle)
    }

    /// Stores batches until `stop`, then what is queued by then, and returns.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut gathering = Gathering::new(self.config.batch);
        let mut storing: Option<BoxFuture<'static, ()>> = None;
        let mut open = true;
        loop {
            // Jobs that wait already are gathered before a transaction starts.
            while gathering.takes_more()
                && let Ok(job) = self.jobs.try_recv()
            {
                gathering.add(job);
            }
            let idle = storing.is_none();
            if idle && gathering.is_empty() && !open {
                return;
            }
            let linger = gathering.time_left(self.clock.now());
            if idle && !gathering.is_empty() && (linger.is_zero() || !open) {
                storing = Some(self.store_batch(gathering.take()).boxed());
            }
            // Every branch is cancel-safe: a receive takes nothing until it wins, and the running
            // transaction stays in `storing`.
            tokio::select! {
                () = wait_for(storing.as_mut()), if storing.is_some() => storing = None,
                job = self.jobs.recv(), if open && gathering.takes_more() => match job {
                    Some(job) => gathering.add(job),
                    None => open = false,
                },
                () = tokio::time::sleep(linger), if idle && !gathering.is_empty() => {}
                () = stop.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
            }
        }
    }

    fn store_batch(&self, gathered: Gathered) -> impl Future<Output = ()> + Send + 'static {
        let store = Arc::clone(&self.store);
        let live = Arc::clone(&self.live);
        let after_commit = Arc::clone(&self.after_commit);
        let now = self.clock.now();
        async move {
            let rows = gathered.batch.rows();
            metrics::histogram!("tidings_intake_batch_rows").record(rows_as_f64(rows));
            match store.append(gathered.batch, now).await {
                Ok(appended) => {
                    let mut results = appended.iter().map(|event| {
                        live.broadcast_notification(event);
                        Accepted {
                            stored: event.stored.len(),
                            duplicates: event.duplicates,
                            fans_out: event.fans_out,
                        }
                    });
                    for waiter in gathered.waiters {
                        let accepted = results.by_ref().take(waiter.events).collect();
                        waiter.answer(Ok(accepted));
                    }
                    after_commit();
                }
                Err(error) => fail_all(gathered.waiters, error),
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has at most 10,000 rows")]
fn rows_as_f64(rows: usize) -> f64 {
    rows as f64
}

async fn wait_for(storing: Option<&mut BoxFuture<'static, ()>>) {
    if let Some(storing) = storing {
        storing.await;
    }
}

fn fail_all(waiters: Vec<Waiter>, error: StoreError) {
    let error = Arc::new(error);
    tracing::warn!(error = %ErrorChain(&*error), jobs = waiters.len(), "a batch was not stored");
    for waiter in waiters {
        waiter.answer(Err(IntakeError::Store(Arc::clone(&error))));
    }
}

/// Who waits for a job.
struct Waiter {
    /// Events of the job.
    events: usize,
    reply: oneshot::Sender<JobResult>,
    /// Gives the job's bytes back to the queue when it is answered.
    _room: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Counts a job for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("tidings_intake_jobs").increment(1.0);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("tidings_intake_jobs").decrement(1.0);
    }
}

impl Waiter {
    fn answer(self, result: JobResult) {
        // A caller that has gone away does not need its answer; the rows are kept all the same.
        let _gone = self.reply.send(result).is_err();
    }
}

struct Gathered {
    batch: NotificationBatch,
    waiters: Vec<Waiter>,
}

/// The batch that is filling up, and the job that did not fit any more.
struct Gathering {
    limits: BatchLimits,
    batch: NotificationBatch,
    waiters: Vec<Waiter>,
    left_over: Option<Job>,
}

impl Gathering {
    fn new(limits: BatchLimits) -> Self {
        let batch = NotificationBatch::new(limits);
        Self { limits, batch, waiters: Vec::new(), left_over: None }
    }

    fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How long the batch may still wait for company; zero once nothing more fits.
    fn time_left(&self, now: Timestamp) -> Duration {
        match self.batch.due_at() {
            Some(due) if self.takes_more() => due.since(now),
            _ => Duration::ZERO,
        }
    }

    fn takes_more(&self) -> bool {
        self.left_over.is_none() && !self.batch.is_full()
    }

    fn add(&mut self, job: Job) {
        match self.batch.try_append(job.batch) {
            Ok(()) => self.waiters.push(job.waiter),
            Err(batch) => self.left_over = Some(Job { batch, ..job }),
        }
    }

    /// Hands the batch over and starts the next one with what did not fit.
    fn take(&mut self) -> Gathered {
        let batch = std::mem::replace(&mut self.batch, NotificationBatch::new(self.limits));
        let gathered = Gathered { batch, waiters: std::mem::take(&mut self.waiters) };
        if let Some(job) = self.left_over.take() {
            self.add(job);
        }
        gathered
    }
}
