//! Records that become one transaction, and the batch that they make.

use std::sync::Arc;

use tidings_core::{
    batch::{BatchLimits, MAX_BATCH_ROWS, NotificationBatch, PlannedEvent, Recipient},
    checkpoint::Advance,
    clock::Timestamp,
    dead_letter::Stage,
};

use super::{
    account::{Account, Charge},
    chunk::{Chunk, Segment},
    letter::DeadRecord,
    partition::Partition,
};

/// What a row in memory takes besides the id of its user: the recipient, and the id's own counts.
const ROW_BYTES: usize = size_of::<Recipient>() + 2 * size_of::<usize>();

/// About how many bytes the rows of an event take. The event itself is no larger than its record, which
/// is counted for as long.
pub(super) fn rows_bytes(event: &PlannedEvent) -> usize {
    event.recipients.iter().map(|it| ROW_BYTES + it.user.as_str().len()).sum()
}

/// What became of a record: the rows of its event, or the stage at which it is dead, and why.
pub(super) type Planned = Result<PlannedEvent, (Stage, String)>;

/// Records of a partition, one after the other, and the positions before and after them. Kept until
/// they are stored: a batch that was not stored is made anew from here.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) from: Option<i64>,
    pub(super) to: i64,
    segments: Vec<Segment>,
    /// Why the store refuses the only record of the unit.
    pub(super) refused: Option<Arc<str>>,
    /// Whether its dead letters were produced.
    pub(super) announced: bool,
}

impl Unit {
    /// A unit without records, at `from`.
    pub(super) fn new(from: Option<i64>) -> Self {
        Self {
            from,
            to: from.unwrap_or_default(),
            segments: Vec::new(),
            refused: None,
            announced: false,
        }
    }

    pub(super) fn records(&self) -> usize {
        self.segments.iter().map(|it| it.range.len()).sum()
    }

    /// The chunk and the index of each record, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<Chunk>, usize)> {
        self.segments.iter().flat_map(|it| it.range.clone().map(move |index| (&it.chunk, index)))
    }

    fn push(&mut self, chunk: &Arc<Chunk>, index: usize) {
        self.to = chunk.record(index).offset() + 1;
        match self.segments.last_mut() {
            Some(last) if Arc::ptr_eq(&last.chunk, chunk) && last.range.end == index => {
                last.range.end += 1;
            }
            _ => {
                let range = index..index + 1;
                self.segments.push(Segment { chunk: Arc::clone(chunk), range });
            }
        }
    }

    /// Both halves, each with at least one record if there are two.
    pub(super) fn split(self) -> (Self, Self) {
        let middle = self.records() / 2;
        let end = self.to;
        let half = |from| Self { announced: self.announced, ..Self::new(from) };
        let mut first = half(self.from);
        for (chunk, index) in self.iter().take(middle) {
            first.push(chunk, index);
        }
        let mut second = half(Some(first.to));
        for (chunk, index) in self.iter().skip(middle) {
            second.push(chunk, index);
        }
        // Beyond its last record if there are marks of transactions.
        second.to = end;
        (first, second)
    }
}

/// A unit with the batch that it makes.
pub(super) struct Built {
    pub(super) unit: Unit,
    pub(super) batch: NotificationBatch,
    pub(super) dead: Vec<DeadRecord>,
    /// What the rows of the batch take, for as long as somebody has it.
    pub(super) rows: Charge,
}

impl Built {
    pub(super) fn new(from: Option<i64>, limits: BatchLimits, account: &Arc<Account>) -> Self {
        let (unit, batch) = (Unit::new(from), NotificationBatch::new(limits));
        Self { unit, batch, dead: Vec::new(), rows: Charge::none(account) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Whether there is something to be stored, if only that the position has moved.
    pub(super) fn is_due(&self) -> bool {
        !self.is_empty() || self.unit.to > self.unit.from.unwrap_or_default()
    }

    /// Adds a record as what it became; gives the event back if it has no room.
    ///
    /// An empty batch takes any event that a store takes, also one with more rows than a batch should
    /// have; one with more than that is dead.
    pub(super) fn add(
        &mut self,
        (chunk, index): (&Arc<Chunk>, usize),
        planned: Planned,
        partition: &Partition,
        kept_bytes: usize,
        now: Timestamp,
    ) -> Result<(), PlannedEvent> {
        let dead = match planned {
            Ok(event) => match self.try_add(event, now) {
                Ok(()) => None,
                Err(event) if !self.is_empty() => return Err(event),
                Err(event) => {
                    let rows = event.recipients.len();
                    Some((Stage::Plan, format!("{rows} recipients, the limit is {MAX_BATCH_ROWS}")))
                }
            },
            Err(dead) => Some(dead),
        };
        if let Some((stage, reason)) = dead {
            let chunk = Arc::clone(chunk);
            let dead = DeadRecord { chunk, index, stage, reason: reason.into() };
            self.batch.add_dead_letter(dead.letter(&partition.id, kept_bytes, now), now);
            self.dead.push(dead);
        }
        self.unit.push(chunk, index);
        Ok(())
    }

    fn try_add(&mut self, event: PlannedEvent, now: Timestamp) -> Result<(), PlannedEvent> {
        let Err(event) = self.batch.try_add(event, now) else { return Ok(()) };
        if !self.is_empty() {
            return Err(event);
        }
        let limits = BatchLimits { max_rows: MAX_BATCH_ROWS, ..self.batch.limits() };
        let mut wide = NotificationBatch::new(limits);
        wide.try_add(event, now)?;
        self.batch = wide;
        Ok(())
    }

    /// Adds the move of the position: with it the batch is complete.
    pub(super) fn complete(&mut self, partition: &Partition, now: Timestamp) {
        let advance = Advance {
            partition: partition.id.clone(),
            epoch: partition.epoch(),
            from: self.unit.from,
            to: self.unit.to,
        };
        self.batch.advance(advance, now);
    }
}
