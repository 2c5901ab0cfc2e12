//! The one thread that writes, and its group commit.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread::{self, JoinHandle},
    time::Instant,
};

use tidings_core::ports::GraphError;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    config::EmbeddedGraphConfig,
    disk::Disk,
    error::{Closed, HalfChanged, SharedCause, unavailable},
    group::{Command, Group},
    index::Index,
    lock::DirectoryLock,
};

/// Edges that are made visible under one lock: readers wait for this many at most, some tens of
/// microseconds.
const APPLY_EDGES: usize = 128;

/// A command on its way through the queue, and where its answer goes; see [`Writer::run`].
struct Job {
    command: Command,
    reply: oneshot::Sender<Result<u64, GraphError>>,
}

enum Message {
    Run(Job),
    Close,
}

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    // Before the thread: it ends when the queue does, and dropping it waits for that.
    queue: mpsc::Sender<Message>,
    thread: WriterThread,
}

impl Writer {
    /// Starts the thread. It keeps `lock` until the store is closed.
    pub(super) fn start(
        disk: Disk,
        index: Arc<RwLock<Index>>,
        lock: DirectoryLock,
        config: &EmbeddedGraphConfig,
    ) -> io::Result<Self> {
        let (queue, messages) = mpsc::channel(config.writer_queue.max(1));
        let committer = Committer {
            disk,
            index,
            commit_edges: config.commit_edges.max(1),
            max_users: config.max_users.max(1),
            failed: None,
        };
        let thread = WriterThread::start(move || {
            committer.serve(messages);
            drop(lock);
        })?;
        Ok(Self { queue, thread })
    }

    /// Queues `command`, waiting for a place if the queue is full; returns once it is durable and
    /// visible, with the number of edges that it added, or
    /// removed, as it was told to.
    pub(super) async fn run(&self, command: Command) -> Result<u64, GraphError> {
        let op = command.op();
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.send(Message::Run(Job { command, reply })).await;
        sent.map_err(|_| unavailable(op, Closed))?;
        answer.await.map_err(|_| unavailable(op, Closed))?
    }

    /// Commits what is queued, refuses what comes after, and waits until the store is closed.
    pub(super) async fn close(&self) {
        // Fails when it is closed already, which is as good.
        let _closed = self.queue.send(Message::Close).await;
        self.thread.ended().await;
    }
}

/// The thread; dropping it waits for its end, which comes when the queue is dropped or closed.
#[derive(Debug)]
struct WriterThread {
    handle: Mutex<Option<JoinHandle<()>>>,
    /// Its other end is held by the thread; it closes when the thread ends.
    running: watch::Receiver<()>,
}

impl WriterThread {
    fn start(body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (alive, running) = watch::channel(());
        let handle = thread::Builder::new().name("tidings-graph".to_owned()).spawn(move || {
            body();
            drop(alive);
        })?;
        Ok(Self { handle: Mutex::new(Some(handle)), running })
    }

    async fn ended(&self) {
        let mut running = self.running.clone();
        while running.changed().await.is_ok() {}
        // Nothing is left to wait for but the kernel.
        self.join();
    }

    fn join(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            tracing::error!("the thread of the graph panicked");
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.join();
    }
}

struct Committer {
    disk: Disk,
    index: Arc<RwLock<Index>>,
    commit_edges: usize,
    max_users: u32,
    /// Why the store takes no more writes. It is opened again to find out what it holds.
    failed: Option<SharedCause>,
}

impl Committer {
    fn serve(mut self, mut queue: mpsc::Receiver<Message>) {
        describe_metrics();
        self.show_size();
        let mut jobs = Vec::new();
        while let Some(message) = queue.blocking_recv() {
            let mut edges = 0;
            let mut next = Some(message);
            // No waiting for more: while one group is being committed, the next one gathers.
            while let Some(message) = next {
                match message {
                    Message::Run(job) => {
                        edges += job.command.edges();
                        jobs.push(job);
                    }
                    Message::Close => queue.close(),
                }
                let full = edges >= self.commit_edges || jobs.len() >= self.commit_edges;
                next = if full { None } else { queue.try_recv().ok() };
            }
            self.run_group(&mut jobs);
            metrics::gauge!("tidings_graph_writer_queue_commands").set(as_f64(queue.len() as u64));
        }
        self.disk.close();
    }

    /// Durable first, then visible, then answered.
    fn run_group(&mut self, jobs: &mut Vec<Job>) {
        let mut answers = Vec::with_capacity(jobs.len());
        let done = self.plan(jobs, &mut answers).and_then(|group| {
            if group.is_empty() {
                return Ok(());
            }
            self.commit(&group)?;
            self.apply(&group)
        });
        if let Err(cause) = &done
            && self.failed.is_none()
        {
            tracing::error!(error = %cause, "the graph takes no more writes until it is opened again");
            self.failed = Some(Arc::clone(cause));
        }
        let mut answers = answers.into_iter();
        for job in jobs.drain(..) {
            let answer = match (&done, answers.next()) {
                (Ok(()), Some(answer)) => answer,
                (Err(cause), _) => Err(unavailable(job.command.op(), Arc::clone(cause))),
                (Ok(()), None) => Err(unavailable(job.command.op(), Closed)),
            };
            // The caller may have given up; what is written stays.
            let _gone = job.reply.send(answer);
        }
    }

    fn plan(
        &self,
        jobs: &[Job],
        answers: &mut Vec<Result<u64, GraphError>>,
    ) -> Result<Group, SharedCause> {
        if let Some(cause) = &self.failed {
            return Err(Arc::clone(cause));
        }
        // Only this thread ever locks for writing, so this keeps nobody waiting.
        let index = self.index.read().map_err(|_| half_changed())?;
        let mut group = Group::new(self.disk.next_number(), self.max_users);
        answers.extend(jobs.iter().map(|job| group.plan(&index, &job.command)));
        Ok(group)
    }

    fn commit(&mut self, group: &Group) -> Result<(), SharedCause> {
        let started = Instant::now();
        let committed = self.disk.commit(group);
        metrics::histogram!("tidings_graph_commit_duration_seconds").record(started.elapsed());
        let edges = group.added().count() + group.removed().len();
        metrics::histogram!("tidings_graph_commit_edges").record(as_f64(edges as u64));
        if committed.is_err() {
            metrics::counter!("tidings_graph_commit_failures_total").increment(1);
        }
        committed
    }

    fn apply(&self, group: &Group) -> Result<(), SharedCause> {
        let lock = || self.index.write().map_err(|_| half_changed());
        for users in group.new_users().chunks(APPLY_EDGES) {
            let mut index = lock()?;
            users.iter().for_each(|id| index.add_user(id.clone()));
        }
        for edges in group.removed().chunks(APPLY_EDGES) {
            let mut index = lock()?;
            edges.iter().for_each(|edge| index.remove(edge));
        }
        let mut added = group.added().peekable();
        while added.peek().is_some() {
            let mut index = lock()?;
            added.by_ref().take(APPLY_EDGES).for_each(|edge| index.add(edge));
        }
        self.show_size();
        Ok(())
    }

    fn show_size(&self) {
        if let Ok(index) = self.index.read() {
            metrics::gauge!("tidings_graph_users").set(as_f64(index.users() as u64));
            metrics::gauge!("tidings_graph_follows").set(as_f64(index.follows()));
            metrics::gauge!("tidings_graph_blocks").set(as_f64(index.blocks()));
            metrics::gauge!("tidings_graph_mutes").set(as_f64(index.mutes()));
        }
    }
}

fn half_changed() -> SharedCause {
    Arc::new(HalfChanged)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is exact up to 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_histogram!(
        "tidings_graph_commit_duration_seconds",
        Unit::Seconds,
        "Time until a group of changes to the follow graph was durable"
    );
    metrics::describe_histogram!("tidings_graph_commit_edges", "Edges changed by one commit");
    metrics::describe_counter!("tidings_graph_commit_failures_total", "Commits that failed");
    metrics::describe_gauge!("tidings_graph_users", "Users that the follow graph knows");
    metrics::describe_gauge!("tidings_graph_follows", "Follows in the graph");
    metrics::describe_gauge!("tidings_graph_blocks", "Blocks in the graph");
    metrics::describe_gauge!("tidings_graph_mutes", "Mutes in the graph");
    metrics::describe_gauge!(
        "tidings_graph_writer_queue_commands",
        "Commands that wait for the next commit"
    );
}
