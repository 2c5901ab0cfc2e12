//! From the records that wait to the open batch: the part of a worker that plans.

use std::{ops::Range, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    chunk::Segment,
    deps::{Ended, Unplanned},
    status::StopReason,
    unit::rows_bytes,
    worker::Worker,
};
use crate::outcome::IntakeError;

/// Records that are planned at a time, before the worker looks whether the store is free again. Each
/// may ask the graph, which may be far away.
pub(super) const PLANNED_AT_ONCE: usize = 30;
/// Bytes of the values of such records, if there are two: a value names users, and a row takes several
/// times as much memory as a short name.
const PLANNED_AT_ONCE_BYTES: usize = 64 << 10;

impl Worker {
    /// Whether there are records to plan.
    pub(super) fn look_ahead(&mut self) -> bool {
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
    pub(super) fn take_passed(&mut self) -> bool {
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
    pub(super) async fn plan_some(&mut self) -> Result<(), Ended> {
        let Some(ahead) = &self.ahead else { return Ok(()) };
        if self.ready.is_empty() {
            let now = self.deps.clock.now();
            let plans = some_of(ahead)
                .map(|index| self.deps.plan(&self.partition, ahead.chunk.record(index), now));
            for planned in join_all(plans).await {
                match planned {
                    Ok(event) => {
                        let rows = rows_bytes(&event);
                        self.ready_rows.add(rows);
                        self.ready.push_back((Ok(event), rows));
                    }
                    Err(Unplanned::Dead(stage, reason)) => {
                        self.ready.push_back((Err((stage, reason)), 0));
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
            && let Some((planned, rows)) = self.ready.pop_front()
        {
            let index = ahead.range.start;
            let is_dead = planned.is_err();
            let added = self.open.add((&ahead.chunk, index), planned, &self.partition, kept, now);
            if let Err(event) = added {
                self.ready.push_front((Ok(event), rows));
                self.open_is_closed = true;
                break;
            }
            self.ready_rows.hand_over(rows, &mut self.open.rows);
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
        self.open = self.empty(self.open.unit.from);
        Ended::Stopped(StopReason::MostlyBad { bad, of })
    }

    /// What is planned already is stored meanwhile.
    fn plan_later(&mut self, error: &IntakeError) {
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

/// The first of these records, as many as are planned at a time.
fn some_of(ahead: &Segment) -> Range<usize> {
    let Range { start, end } = ahead.range;
    let mut bytes = 0;
    let fits = |index: &usize| {
        bytes += ahead.chunk.record(*index).value().map_or(0, <[u8]>::len);
        *index == start || bytes <= PLANNED_AT_ONCE_BYTES
    };
    let count = (start..end).take(PLANNED_AT_ONCE).take_while(fits).count();
    start..start + count
}
