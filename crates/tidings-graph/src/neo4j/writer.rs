//! The one thread that writes, and its group commit.
#![expect(clippy::result_large_err, reason = "the error is the driver's, and so is its size")]

use std::{
    fmt, io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use neo4j::transaction::Transaction;
use tidings_core::{ids::UserId, ports::GraphError};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{
    bolt::{Bolt, Deadline},
    config::Neo4jGraphConfig,
    cypher::Writes,
    error::{Failure, is_passing},
    measure,
    plan::{Change, Question},
    row::with,
    transaction::{self, Lock, Locked, Step},
};

/// How long removing what the writer left may take when the store is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Something that the writer can be asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Change(Change),
    /// Removes so many of a user's edges, and the user with the last.
    Erase {
        user: UserId,
        most: usize,
    },
}

impl Command {
    fn op(&self) -> &'static str {
        match self {
            Self::Change(change) => change.op(),
            Self::Erase { .. } => "erase_user",
        }
    }

    fn edges(&self) -> usize {
        match self {
            Self::Change(change) => change.edges(),
            Self::Erase { most, .. } => *most,
        }
    }
}

type Answer = Result<u64, GraphError>;

/// A command on its way through the queue, and where its answer goes.
struct Job {
    command: Command,
    reply: oneshot::Sender<Answer>,
}

enum Message {
    Run(Job),
    Close,
}

/// The way to the writing thread.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    time: Duration,
    /// Its other end is held by the thread; it closes when the thread ends.
    running: watch::Receiver<()>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("time", &self.time).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread. It ends when the writer is dropped or closed, once what is queued is done.
    pub(super) fn start(
        bolt: &Arc<Bolt>,
        writes: Writes,
        config: &Neo4jGraphConfig,
    ) -> io::Result<Self> {
        let (queue, messages) = mpsc::channel(config.writer_queue.max(1));
        let (alive, running) = watch::channel(());
        let mut committer = Committer {
            bolt: Arc::clone(bolt),
            writes,
            writer: Uuid::now_v7().to_string(),
            groups: 0,
            batch_edges: config.batch_edges.max(1),
            time: config.query_timeout,
        };
        let serve = move || {
            committer.serve(messages);
            drop(alive);
        };
        // Not joined: a server that is silent must not hold up a node that stops.
        let _handle = thread::Builder::new().name("tidings-neo4j-w".to_owned()).spawn(serve)?;
        Ok(Self { queue, time: config.query_timeout, running })
    }

    /// Queues `command`, waiting for a place if the queue is full; returns once it is durable and
    /// visible, with the number of edges that it added or removed. Gives up when the time is over:
    /// what has begun then may take effect yet, what has not is left out.
    pub(super) async fn run(&self, command: Command) -> Answer {
        let op = command.op();
        let deadline = Deadline::after(self.time);
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let sent = self.queue.send(Message::Run(Job { command, reply })).await;
            sent.map_err(|_| Failure::Closed.behind(op))?;
            answer.await.map_err(|_| Failure::Closed.behind(op))?
        };
        let answer = tokio::time::timeout(self.time, asked).await;
        answer.unwrap_or_else(|_| Err(deadline.passed().behind(op)))
    }

    /// Commits what is queued, refuses what comes after, and waits for the thread, but not for longer
    /// than a transaction may take.
    pub(super) async fn close(&self) {
        let mut running = self.running.clone();
        let closed = async {
            // Fails when it is closed already, which is as good.
            let _closed = self.queue.send(Message::Close).await;
            while running.changed().await.is_ok() {}
        };
        if tokio::time::timeout(self.time + FAREWELL, closed).await.is_err() {
            tracing::warn!("the writer of the graph still waits for Neo4j and is left behind");
        }
    }
}

/// What an attempt at a transaction came to.
enum Attempt {
    Done,
    /// The attempt before it, whose outcome was not known, was committed.
    WasDone,
    Failed(Failure),
}

/// Jobs for one transaction, and the edges that they may add.
#[derive(Default)]
struct Gathered {
    jobs: Vec<Job>,
    edges: usize,
}

/// The writing thread's own.
struct Committer {
    bolt: Arc<Bolt>,
    writes: Writes,
    /// Names this writer in the database.
    writer: String,
    /// Groups that were begun.
    groups: i64,
    batch_edges: usize,
    time: Duration,
}

impl Committer {
    fn serve(&mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(message) = queue.blocking_recv() {
            let mut group = Gathered::default();
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Run(job) => self.gather(job, &mut group),
                    Message::Close => queue.close(),
                }
                let is_full = group.edges >= self.batch_edges;
                next = if is_full { None } else { queue.try_recv().ok() };
            }
            self.run_group(group.jobs);
            measure::waiting(queue.len());
        }
        self.end();
    }

    fn gather(&mut self, job: Job, group: &mut Gathered) {
        if matches!(job.command, Command::Erase { .. }) {
            // In a transaction of its own, after what came before it.
            self.run_group(mem::take(group).jobs);
            self.run_group(vec![job]);
        } else {
            group.edges += job.command.edges();
            group.jobs.push(job);
        }
    }

    /// Removes what this writer left in the database.
    fn end(&self) {
        if self.groups > 0 {
            let writer = with([("writer", self.writer.as_str().into())]);
            let deadline = Deadline::after(FAREWELL);
            if let Err(error) = self.bolt.query("close", &self.writes.end_writer, &writer, deadline)
            {
                tracing::debug!(%error, "the writer's node is left in Neo4j");
            }
        }
    }

    /// Durable first, then answered.
    fn run_group(&mut self, mut jobs: Vec<Job>) {
        // Whoever gave up has been told that it failed: better then that it is not done.
        jobs.retain(|job| !job.reply.is_closed());
        if jobs.is_empty() {
            return;
        }
        let deadline = Deadline::after(self.time);
        let answers = catch_unwind(AssertUnwindSafe(|| self.commit(&jobs, deadline)));
        let answers = answers.unwrap_or_else(|_| {
            tracing::error!("a transaction on Neo4j panicked");
            Err(Failure::Unreadable("answer to a transaction"))
        });
        match answers {
            Ok(answers) => {
                for (job, answer) in jobs.into_iter().zip(answers) {
                    // The caller may give up meanwhile; what is written stays.
                    let _gone = job.reply.send(answer);
                }
            }
            Err(failure) => {
                measure::failed_commit();
                for job in jobs {
                    let _gone = job.reply.send(Err(failure.clone().behind(job.command.op())));
                }
            }
        }
    }

    /// Does the jobs in one transaction, with as many attempts as the time allows. When it is not
    /// known whether an attempt was committed, the next one finds out.
    fn commit(&mut self, jobs: &[Job], deadline: Deadline) -> Result<Vec<Answer>, Failure> {
        let started = Instant::now();
        self.groups += 1;
        let work = Work::of(jobs);
        let mut pauses = self.bolt.pauses(deadline);
        // Of the attempt whose outcome is not known.
        let mut unknown: Option<Vec<Answer>> = None;
        let (answers, edges) = loop {
            let mut planned = None;
            let mut edges = 0;
            let attempt = self.bolt.transaction(deadline, |transaction| {
                let locked = match transaction::lock(&transaction, &self.writes, self.lock(&work))?
                {
                    Ok(locked) => locked,
                    Err(failure) => return Ok(Attempt::Failed(failure)),
                };
                // The lock was free: an attempt before this one has come to its end.
                if unknown.is_some() && locked.last_group == Some(self.groups) {
                    transaction.rollback()?;
                    return Ok(Attempt::WasDone);
                }
                unknown = None;
                let (answers, changed) = match self.work(&transaction, &work, locked)? {
                    Ok(done) => done,
                    Err(failure) => return Ok(Attempt::Failed(failure)),
                };
                (planned, edges) = (Some(answers), changed);
                if changed == 0 {
                    transaction.rollback()?;
                } else {
                    transaction.commit()?;
                }
                Ok(Attempt::Done)
            });
            let done = match attempt {
                Ok(Attempt::Done) => planned,
                Ok(Attempt::WasDone) => unknown.take(),
                Ok(Attempt::Failed(failure)) => return Err(failure),
                Err(error) => {
                    if !is_passing(&error) {
                        return Err(error.into());
                    }
                    // It came as far as its commit, and that may have been done.
                    unknown = planned.or(unknown);
                    pauses.wait(error)?;
                    continue;
                }
            };
            break (done.ok_or(Failure::Unreadable("answer to a transaction"))?, edges);
        };
        measure::commit(started.elapsed(), edges);
        Ok(answers)
    }

    fn lock(&self, work: &Work<'_>) -> Lock<'_> {
        let (edges, users) = match work {
            Work::Changes { changes, question } => {
                (changes.iter().map(|change| change.edges()).sum(), question.names().len())
            }
            Work::Erasure { .. } => (0, 0),
        };
        Lock { writer: &self.writer, group: self.groups, edges, users }
    }

    /// All of a transaction between its lock and its end: the answers, and how many edges changed.
    fn work<'t>(
        &self,
        transaction: &'t Transaction<'_, 't>,
        work: &Work<'_>,
        locked: Locked,
    ) -> Step<(Vec<Answer>, usize)> {
        match work {
            Work::Changes { changes, question } => {
                let mut plan = match transaction::find(transaction, &self.writes, question, locked)?
                {
                    Ok(plan) => plan,
                    Err(failure) => return Ok(Err(failure)),
                };
                let answers = changes.iter().map(|change| plan.take(change)).collect();
                if plan.is_empty() {
                    return Ok(Ok((answers, 0)));
                }
                transaction::write(transaction, &self.writes, question, &plan)?;
                // Users alone are a change, too.
                Ok(Ok((answers, plan.len().max(1))))
            }
            Work::Erasure { user, most } => {
                let gone = transaction::erase(transaction, &self.writes, user, *most)?;
                // Committed also when there were no edges: the user may have gone.
                Ok(gone.map(|gone| (vec![Ok(gone)], usize::try_from(gone).unwrap_or(1).max(1))))
            }
        }
    }
}

/// What is done in one transaction.
enum Work<'a> {
    Changes { changes: Vec<&'a Change>, question: Box<Question> },
    Erasure { user: &'a UserId, most: usize },
}

impl<'a> Work<'a> {
    /// The jobs are all changes, or one erasure.
    fn of(jobs: &'a [Job]) -> Self {
        if let [Job { command: Command::Erase { user, most }, .. }] = jobs {
            return Self::Erasure { user, most: *most };
        }
        let change = |job: &'a Job| match &job.command {
            Command::Change(change) => Some(change),
            Command::Erase { .. } => None,
        };
        let changes: Vec<_> = jobs.iter().filter_map(change).collect();
        let question = Box::new(Question::of(changes.iter().copied()));
        Self::Changes { changes, question }
    }
}
