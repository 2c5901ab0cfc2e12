//! What was produced, and what it has to become.

use std::collections::{BTreeMap, BTreeSet};

use crate::story::{Draft, Meaning};

/// Where a record stands.
pub(crate) type Place = (i32, i64);

/// What was produced to one topic, and what it has to become.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) topic: String,
    /// Per user the events that belong in the inbox, each with the record that brings it first.
    pub(crate) told: BTreeMap<String, BTreeMap<String, Place>>,
    /// The records that have to become dead letters.
    pub(crate) letters: BTreeSet<Place>,
    /// Per partition the offset after its last record.
    pub(crate) ends: BTreeMap<i32, i64>,
    pub(crate) records: usize,
}

impl Ledger {
    pub(crate) fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..Self::default() }
    }

    /// Notes a record; those of a partition in their order.
    pub(crate) fn note(&mut self, draft: &Draft, offset: i64) {
        let place = (draft.partition, offset);
        self.records += 1;
        self.ends.insert(draft.partition, offset + 1);
        match &draft.meaning {
            Meaning::Tells { event, users } => {
                for user in users {
                    let inbox = self.told.entry(user.clone()).or_default();
                    inbox.entry(event.clone()).or_insert(place);
                }
            }
            Meaning::Poison => {
                self.letters.insert(place);
            }
        }
    }

    /// How many notifications there have to be.
    pub(crate) fn notifications(&self) -> usize {
        self.told.values().map(BTreeMap::len).sum()
    }
}
