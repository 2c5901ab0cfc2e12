//! What is done with the records of one partition: decoded and planned while the batch before them is
//! being stored, at most one batch of the partition in the pipeline.
//!
//! A batch is closed when the one before it is stored, or when it is full: one record when little
//! comes in, as many as the limits allow when the store is behind.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::time::Instant;

use super::{
    breaker::Breaker,
    chunk::Segment,
    measure,
    partition::Partition,
    status::StopReason,
    storing::{Deps, Ended, Unplanned, store},
    unit::{Built, Planned},
};

/// Records that are planned at a time, before the worker looks whether the store is free again. Each
/// may ask the graph, which may be far away.
const PLANNED_AT_ONCE: usize = 30;

/// Works at one assignment of a partition, once it is claimed.
pub(super) struct Worker {
    deps: Arc<Deps>,
    partition: Arc<Partition>,
    breaker: Breaker,
    /// The batch that is filling up.
    open: Built,
    /// Whether an event did not fit into it any more.
    open_is_closed: bool,
    /// The records that come next.
    ahead: Option<Segment>,
    /// What the first of them became already.
    ready: VecDeque<Planned>,
    storing: Option<BoxFuture<'static, Result<i64, Ended>>>,
    /// When planning is tried again.
    plan_again: Option<Instant>,
    plan_attempt: u32,
    /// Why it ends once nothing is being stored.
    ending: Option<Ended>,
    records: metrics::Counter,
    bytes: metrics::Counter,
}

impl Worker {
    /// `begin` is a position to be stored before anything else.
    pub(super) fn new(deps: Arc<Deps>, partition: Arc<Partition>, begin: Option<i64>) -> Self {
        let topic = partition.id.topic.to_string();
        let mut worker = Self {
            breaker: Breaker::new(deps.config.breaker),
            open: Built::new(partition.position(), deps.pipeline.limits()),
            open_is_closed: false,
            ahead: None,
            ready: VecDeque::with_capacity(PLANNED_AT_ONCE),
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
        let next = Built::new(Some(self.open.unit.to), self.deps.pipeline.limits());
        let mut built = std::mem::replace(&mut self.open, next);
        self.open_is_closed = false;
        built.complete(&self.partition, self.deps.clock.now());
        let stored = store(Arc::clone(&self.deps), Arc::clone(&self.partition), built);
        self.storing = Some(stored.boxed());
    }

    fn can_plan(&self) -> bool {
        self.ending.is_none()
            && self.plan_again.is_none()
            && !self.open_is_closed
            && !self.open.batch.is_full()
    }

    /// Whether there are records to plan.
    fn look_ahead(&mut self) -> bool {
        if self.ahead.is_none()
            && let Some(chunk) = self.partition.take()
        {
            let range = 0..chunk.len();
            self.ahead = Some(Segment { chunk: Arc::new(chunk), range });
        }
        self.ahead.is_some()
    }

    /// Moves the position over what is no record, when all records before it are in the open batch;
    /// says whether it moved.
    fn take_passed(&mut self) -> bool {
        // Before the look at the queue: what is pushed in between is not before it.
        let passed = self.partition.passed();
        let is_next =
            self.ahead.is_none() && self.ready.is_empty() && !self.partition.has_waiting();
        let moves = is_next && passed > self.open.unit.to;
        if moves {
            self.open.unit.to = passed;
        }
        moves
    }

    /// Plans some of the records ahead, all at a time, and adds them to the open batch. Cancel-safe:
    /// what was not planned is planned again.
    async fn plan_some(&mut self) -> Result<(), Ended> {
        let Some(ahead) = &self.ahead else { return Ok(()) };
        if self.ready.is_empty() {
            let now = self.deps.clock.now();
            let end = ahead.range.end.min(ahead.range.start + PLANNED_AT_ONCE);
            let plans = (ahead.range.start..end)
                .map(|index| self.deps.plan(&self.partition, ahead.chunk.record(index), now));
            for planned in join_all(plans).await {
                match planned {
                    Ok(event) => self.ready.push_back(Ok(event)),
                    Err(Unplanned::Dead(stage, reason)) => {
                        self.ready.push_back(Err((stage, reason)));
                    }
                    Err(Unplanned::Ended(ended)) => return Err(ended),
                    Err(Unplanned::Later(error)) => {
                        self.plan_later(&error);
                        break;
                    }
                }
            }
        }
        self.fill()
    }

    /// Moves what is planned to the open batch, as far as there is room.
    fn fill(&mut self) -> Result<(), Ended> {
        let Some(mut ahead) = self.ahead.take() else { return Ok(()) };
        let now = self.deps.clock.now();
        let kept = self.deps.config.dead_letter_payload_bytes;
        let (mut records, mut bytes, mut trips) = (0, 0, false);
        while !trips
            && !self.open.batch.is_full()
            && let Some(planned) = self.ready.pop_front()
        {
            let index = ahead.range.start;
            let is_dead = planned.is_err();
            let added = self.open.add((&ahead.chunk, index), planned, &self.partition, kept, now);
            if let Err(event) = added {
                self.ready.push_front(Ok(event));
                self.open_is_closed = true;
                break;
            }
            ahead.range.start += 1;
            records += 1;
            bytes += ahead.chunk.record(index).value().map_or(0, <[u8]>::len);
            trips = self.breaker.note(is_dead);
        }
        if records > 0 && self.plan_again.is_none() {
            self.plan_attempt = 0;
        }
        self.records.increment(records);
        self.bytes.increment(bytes as u64);
        self.ahead = Some(ahead).filter(|it| !it.range.is_empty());
        if trips { Err(self.trip()) } else { Ok(()) }
    }

    /// Stops before more dead letters are stored: what is in the open batch is dropped, and read again
    /// when the partition is tried again.
    fn trip(&mut self) -> Ended {
        let (bad, of) = self.breaker.seen();
        self.open = Built::new(self.open.unit.from, self.deps.pipeline.limits());
        Ended::Stopped(StopReason::MostlyBad { bad, of })
    }

    /// What is planned already is stored meanwhile.
    fn plan_later(&mut self, error: &crate::outcome::IntakeError) {
        self.plan_attempt = self.plan_attempt.saturating_add(1);
        let wait = self.deps.backoff(self.plan_attempt).max(Duration::from_millis(1));
        self.deps.say_waiting(
            &self.partition,
            self.plan_attempt,
            "an event was not planned",
            error,
            wait,
        );
        self.plan_again = Some(Instant::now() + wait);
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
