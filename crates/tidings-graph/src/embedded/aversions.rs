//! Who has turned away from whom: all blocks, or all mutes.

use std::collections::{HashMap, hash_map::Entry as Slot};

use tidings_core::clock::Timestamp;

use super::{
    index::{Edge, UserNumber},
    list::{EdgeList, OutEntry},
};

static NONE: EdgeList<OutEntry> = EdgeList::new();

/// Edges of one kind, of which most users have none: nothing is kept for those.
///
/// A pair is looked up in constant time, however many edges its ends have: that happens for every
/// recipient of an event whose actor somebody has turned away from.
#[derive(Debug, Default)]
pub(super) struct Aversions {
    /// Each pair of source and target, and the number of its edge.
    pairs: HashMap<(UserNumber, UserNumber), u64>,
    /// The edges of each source in their order.
    by_source: HashMap<UserNumber, EdgeList<OutEntry>>,
    /// How many edges end at each target.
    targets: HashMap<UserNumber, u32>,
}

impl Aversions {
    pub(super) fn len(&self) -> u64 {
        self.pairs.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Adds an edge that is not there yet, with a number above all others.
    pub(super) fn add(&mut self, edge: &Edge) {
        let known = self.pairs.insert((edge.source, edge.target), edge.number);
        debug_assert!(known.is_none(), "a pair has one edge of a kind");
        self.by_source.entry(edge.source).or_default().push(edge.number, edge.target, edge.at);
        *self.targets.entry(edge.target).or_default() += 1;
    }

    /// Removes an edge that is there.
    pub(super) fn remove(&mut self, edge: &Edge) {
        let known = self.pairs.remove(&(edge.source, edge.target));
        debug_assert_eq!(known, Some(edge.number), "an edge is kept once");
        if let Slot::Occupied(mut list) = self.by_source.entry(edge.source) {
            list.get_mut().remove(edge.number);
            if list.get().is_empty() {
                list.remove();
            }
        }
        if let Slot::Occupied(mut count) = self.targets.entry(edge.target) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    pub(super) fn contains(&self, source: UserNumber, target: UserNumber) -> bool {
        self.pairs.contains_key(&(source, target))
    }

    /// Number and time of the edge from `source` to `target`.
    pub(super) fn find(&self, source: UserNumber, target: UserNumber) -> Option<(u64, Timestamp)> {
        let number = *self.pairs.get(&(source, target))?;
        Some((number, self.by_source.get(&source)?.get(number)?.at()))
    }

    /// Whether any edge begins at `user`.
    pub(super) fn has_source(&self, user: UserNumber) -> bool {
        self.by_source.contains_key(&user)
    }

    /// Whether any edge ends at `user`.
    pub(super) fn has_target(&self, user: UserNumber) -> bool {
        self.targets.contains_key(&user)
    }

    /// The edges that begin at `user`.
    pub(super) fn of(&self, user: UserNumber) -> &EdgeList<OutEntry> {
        self.by_source.get(&user).unwrap_or(&NONE)
    }

    /// All pairs that `user` is one of, by looking at every pair there is.
    pub(super) fn pairs_of(
        &self,
        user: UserNumber,
    ) -> impl Iterator<Item = (UserNumber, UserNumber)> + '_ {
        self.pairs
            .keys()
            .copied()
            .filter(move |(source, target)| *source == user || *target == user)
    }

    /// Gives back memory that was reserved for growth.
    pub(super) fn shrink(&mut self) {
        self.by_source.values_mut().for_each(EdgeList::shrink);
        self.by_source.shrink_to_fit();
        self.pairs.shrink_to_fit();
        self.targets.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::index::EdgeKind;

    fn edge(number: u64, source: UserNumber, target: UserNumber) -> Edge {
        Edge { kind: EdgeKind::Mute, number, source, target, at: Timestamp::from_millis(7) }
    }

    #[test]
    fn nothing_is_kept_for_those_who_have_none() {
        let mut mutes = Aversions::default();
        let edges = [edge(1, 1, 2), edge(2, 1, 3), edge(3, 4, 2)];
        edges.iter().for_each(|edge| mutes.add(edge));
        assert!(mutes.contains(1, 2) && !mutes.contains(2, 1));
        assert_eq!(mutes.find(4, 2), Some((3, Timestamp::from_millis(7))));
        assert!(mutes.has_source(1) && !mutes.has_source(2));
        assert!(mutes.has_target(2) && !mutes.has_target(1));
        mutes.remove(&edges[0]);
        assert!(mutes.has_target(2), "another edge still ends there");
        assert_eq!((mutes.len(), mutes.of(1).len(), mutes.of(9).len()), (2, 1, 0));
        edges[1..].iter().for_each(|edge| mutes.remove(edge));
        assert_eq!((mutes.len(), mutes.by_source.len(), mutes.targets.len()), (0, 0, 0));
    }
}
