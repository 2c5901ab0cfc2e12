//! Running a command on a connection of a pool: timeouts, retries, and what becomes of the connection.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use deadpool_postgres::{Object, Pool};
use futures_util::SinkExt;
use tidings_core::ports::StoreError;
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::error::{Aftermath, Failure};

/// A parameter of a statement.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// How often a command is tried that others got in the way of.
const TRIES: usize = 3;

/// Something that the store can be asked to do.
///
/// It may be run several times; each time all of it counts, or nothing.
pub(super) trait Command: Sync {
    type Output: Send;
    /// Its name in errors.
    const OP: &'static str;

    fn run(&self, session: &Session) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// Connections, and how long a command may take on one.
#[derive(Clone)]
pub(super) struct Sessions {
    pub(super) pool: Pool,
    pub(super) call_timeout: Duration,
}

impl Sessions {
    /// Runs `command`; again if others got in its way.
    pub(super) async fn run<C: Command>(&self, command: C) -> Result<C::Output, StoreError> {
        self.try_run(&command).await.map_err(|failure| failure.into_store_error(C::OP))
    }

    pub(super) async fn try_run<C: Command>(&self, command: &C) -> Result<C::Output, Failure> {
        let tries = self.tries(command);
        match tokio::time::timeout(self.call_timeout, tries).await {
            Ok(result) => result,
            // The future is gone, and with it the connection: see `Session::drop`.
            Err(_) => Err(Failure::Late(self.call_timeout)),
        }
    }

    /// Ends the connections that wait, and those in use once they are given back. What comes after is
    /// refused.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    async fn tries<C: Command>(&self, command: &C) -> Result<C::Output, Failure> {
        let mut tries = 1;
        loop {
            let session = Session::new(self.pool.get().await?);
            let failure = match command.run(&session).await {
                Ok(output) => {
                    session.give_back();
                    return Ok(output);
                }
                Err(failure) => failure,
            };
            let Aftermath { discard, retry } = failure.aftermath();
            if !discard {
                session.roll_back().await;
            }
            if !retry || tries == TRIES {
                return Err(failure);
            }
            tries += 1;
            metrics::counter!("tidings_store_retries_total").increment(1);
            tracing::debug!(error = %failure, op = C::OP, tries, "tried again");
        }
    }
}

/// A connection for one command.
///
/// Whoever drops it in the middle, because the caller gave up or time ran out, closes it: the server
/// then rolls back what was open.
pub(super) struct Session {
    connection: Option<Object>,
    in_transaction: AtomicBool,
}

impl Session {
    fn new(connection: Object) -> Self {
        Self { connection: Some(connection), in_transaction: AtomicBool::new(false) }
    }

    fn connection(&self) -> &Object {
        // Taken by `give_back` and `drop` only, which end the session.
        #[expect(clippy::expect_used, reason = "a session has its connection until it ends")]
        self.connection.as_ref().expect("a session has its connection until it ends")
    }

    /// The connection itself.
    pub(super) fn client(&self) -> &Client {
        self.connection()
    }

    /// Prepares a statement, once per connection.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Failure> {
        Ok(self.connection().prepare_cached(sql).await?)
    }

    /// Prepares statements that are to be sent together: one that had to be prepared first would be
    /// overtaken by those after it, and by the commit.
    pub(super) async fn ready(&self, statements: &[&str]) -> Result<(), Failure> {
        for sql in statements {
            self.prepare(sql).await?;
        }
        Ok(())
    }

    /// Runs a query, prepared once per connection.
    pub(super) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query(&statement, params).await?)
    }

    /// Runs a query that gives one row or none.
    pub(super) async fn query_opt(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query_opt(&statement, params).await?)
    }

    /// Runs a query that gives one row.
    pub(super) async fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().query_one(&statement, params).await?)
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.client().execute(&statement, params).await?)
    }

    /// Sends rows by a `COPY … FROM STDIN`. What is sent after it waits for its end.
    pub(super) async fn copy(&self, sql: &str, rows: Bytes) -> Result<(), Failure> {
        let statement = self.prepare(sql).await?;
        let sink = self.client().copy_in(&statement).await?;
        let mut sink = pin!(sink);
        sink.send(rows).await?;
        sink.finish().await?;
        Ok(())
    }

    /// Begins a transaction. Sent when it is first polled, like every statement that is prepared.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        self.in_transaction.store(true, Ordering::Relaxed);
        self.client().batch_execute("BEGIN").await?;
        Ok(())
    }

    /// Begins a transaction whose commit does not wait for the disk: its locks are gone at once, and
    /// a crash of the database may lose it.
    pub(super) async fn begin_unhurried(&self) -> Result<(), Failure> {
        self.in_transaction.store(true, Ordering::Relaxed);
        self.client().batch_execute("BEGIN; SET LOCAL synchronous_commit TO off").await?;
        Ok(())
    }

    /// Commits it. What was sent before and failed has failed before this answers.
    pub(super) async fn commit(&self) -> Result<(), Failure> {
        self.client().batch_execute("COMMIT").await?;
        self.in_transaction.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the connection back to the pool.
    fn give_back(mut self) {
        drop(self.connection.take());
    }

    /// Rolls back what is open, and gives the connection back if that went well.
    async fn roll_back(self) {
        let open = self.in_transaction.load(Ordering::Relaxed);
        if !open || self.client().batch_execute("ROLLBACK").await.is_ok() {
            self.give_back();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
