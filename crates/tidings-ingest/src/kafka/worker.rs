//! What is done with the records of one partition: [decoded and planned](super::planning) while the
//! batch before them is being stored, at most one batch of the partition in the pipeline.
//!
//! A batch is closed when the one before it is stored, or when it is full: one record when little
//! comes in, as many as the limits allow when the store is behind.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use super::{
    account::Charge,
    breaker::Breaker,
    chunk::Segment,
    deps::{Deps, Ended},
    measure,
    partition::Partition,
    planning::PLANNED_AT_ONCE,
    storing::store,
    unit::{Built, Planned},
};

/// Works at one assignment of a partition, once it is claimed.
pub(super) struct Worker {
    pub(super) deps: Arc<Deps>,
    pub(super) partition: Arc<Partition>,
    pub(super) breaker: Breaker,
    /// The batch that is filling up.
    pub(super) open: Built,
    /// Whether an event did not fit into it any more.
    pub(super) open_is_closed: bool,
    /// The records that come next.
    pub(super) ahead: Option<Segment>,
    /// What the first of them became already, and what its rows take.
    pub(super) ready: VecDeque<(Planned, usize)>,
    pub(super) ready_rows: Charge,
    storing: Option<BoxFuture<'static, Result<i64, Ended>>>,
    /// When planning is tried again.
    pub(super) plan_again: Option<Instant>,
    pub(super) plan_attempt: u32,
    /// Why it ends once nothing is being stored.
    ending: Option<Ended>,
    pub(super) records: metrics::Counter,
    pub(super) bytes: metrics::Counter,
}

impl Worker {
    /// `begin` is a position to be stored before anything else.
    pub(super) fn new(deps: Arc<Deps>, partition: Arc<Partition>, begin: Option<i64>) -> Self {
        let topic = partition.id.topic.to_string();
        let mut worker = Self {
            breaker: Breaker::new(deps.config.breaker),
            open: Built::new(partition.position(), deps.pipeline.limits(), &partition.account),
            open_is_closed: false,
            ahead: None,
            ready: VecDeque::with_capacity(PLANNED_AT_ONCE),
            ready_rows: Charge::none(&partition.account),
            storing: None,
            plan_again: None,
            plan_attempt: 0,
            ending: None,
            records: metrics::counter!(measure::RECORDS, "topic" => topic.clone()),
            bytes: metrics::counter!(measure::RECORD_BYTES, "topic" => topic),
            deps,
            partition,
        };
        if let Some(position) = begin {
            worker.open.unit.to = position;
            worker.begin_storing();
        }
        worker
    }

    /// Stores records until the partition is gone, fenced or stopped, or the node stops.
    pub(super) async fn run(mut self) -> Ended {
        loop {
            // A look without waiting: what the store was given is done or not.
            let done = self.storing.as_mut().and_then(|storing| storing.now_or_never());
            if let Some(done) = done
                && let Err(ended) = self.stored(done)
            {
                return ended;
            }
            if self.storing.is_none() {
                if let Some(ended) = self.ending {
                    return ended;
                }
                if self.open.is_due() {
                    self.begin_storing();
                    continue;
                }
            }
            if self.can_plan() && self.look_ahead() {
                self.ending = self.plan_unless_ended().await;
                continue;
            }
            if self.can_plan() && self.take_passed() {
                continue;
            }
            if let Err(ended) = self.wait().await {
                return ended;
            }
        }
    }

    /// Plans some records; says whether the worker has to end.
    async fn plan_unless_ended(&mut self) -> Option<Ended> {
        let (partition, deps) = (Arc::clone(&self.partition), Arc::clone(&self.deps));
        let planned = tokio::select! {
            biased;
            () = partition.gone.cancelled() => Err(Ended::Gone),
            () = deps.stop.cancelled() => Err(Ended::Stopping),
            planned = self.plan_some() => planned,
        };
        tokio::task::yield_now().await;
        planned.err()
    }

    /// Waits until there is something to do. Every branch is cancel-safe: what is being stored stays.
    async fn wait(&mut self) -> Result<(), Ended> {
        let can_plan = self.can_plan();
        let position = self.open.unit.to;
        let plan_again = self.plan_again;
        let partition = &self.partition;
        let stored = async {
            match self.storing.as_mut() {
                Some(storing) => storing.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = partition.gone.cancelled() => return Err(Ended::Gone),
            done = stored => return self.stored(done),
            () = self.deps.stop.cancelled(), if self.ending.is_none() => {
                // What is being stored is finished; the rest is read again by whoever comes next.
                self.ending = Some(Ended::Stopping);
            }
            () = partition.arrived(position), if can_plan => {}
            () = sleep_until(plan_again), if plan_again.is_some() => self.plan_again = None,
        }
        Ok(())
    }

    fn stored(&mut self, done: Result<i64, Ended>) -> Result<(), Ended> {
        self.storing = None;
        done.map(|_position| ())
    }

    fn begin_storing(&mut self) {
        let next = self.empty(Some(self.open.unit.to));
        let mut built = std::mem::replace(&mut self.open, next);
        self.open_is_closed = false;
        built.complete(&self.partition, self.deps.clock.now());
        let stored = store(Arc::clone(&self.deps), Arc::clone(&self.partition), built);
        self.storing = Some(stored.boxed());
    }

    pub(super) fn empty(&self, from: Option<i64>) -> Built {
        Built::new(from, self.deps.pipeline.limits(), &self.partition.account)
    }

    /// Whether an event may be planned, or one that is be added to the open batch.
    ///
    /// Rows are counted beside the records that wait, so that fewer of these are fetched. That the rows
    /// are many must stop planning itself too, which nobody fetches for.
    fn can_plan(&self) -> bool {
        let most = self.partition.account.most_planned();
        let is_room = !self.ready.is_empty() || self.open.rows.bytes() < most;
        self.ending.is_none()
            && is_room
            && self.plan_again.is_none()
            && !self.open_is_closed
            && !self.open.batch.is_full()
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
