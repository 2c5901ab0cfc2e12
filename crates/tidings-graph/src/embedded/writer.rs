//! The one thread that writes, and its group commit.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread::{self, JoinHandle},
    time::Instant,
};

use tidings_core::{error_chain::ErrorChain, ids::UserId, ports::GraphError};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    checkpoint::{CheckpointError, Frozen},
    commit::Commit,
    config::EmbeddedGraphConfig,
    disk::Disk,
    erase::{self, Erasure},
    error::{Closed, HalfChanged, SharedCause, unavailable},
    group::{Command, Group},
    index::Index,
    lock::DirectoryLock,
    log::Log,
    measure::{as_f64, describe_metrics, show_memory, show_size},
    snapshot::Snapshot,
};

/// Edges that are made visible under one lock: readers wait for this many at most, some tens of
/// microseconds.
const APPLY_EDGES: usize = 64;
/// Edges of an import that are planned under one lock, and whose users are looked up together.
const PLAN_EDGES: usize = 32;

/// One in so many follows has to have changed before a snapshot, which writes all of them, is made.
const CHANGED_SHARE: usize = 50;
/// When the store is closed, a snapshot is made from this part of the usual changes on: a start makes
/// fewer again in no time.
const CLOSING_SHARE: usize = 10;

/// What became of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// The edges that it added, or removed, as it was told to.
    pub(super) edges: u64,
    /// Where an erasure has come to.
    pub(super) erasure: Erasure,
}

impl Answer {
    fn of(edges: u64) -> Self {
        Self { edges, erasure: Erasure::Done }
    }
}

/// A command on its way through the queue, and where its answer goes; see [`Writer::run`].
struct Job {
    command: Command,
    reply: oneshot::Sender<Result<Answer, GraphError>>,
}

enum Message {
    Run(Job),
    /// The thread of the checkpoint is about to end.
    Checkpointed,
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
            checkpoint_changes: config.checkpoint_changes.max(1),
            queue: queue.downgrade(),
            checkpoint: None,
            retry_changes: 0,
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
        Ok(self.ask(command).await?.edges)
    }

    /// Goes on with an erasure from where it has come to, for a commit at most; as [`Writer::run`].
    pub(super) async fn erase(&self, user: UserId, erasure: Erasure) -> Result<Answer, GraphError> {
        self.ask(Command::Erase { user, erasure }).await
    }

    async fn ask(&self, command: Command) -> Result<Answer, GraphError> {
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

/// Its snapshot and the length of that, and the next generation of the log, if that could be made.
type Checkpoint = JoinHandle<(Result<(Snapshot, u64), CheckpointError>, Option<Log>)>;

struct Committer {
    disk: Disk,
    index: Arc<RwLock<Index>>,
    commit_edges: usize,
    max_users: u32,
    checkpoint_changes: usize,
    /// For the threads of checkpoints. It keeps nothing open.
    queue: mpsc::WeakSender<Message>,
    checkpoint: Option<Checkpoint>,
    /// Changes before which no checkpoint is tried after one could not be begun.
    retry_changes: usize,
    /// Why the store takes no more writes. It is opened again to find out what it holds.
    failed: Option<SharedCause>,
}

impl Committer {
    fn serve(mut self, mut queue: mpsc::Receiver<Message>) {
        describe_metrics();
        show_size(&self.index);
        show_memory(&self.index);
        self.checkpoint_if_due();
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
                    Message::Checkpointed => self.end_checkpoint(),
                    Message::Close => queue.close(),
                }
                let full = edges >= self.commit_edges || jobs.len() >= self.commit_edges;
                next = if full { None } else { queue.try_recv().ok() };
            }
            self.run_group(&mut jobs);
            metrics::gauge!("tidings_graph_writer_queue_commands").set(as_f64(queue.len() as u64));
            self.checkpoint_if_due();
        }
        // A checkpoint that has begun must not wait for a place in the queue.
        drop(queue);
        self.end_checkpoint();
        if self.changes() > self.checkpoint_changes / CLOSING_SHARE {
            self.begin_checkpoint();
            self.end_checkpoint();
        }
        self.disk.close();
    }

    /// Changes that are only in the log.
    fn changes(&self) -> usize {
        self.index.read().map_or(0, |index| index.unsaved())
    }

    fn checkpoint_if_due(&mut self) {
        // One whose thread panicked has sent no message.
        if self.checkpoint.as_ref().is_some_and(JoinHandle::is_finished) {
            self.end_checkpoint();
        }
        let Ok(index) = self.index.read() else { return };
        let follows = super::bits::to_usize(index.stats().follows);
        let due = self.checkpoint_changes.max(follows / CHANGED_SHARE);
        let is_due = index.unsaved() >= due.max(self.retry_changes);
        drop(index);
        if is_due {
            self.begin_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) {
        if self.checkpoint.is_some() || self.failed.is_some() {
            return;
        }
        let ended = match self.disk.begin_generation() {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(
                    error = %ErrorChain(&error),
                    "no snapshot of the graph is begun; its changes are safe in the log"
                );
                metrics::counter!("tidings_graph_checkpoint_failures_total").increment(1);
                self.retry_changes = self.changes() + self.checkpoint_changes;
                return;
            }
        };
        self.retry_changes = 0;
        let (state, generation) = (self.disk.state(), self.disk.generation());
        let (directory, next_log) = (self.disk.directory().to_owned(), self.disk.next_log());
        let Ok(mut index) = self.index.write() else { return };
        let frozen = Frozen::new(&mut index, state, generation, directory);
        drop(index);
        let (index, queue) = (Arc::clone(&self.index), self.queue.clone());
        let body = move || {
            // Closing a log and making one take some milliseconds: here, nobody waits for that.
            drop(ended);
            let written = frozen.settle(&index);
            let spare = next_log.create().ok();
            if let Some(queue) = queue.upgrade() {
                // Fails when the writer is closing: it waits for the thread then.
                let _closing = queue.blocking_send(Message::Checkpointed);
            }
            (written, spare)
        };
        match thread::Builder::new().name("tidings-graph-checkpoint".to_owned()).spawn(body) {
            Ok(thread) => self.checkpoint = Some(thread),
            Err(error) => self.fail(Arc::new(error)),
        }
    }

    /// Waits for the checkpoint, if there is one, and lets go of what it made superfluous.
    fn end_checkpoint(&mut self) {
        let Some(thread) = self.checkpoint.take() else { return };
        let Ok((written, spare)) = thread.join() else {
            // Some lists have taken the frozen changes in and some not.
            return self.fail(half_changed());
        };
        if let Some(spare) = spare {
            self.disk.keep_spare(spare);
        }
        match written {
            Ok((snapshot, bytes)) => {
                tracing::info!(
                    commits = snapshot.commits,
                    bytes,
                    "a snapshot of the graph is written"
                );
                metrics::gauge!("tidings_graph_snapshot_bytes").set(as_f64(bytes));
                self.disk.keep(snapshot);
            }
            Err(error @ CheckpointError::Write(_)) => {
                tracing::error!(
                    error = %ErrorChain(&error),
                    "no snapshot of the graph is written; its changes are safe in the log"
                );
                metrics::counter!("tidings_graph_checkpoint_failures_total").increment(1);
                if let Ok(mut index) = self.index.write() {
                    index.saving_failed();
                }
                self.retry_changes = self.changes() + self.checkpoint_changes;
            }
            Err(CheckpointError::HalfChanged(_)) => return self.fail(half_changed()),
        }
        show_memory(&self.index);
    }

    fn fail(&mut self, cause: SharedCause) {
        if self.failed.is_none() {
            tracing::error!(error = %cause, "the graph takes no more writes until it is opened again");
            self.failed = Some(cause);
        }
    }

    /// Durable first, then visible, then answered.
    fn run_group(&mut self, jobs: &mut Vec<Job>) {
        let mut answers = Vec::with_capacity(jobs.len());
        let done = self.plan(jobs, &mut answers).and_then(|commit| {
            if commit.is_empty() {
                return Ok(());
            }
            self.commit(&commit)?;
            self.apply(&commit)
        });
        if let Err(cause) = &done {
            self.fail(Arc::clone(cause));
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
        answers: &mut Vec<Result<Answer, GraphError>>,
    ) -> Result<Commit, SharedCause> {
        if let Some(cause) = &self.failed {
            return Err(Arc::clone(cause));
        }
        let mut group = Group::new(self.disk.state().next_number, self.max_users);
        for job in jobs {
            answers.push(self.plan_command(&mut group, &job.command)?);
        }
        Ok(group.into_commit())
    }

    /// Plans a command. A checkpoint may replace segments meanwhile, which changes where edges are and not
    /// which there are; it must not wait for a long import or erasure, and readers behind it must not either.
    fn plan_command(
        &self,
        group: &mut Group,
        command: &Command,
    ) -> Result<Result<Answer, GraphError>, SharedCause> {
        let lock = || self.index.read().map_err(|_| half_changed());
        match command {
            Command::Import(edges) => {
                let mut new = 0;
                for edges in edges.chunks(PLAN_EDGES) {
                    match group.import(&*lock()?, edges) {
                        Ok(added) => new += added,
                        Err(error) => return Ok(Err(error)),
                    }
                }
                Ok(Ok(Answer::of(new)))
            }
            Command::Erase { user, erasure } => {
                let (mut answer, mut work) = (Answer { edges: 0, erasure: *erasure }, 0);
                for _ in 0..erase::STEPS {
                    let step = group.erase(&*lock()?, user, answer.erasure);
                    answer.edges += step.edges;
                    work += step.work;
                    let is_idle = step.edges == 0 && step.erasure == answer.erasure;
                    answer.erasure = step.erasure;
                    let is_done = is_idle || answer.erasure == Erasure::Done;
                    if is_done || work >= erase::COMMAND_WORK {
                        break;
                    }
                }
                Ok(Ok(answer))
            }
            _ => Ok(group.plan(&*lock()?, command).map(Answer::of)),
        }
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), SharedCause> {
        let started = Instant::now();
        let committed = self.disk.commit(commit);
        metrics::histogram!("tidings_graph_commit_duration_seconds").record(started.elapsed());
        let edges = commit.added.len() + commit.removed.len();
        metrics::histogram!("tidings_graph_commit_edges").record(as_f64(edges as u64));
        if committed.is_err() {
            metrics::counter!("tidings_graph_commit_failures_total").increment(1);
        }
        committed
    }

    fn apply(&self, commit: &Commit) -> Result<(), SharedCause> {
        let lock = || self.index.write().map_err(|_| half_changed());
        for users in commit.new_users.chunks(APPLY_EDGES) {
            let mut index = lock()?;
            users.iter().for_each(|id| index.add_user(id.as_str()));
        }
        for edges in commit.removed.chunks(APPLY_EDGES) {
            let mut index = lock()?;
            edges.iter().for_each(|edge| index.remove(edge));
        }
        for edges in commit.added.chunks(APPLY_EDGES) {
            let mut index = lock()?;
            edges.iter().for_each(|edge| index.add(edge));
        }
        for user in &commit.forgotten {
            lock()?.forget_user(user.user);
        }
        show_size(&self.index);
        Ok(())
    }
}

fn half_changed() -> SharedCause {
    Arc::new(HalfChanged)
}
