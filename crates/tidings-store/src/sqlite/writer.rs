//! The one thread that writes, and its group commit.

use std::{fs::File, io, sync::Arc, time::Instant};

use rusqlite::Connection;
use tidings_core::ports::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::{
    config::SqliteConfig,
    delivery_log::LastDelivery,
    error::{Closed, Failure, RolledBack, SharedCause, unavailable},
    inbox::InboxCache,
    threads::Threads,
    wal::WalGuard,
};

/// Something that the writer can be asked to do.
pub(super) trait Command: Send + 'static {
    type Output: Send + 'static;
    /// Its name in errors.
    const OP: &'static str;

    /// About how many rows it touches.
    fn rows(&self) -> usize {
        1
    }

    /// Does it, inside a transaction that is rolled back on failure. May be run again after that.
    fn run(&self, tx: &mut WriteTx<'_>) -> Result<Self::Output, Failure>;
}

/// What a command writes with.
pub(super) struct WriteTx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) inboxes: &'a mut InboxCache,
    pub(super) last_delivery: &'a mut LastDelivery,
    pub(super) dead_letters_max: i64,
}

/// A command on its way through the queue, its type forgotten.
trait Job: Send {
    fn rows(&self) -> usize;
    /// Runs the command and keeps its result. Says whether it succeeded.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool;
    fn answer(self: Box<Self>, committed: Result<(), &SharedCause>);
}

struct Queued<C: Command> {
    command: C,
    result: Option<Result<C::Output, StoreError>>,
    reply: oneshot::Sender<Result<C::Output, StoreError>>,
}

impl<C: Command> Job for Queued<C> {
    fn rows(&self) -> usize {
        self.command.rows()
    }

    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool {
        let result = self.command.run(tx);
        let done = result.is_ok();
        self.result = Some(result.map_err(|failure| failure.into_store_error(C::OP)));
        done
    }

    fn answer(self: Box<Self>, committed: Result<(), &SharedCause>) {
        let Self { command, result, reply } = *self;
        // First, so that whoever shares what it held is the one to free it, and not the writer.
        drop(command);
        let answer = match (committed, result) {
            (Ok(()), Some(result)) | (Err(_), Some(result @ Err(_))) => result,
            (Err(cause), _) => Err(unavailable(C::OP, Arc::clone(cause))),
            (Ok(()), None) => Err(unavailable(C::OP, Closed)),
        };
        // The caller may have given up; what is written stays.
        let _gone = reply.send(answer);
    }
}

enum Message {
    Run(Box<dyn Job>),
    Close,
}

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    // Before the thread: it ends when the queue does, and dropping it waits for that.
    queue: mpsc::Sender<Message>,
    thread: Threads,
}

impl Writer {
    /// Starts the thread; `last_delivery` is what `conn` holds, `folder` the connection that folds the log. It keeps `lock` until both
    /// are closed.
    pub(super) fn start(
        conn: Connection,
        last_delivery: LastDelivery,
        folder: Connection,
        lock: File,
        config: &SqliteConfig,
    ) -> io::Result<Self> {
        let (queue, messages) = mpsc::channel(config.writer_queue.max(1));
        let mut committer = Committer {
            wal: WalGuard::new(&conn, folder, config.wal_bytes_max)?,
            conn,
            inboxes: InboxCache::new(config.inbox_cache.max(1)),
            last_delivery,
            commit_commands: config.commit_commands.max(1),
            commit_rows: config.commit_rows.max(1),
            dead_letters_max: i64::try_from(config.dead_letters_max.max(1)).unwrap_or(i64::MAX),
        };
        let body = move || {
            committer.serve(messages);
            drop(committer);
            drop(lock);
        };
        let thread = Threads::start("tidings-write", [body])?;
        Ok(Self { queue, thread })
    }

    /// Queues `command`, waiting for a place if the queue is full, and returns once it is committed.
    pub(super) async fn run<C: Command>(&self, command: C) -> Result<C::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Queued { command, result: None, reply });
        let sent = self.queue.send(Message::Run(job)).await;
        sent.map_err(|_| unavailable(C::OP, Closed))?;
        answer.await.map_err(|_| unavailable(C::OP, Closed))?
    }

    /// Free places in the queue.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.queue.capacity()
    }

    /// Commits what is queued, refuses what comes after, and waits until the database is closed.
    pub(super) async fn close(&self) {
        // Fails when it is closed already, which is as good.
        let _closed = self.queue.send(Message::Close).await;
        self.thread.ended().await;
    }
}

struct Committer {
    conn: Connection,
    wal: WalGuard,
    inboxes: InboxCache,
    last_delivery: LastDelivery,
    commit_commands: usize,
    commit_rows: usize,
    dead_letters_max: i64,
}

impl Committer {
    fn serve(&mut self, mut queue: mpsc::Receiver<Message>) {
        describe_metrics();
        let mut group = Vec::new();
        while let Some(message) = queue.blocking_recv() {
            let mut rows = 0;
            let mut next = Some(message);
            // No waiting for more: while one group is being committed, the next one gathers.
            while let Some(message) = next {
                match message {
                    Message::Run(job) => {
                        rows = job.rows().saturating_add(rows);
                        group.push(job);
                    }
                    Message::Close => queue.close(),
                }
                let full = rows >= self.commit_rows || group.len() >= self.commit_commands;
                next = if full { None } else { queue.try_recv().ok() };
            }
            if !group.is_empty() {
                self.commit(&mut group, rows);
                self.wal.after_commit(&self.conn);
            }
            metrics::gauge!("tidings_store_writer_queue_commands").set(as_f64(queue.len()));
        }
        self.wal.close(&self.conn);
    }

    /// Runs the jobs in one transaction, and answers them.
    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>, rows: usize) {
        let started = Instant::now();
        let committed = self.transact(group);
        if committed.is_err() {
            if !self.conn.is_autocommit() {
                // If this fails too, the next BEGIN does, until one of them succeeds.
                let _failed = self.conn.execute_batch("ROLLBACK");
            }
            self.inboxes.clear();
            metrics::counter!("tidings_store_commit_failures_total").increment(1);
        }
        metrics::histogram!("tidings_store_commit_duration_seconds").record(started.elapsed());
        metrics::histogram!("tidings_store_commit_rows").record(as_f64(rows));
        let committed = committed.as_ref().copied();
        for job in group.drain(..) {
            job.answer(committed);
        }
    }

    fn transact(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), SharedCause> {
        if !self.conn.is_autocommit() {
            // A rollback failed before; nothing may be added to what it left open.
            self.statement("ROLLBACK")?;
        }
        self.statement("BEGIN IMMEDIATE")?;
        if self.run_all(group) {
            return self.statement("COMMIT");
        }
        self.inboxes.clear();
        if !self.conn.is_autocommit() {
            self.statement("ROLLBACK")?;
        }
        if group.len() == 1 {
            return Ok(());
        }
        self.statement("BEGIN IMMEDIATE")?;
        self.run_each(group)?;
        self.statement("COMMIT")
    }

    /// Runs the jobs until one fails. Says whether none did.
    ///
    /// Without savepoints: under one, SQLite keeps a copy of every page that is changed, for a failure
    /// that hardly ever comes.
    fn run_all(&mut self, group: &mut [Box<dyn Job>]) -> bool {
        let mut tx = WriteTx {
            conn: &self.conn,
            inboxes: &mut self.inboxes,
            last_delivery: &mut self.last_delivery,
            dead_letters_max: self.dead_letters_max,
        };
        group.iter_mut().all(|job| job.run(&mut tx))
    }

    /// Runs the jobs anew, each under a savepoint, so that those that fail do so alone.
    fn run_each(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), SharedCause> {
        for job in group {
            self.statement("SAVEPOINT command")?;
            if !self.run_all(std::slice::from_mut(job)) {
                self.inboxes.clear();
                // Some errors (disk full, I/O) end the transaction, and with it what the jobs before
                // this one had written.
                if self.conn.is_autocommit() {
                    return Err(Arc::new(RolledBack));
                }
                self.statement("ROLLBACK TO command")?;
            }
            self.statement("RELEASE command")?;
        }
        Ok(())
    }

    fn statement(&self, sql: &str) -> Result<(), SharedCause> {
        let run = || self.conn.prepare_cached(sql)?.execute([]);
        match run() {
            Ok(_) => Ok(()),
            Err(error) => Err(Arc::new(error)),
        }
    }
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}

fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_histogram!(
        "tidings_store_commit_duration_seconds",
        Unit::Seconds,
        "Time from the start of a group's transaction to the end of its commit"
    );
    metrics::describe_histogram!("tidings_store_commit_rows", "Rows in one commit");
    metrics::describe_counter!("tidings_store_commit_failures_total", "Commits that failed");
    metrics::describe_gauge!(
        "tidings_store_writer_queue_commands",
        "Commands that wait for the next commit"
    );
}
