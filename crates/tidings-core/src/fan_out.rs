//! An event on its way to the followers of a user.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    event::Event,
    ids::{GraphId, UserId},
    ports::Cursor,
};

/// The store's number for a fan-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FanOutId(pub u64);

/// Begins a fan-out, in the transaction that stores its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFanOut {
    /// The graph whose followers are meant. Its cursors mean nothing to any other.
    pub graph: GraphId,
    /// Whose followers are told.
    pub followee: UserId,
    /// Where the followers begin who are not among the recipients already.
    pub cursor: Cursor,
}

/// A fan-out that has not ended, leased to a worker.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// Which one.
    pub id: FanOutId,
    /// What the followers are told, as it is stored.
    pub event: Arc<Event>,
    /// Whose followers are told.
    pub followee: UserId,
    /// Where the followers begin who are still to be told.
    pub cursor: Cursor,
    /// Steps made so far.
    pub steps: u64,
    /// When it began.
    pub began_at: Timestamp,
}

/// Moves a fan-out on, in the transaction that stores the rows of the followers up to `next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanOutStep {
    /// Which one.
    pub id: FanOutId,
    /// Steps made before this one: the compare of the compare-and-set.
    pub steps: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
    /// How long the worker wants to keep the fan-out.
    pub leased_until: Timestamp,
}

/// How much is still to be done, seen from one graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FanOutBacklog {
    /// For the followers of this graph.
    pub here: FanOutsLeft,
    /// For those of other graphs, which whoever asks those has to tell.
    pub elsewhere: FanOutsLeft,
}

/// Fan-outs that have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FanOutsLeft {
    /// How many.
    pub unfinished: u64,
    /// When the oldest of them began.
    pub oldest: Option<Timestamp>,
}
