//! Queries and transactions, with their time limits and second attempts. Everything here blocks.
#![expect(clippy::result_large_err, reason = "the error is the driver's, and so is its size")]

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use neo4j::{
    Neo4jError,
    bookmarks::{BookmarkManager, bookmark_managers},
    driver::{Driver, RoutingControl},
    session::SessionConfig,
    transaction::{Transaction, TransactionTimeout},
};
use tidings_core::retry::{RetryDecision, RetryPolicy};

use super::{
    address,
    config::Neo4jGraphConfig,
    error::{Failure, Neo4jOpenError, is_passing},
    measure,
    row::{Parameters, Row},
};

/// Until when an answer is of use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    pub(super) fn after(after: Duration) -> Self {
        Self { at: Instant::now() + after, after }
    }

    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub(super) fn passed(&self) -> Failure {
        Failure::TimedOut(self.after.as_millis())
    }
}

/// The way to the server.
pub(super) struct Bolt {
    driver: Driver,
    database: Arc<String>,
    /// Sees to it that a leader that has just become one knows what was done before.
    bookmarks: Arc<dyn BookmarkManager>,
    retry: RetryPolicy,
}

impl fmt::Debug for Bolt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bolt").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Bolt {
    pub(super) fn new(config: &Neo4jGraphConfig) -> Result<Self, Neo4jOpenError> {
        Ok(Self {
            driver: address::driver(config)?,
            database: Arc::new(config.database.clone()),
            bookmarks: Arc::new(bookmark_managers::simple(None)),
            retry: config.retry,
        })
    }

    fn session(&self) -> SessionConfig {
        SessionConfig::new()
            .with_database(Arc::clone(&self.database))
            .with_bookmark_manager(Arc::clone(&self.bookmarks))
            // Every answer is bounded by its query.
            .with_fetch_all()
    }

    /// Runs one query, which may be run twice, and gives its rows.
    pub(super) fn query(
        &self,
        op: &'static str,
        cypher: &str,
        parameters: &Parameters,
        deadline: Deadline,
    ) -> Result<Vec<Row>, Failure> {
        let started = Instant::now();
        let done = self.retrying(deadline, |limit| {
            let mut session = self.driver.session(self.session());
            let result = session
                .auto_commit(cypher)
                .with_parameters(parameters)
                .with_routing_control(RoutingControl::Write)
                .with_transaction_timeout(limit)
                .run()?;
            Ok(result.records.into_iter().map(Row::from).collect())
        });
        measure::query(op, started.elapsed(), done.is_ok());
        done
    }

    /// Runs `work` in one transaction, once. It has to commit itself.
    pub(super) fn transaction<T>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(Transaction<'_, '_>) -> Result<T, Neo4jError>,
    ) -> Result<T, Neo4jError> {
        let mut session = self.driver.session(self.session());
        session
            .transaction()
            .with_routing_control(RoutingControl::Write)
            .with_transaction_timeout(limit(deadline))
            .run(work)
    }

    /// Does `attempt` again for as long as its failures pass and the policy and the time allow.
    fn retrying<T>(
        &self,
        deadline: Deadline,
        mut attempt: impl FnMut(TransactionTimeout) -> Result<T, Neo4jError>,
    ) -> Result<T, Failure> {
        let mut pauses = self.pauses(deadline);
        loop {
            match attempt(limit(deadline)) {
                Ok(done) => return Ok(done),
                Err(error) if is_passing(&error) => pauses.wait(error)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The pauses between attempts that have to be over by `deadline`.
    pub(super) fn pauses(&self, deadline: Deadline) -> Pauses {
        Pauses { policy: self.retry, deadline, attempts: 0 }
    }
}

/// See [`Bolt::pauses`].
#[derive(Debug)]
pub(super) struct Pauses {
    policy: RetryPolicy,
    deadline: Deadline,
    attempts: u32,
}

impl Pauses {
    /// Waits after an attempt that failed; gives the failure back if there is to be no further one.
    pub(super) fn wait(&mut self, error: Neo4jError) -> Result<(), Failure> {
        self.attempts += 1;
        match self.policy.after_failure(self.attempts, None, rand::random()) {
            RetryDecision::After(pause) if pause < self.deadline.left() => {
                tracing::debug!(%error, attempt = self.attempts, "Neo4j is asked again");
                measure::retry();
                thread::sleep(pause);
                Ok(())
            }
            _ => Err(error.into()),
        }
    }
}

/// What the server is told: it gives up when the caller does.
fn limit(deadline: Deadline) -> TransactionTimeout {
    let millis = i64::try_from(deadline.left().as_millis()).unwrap_or(i64::MAX);
    TransactionTimeout::from_millis(millis.max(1)).unwrap_or_default()
}

/// Runs a query of a transaction and gives its rows.
pub(super) fn run<'t>(
    transaction: &'t Transaction<'_, 't>,
    cypher: &str,
    parameters: &Parameters,
) -> Result<Vec<Row>, Neo4jError> {
    let stream = transaction.query(cypher).with_parameters(parameters).run()?;
    let mut rows = Vec::new();
    for record in stream {
        rows.push(Row::from(record?));
    }
    Ok(rows)
}
