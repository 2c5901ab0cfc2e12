//! Notifications gathered for one transaction.

use std::{ops::Range, sync::Arc, time::Duration};

use crate::{
    checkpoint::Advance,
    clock::Timestamp,
    dead_letter::NewDeadLetter,
    event::Event,
    fan_out::{FanOutStep, NewFanOut},
    ids::{NotificationId, UserId},
    ports::Claim,
};

/// The most rows that a store takes in one batch.
pub const MAX_BATCH_ROWS: usize = 10_000;

/// One person who is told of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub user: UserId,
    /// When a push falls due unless the notification was acknowledged before; `None`: inbox and live
    /// sessions only.
    pub push_at: Option<Timestamp>,
}

/// An event and (some of) the people who are told of it.
#[derive(Debug, Clone)]
pub struct PlannedEvent {
    /// What happened.
    pub event: Arc<Event>,
    /// Who is told; each user once.
    pub recipients: Vec<Recipient>,
    /// Followers who are told later, by a fan-out that begins with this event.
    pub fan_out: Option<NewFanOut>,
}

impl PlannedEvent {
    fn size_bytes(&self) -> usize {
        let ids: usize = self.recipients.iter().map(|it| it.user.as_str().len()).sum();
        // 32 bytes a row: inbox, seq, event, times.
        self.event.size_bytes() + ids + 32 * self.recipients.len()
    }
}

/// When a batch is closed. Whatever comes first closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows; 1 to [`MAX_BATCH_ROWS`].
    pub max_rows: usize,
    /// Bytes, as [`Event::size_bytes`] and the ids of the recipients count them.
    pub max_bytes: usize,
    /// How long the oldest event may wait in an open batch.
    pub max_age: Duration,
}

impl BatchLimits {
    /// The widest limits that a store allows.
    #[must_use]
    pub fn unlimited(self) -> Self {
        Self { max_rows: MAX_BATCH_ROWS, max_bytes: usize::MAX, ..self }
    }
}

/// Notifications gathered for one transaction, by size or by age, and what has to happen with them
/// or not at all: dead letters of the same source, and the positions that say how far it was read.
#[derive(Debug)]
pub struct NotificationBatch {
    limits: BatchLimits,
    events: Vec<PlannedEvent>,
    dead_letters: Vec<NewDeadLetter>,
    advances: Vec<Advance>,
    fan_out_steps: Vec<FanOutStep>,
    rows: usize,
    bytes: usize,
    opened_at: Option<Timestamp>,
}

impl NotificationBatch {
    /// An empty batch. Limits outside their range are brought into it.
    #[must_use]
    pub fn new(limits: BatchLimits) -> Self {
        let max_rows = limits.max_rows.clamp(1, MAX_BATCH_ROWS);
        let limits = BatchLimits { max_rows, max_bytes: limits.max_bytes.max(1), ..limits };
        Self {
            limits,
            events: Vec::new(),
            dead_letters: Vec::new(),
            advances: Vec::new(),
            fan_out_steps: Vec::new(),
            rows: 0,
            bytes: 0,
            opened_at: None,
        }
    }

    /// Adds `planned` as long as it fits, else gives it back: then the batch is to be stored first.
    ///
    /// An empty batch takes any event of up to `max_rows` rows, however many bytes it has. An event
    /// without recipients adds no row.
    ///
    /// # Errors
    ///
    /// The event itself, when there is no room for it.
    pub fn try_add(&mut self, planned: PlannedEvent, now: Timestamp) -> Result<(), PlannedEvent> {
        let rows = self.rows + planned.recipients.len();
        let bytes = self.bytes + planned.size_bytes();
        let too_big = rows > self.limits.max_rows
            || (bytes > self.limits.max_bytes && !self.events.is_empty());
        if too_big {
            return Err(planned);
        }
        self.rows = rows;
        self.bytes = bytes;
        self.opened_at.get_or_insert(now);
        self.events.push(planned);
        Ok(())
    }

    /// Adds a dead letter. It counts as a row and with its bytes, and never lacks room: a source
    /// closes its batch when [`Self::is_full`].
    pub fn add_dead_letter(&mut self, letter: NewDeadLetter, now: Timestamp) {
        self.rows += 1;
        self.bytes += letter.size_bytes();
        self.opened_at.get_or_insert(now);
        self.dead_letters.push(letter);
    }

    /// Moves the position of a partition with this batch. Records that are neither events nor dead
    /// letters (compacted, control records) are passed over that way too.
    pub fn advance(&mut self, advance: Advance, now: Timestamp) {
        self.opened_at.get_or_insert(now);
        self.merge_advance(advance);
    }

    fn merge_advance(&mut self, advance: Advance) {
        let same = self.advances.iter_mut().find(|it| it.partition == advance.partition);
        match same {
            Some(earlier) => {
                if let Err(apart) = earlier.try_extend(advance) {
                    self.advances.push(apart);
                }
            }
            None => self.advances.push(advance),
        }
    }

    /// Moves a fan-out on with this batch.
    pub fn step_fan_out(&mut self, step: FanOutStep, now: Timestamp) {
        self.opened_at.get_or_insert(now);
        self.fan_out_steps.push(step);
    }

    /// Takes over all of `other` as long as it fits, else gives it back: then this batch is to be
    /// stored first. An empty batch takes any other.
    ///
    /// # Errors
    ///
    /// The other batch, when there is no room for it.
    #[expect(clippy::result_large_err, reason = "it is moved back to where it came from")]
    pub fn try_append(&mut self, mut other: Self) -> Result<(), Self> {
        let rows = self.rows + other.rows;
        let bytes = self.bytes + other.bytes;
        let too_big = rows > self.limits.max_rows || bytes > self.limits.max_bytes;
        if too_big && !self.is_empty() {
            return Err(other);
        }
        self.rows = rows;
        self.bytes = bytes;
        self.opened_at = self.opened_at.into_iter().chain(other.opened_at).min();
        self.events.append(&mut other.events);
        self.dead_letters.append(&mut other.dead_letters);
        self.fan_out_steps.append(&mut other.fan_out_steps);
        for advance in other.advances {
            self.merge_advance(advance);
        }
        Ok(())
    }

    /// When the first of it was added; `None` while it is empty.
    #[must_use]
    pub fn opened_at(&self) -> Option<Timestamp> {
        self.opened_at
    }

    /// When the batch has to be stored at the latest; `None` while it is empty.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.opened_at.map(|opened| opened.after(self.limits.max_age))
    }

    /// Whether nothing more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= self.limits.max_rows || self.bytes >= self.limits.max_bytes
    }

    /// Whether there is nothing to be stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened_at.is_none()
    }

    /// Rows it holds, one per event and recipient, and one per dead letter.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes it holds, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The events, in the order in which they came.
    #[must_use]
    pub fn events(&self) -> &[PlannedEvent] {
        &self.events
    }

    /// The dead letters, in the order in which they came.
    #[must_use]
    pub fn dead_letters(&self) -> &[NewDeadLetter] {
        &self.dead_letters
    }

    /// The positions that move with it.
    #[must_use]
    pub fn advances(&self) -> &[Advance] {
        &self.advances
    }

    /// The fan-outs that move on with it.
    #[must_use]
    pub fn fan_out_steps(&self) -> &[FanOutStep] {
        &self.fan_out_steps
    }

    /// A batch of these parts of this one, however large, in their order.
    #[must_use]
    pub fn part(&self, part: &BatchPart) -> Self {
        let BatchPart { events, dead_letters, fan_out_steps, advances } = part;
        Self {
            limits: self.limits,
            events: self.events[events.clone()].to_vec(),
            dead_letters: self.dead_letters[dead_letters.clone()].to_vec(),
            advances: advances.clone(),
            fan_out_steps: self.fan_out_steps[fan_out_steps.clone()].to_vec(),
            rows: 0,
            bytes: 0,
            opened_at: self.opened_at,
        }
        .counted()
    }

    fn counted(mut self) -> Self {
        self.rows = self.events.iter().map(|it| it.recipients.len()).sum::<usize>()
            + self.dead_letters.len();
        self.bytes = self.events.iter().map(PlannedEvent::size_bytes).sum::<usize>()
            + self.dead_letters.iter().map(NewDeadLetter::size_bytes).sum::<usize>();
        self
    }

    /// Whether `part` moves on anything of `claims`.
    #[must_use]
    pub fn part_has_any_claim(&self, part: &BatchPart, claims: &[Claim]) -> bool {
        let steps = &self.fan_out_steps[part.fan_out_steps.clone()];
        claims.iter().any(|claim| match claim {
            Claim::Partition(id) => part.advances.iter().any(|it| it.partition == *id),
            Claim::FanOut(id) => steps.iter().any(|it| it.id == *id),
        })
    }

    /// The limits that it was made with.
    #[must_use]
    pub fn limits(&self) -> BatchLimits {
        self.limits
    }
}

/// A part of a batch: what one of those who share it has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPart {
    /// Which of its events.
    pub events: Range<usize>,
    /// Which of its dead letters.
    pub dead_letters: Range<usize>,
    /// Which of its fan-out steps.
    pub fan_out_steps: Range<usize>,
    /// The positions that move with the part.
    pub advances: Vec<Advance>,
}

impl BatchPart {
    /// What `added` becomes a part as, when it is appended to `batch`.
    #[must_use]
    pub fn of_appended(batch: &NotificationBatch, added: &NotificationBatch) -> Self {
        let after = |start: usize, count: usize| start..start + count;
        Self {
            events: after(batch.events.len(), added.events.len()),
            dead_letters: after(batch.dead_letters.len(), added.dead_letters.len()),
            fan_out_steps: after(batch.fan_out_steps.len(), added.fan_out_steps.len()),
            advances: added.advances.clone(),
        }
    }
}

/// What a store made of one event of a batch.
#[derive(Debug, Clone)]
pub struct AppendedEvent {
    /// The event as it is stored: what arrived first under its identity.
    pub event: Arc<Event>,
    /// When the new rows were made.
    pub created_at: Timestamp,
    /// The notifications that are new, in the order of the recipients.
    pub stored: Vec<StoredNotification>,
    /// Recipients who had theirs already.
    pub duplicates: usize,
    /// Whether a fan-out to more followers has begun with it, now or at an earlier delivery.
    pub fans_out: bool,
}

/// A notification that a batch has just made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNotification {
    /// Whose it is.
    pub user: UserId,
    /// Its id and, in it, its `seq`.
    pub id: NotificationId,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        checkpoint::{Epoch, PartitionId},
        event::IncomingEvent,
        fan_out::FanOutId,
    };

    fn planned(rows: usize, body_bytes: usize) -> PlannedEvent {
        let json = serde_json::json!({
            "id": "e", "source": "s", "type": "t", "body": "x".repeat(body_bytes),
            "audience": {"users": ["u"]},
        });
        let now = Timestamp::from_millis(0);
        let event = IncomingEvent::from_json(json.to_string().as_bytes(), now).unwrap().event;
        let recipients = (0..rows)
            .map(|n| Recipient { user: UserId::new(&format!("u{n}")).unwrap(), push_at: None })
            .collect();
        PlannedEvent { event, recipients, fan_out: None }
    }

    proptest! {
        #[test]
        fn batches_keep_every_row_in_order_and_within_their_limits(
            sizes in proptest::collection::vec((0usize..20, 0usize..400), 0..60),
            max_rows in 20usize..60, max_bytes in 1usize..5_000,
        ) {
            let limits = BatchLimits { max_rows, max_bytes, max_age: Duration::from_millis(5) };
            let now = Timestamp::from_millis(7);
            let mut closed = Vec::new();
            let mut open = NotificationBatch::new(limits);
            for (rows, body) in &sizes {
                if let Err(back) = open.try_add(planned(*rows, *body), now) {
                    prop_assert!(!open.is_empty(), "an empty batch takes any event");
                    closed.push(std::mem::replace(&mut open, NotificationBatch::new(limits)));
                    open.try_add(back, now).expect("an empty batch takes any event");
                }
            }
            closed.push(open);
            let kept: Vec<_> = closed.iter().flat_map(NotificationBatch::events)
                .map(|it| (it.recipients.len(), it.event.body.len())).collect();
            prop_assert_eq!(kept, sizes);
            for batch in &closed {
                prop_assert!(batch.rows() <= max_rows);
                prop_assert!(batch.bytes() <= max_bytes || batch.events().len() == 1);
                prop_assert_eq!(batch.due_at().is_none(), batch.is_empty());
            }
        }
    }

    #[test]
    fn a_batch_takes_over_another_whole_or_not_at_all() {
        let limits = BatchLimits { max_rows: 3, max_bytes: 9_999, max_age: Duration::ZERO };
        let batch_of = |rows, at| {
            let mut batch = NotificationBatch::new(limits);
            batch.try_add(planned(rows, 0), Timestamp::from_millis(at)).unwrap();
            batch
        };
        let mut batch = batch_of(2, 9);
        let back = batch.try_append(batch_of(2, 5)).unwrap_err();
        assert_eq!((batch.rows(), back.rows()), (2, 2));
        batch.try_append(batch_of(1, 5)).unwrap();
        assert_eq!((batch.rows(), batch.events().len()), (3, 2));
        assert_eq!(batch.due_at(), Some(Timestamp::from_millis(5)));
    }

    #[test]
    fn advances_of_a_partition_that_follow_each_other_become_one() {
        let partition = |partition| PartitionId { group: "g".into(), topic: "t".into(), partition };
        let advance =
            |number, from, to| Advance { partition: partition(number), epoch: Epoch(1), from, to };
        let now = Timestamp::from_millis(0);
        let limits = BatchLimits { max_rows: 9, max_bytes: 9_999, max_age: Duration::ZERO };
        let mut batch = NotificationBatch::new(limits);
        batch.advance(advance(0, None, 5), now);
        batch.advance(advance(1, Some(7), 8), now);
        let mut other = NotificationBatch::new(limits);
        other.advance(advance(0, Some(5), 9), now);
        // Does not follow: the store will say that it is fenced.
        other.advance(advance(1, Some(9), 10), now);
        let part = BatchPart::of_appended(&batch, &other);
        batch.try_append(other).unwrap();
        let expected = [advance(0, None, 9), advance(1, Some(7), 8), advance(1, Some(9), 10)];
        assert_eq!(batch.advances(), expected);
        assert!(!batch.is_empty());
        // The part is as it came, although it is merged.
        assert_eq!(batch.part(&part).advances(), [advance(0, Some(5), 9), advance(1, Some(9), 10)]);
        assert!(batch.part_has_any_claim(&part, &[Claim::Partition(partition(1))]));
        let others = [Claim::Partition(partition(2)), Claim::FanOut(FanOutId(1))];
        assert!(!batch.part_has_any_claim(&part, &others));
    }

    #[test]
    fn a_batch_is_due_when_its_oldest_event_is() {
        let limits =
            BatchLimits { max_rows: 10, max_bytes: 9_999, max_age: Duration::from_millis(5) };
        let mut batch = NotificationBatch::new(limits);
        batch.try_add(planned(1, 0), Timestamp::from_millis(10)).unwrap();
        batch.try_add(planned(1, 0), Timestamp::from_millis(14)).unwrap();
        assert_eq!(batch.due_at(), Some(Timestamp::from_millis(15)));
    }
}
