//! One user's blocks or mutes, in the order of their numbers.

use tidings_core::clock::Timestamp;

use super::index::UserNumber;

/// Entries in one chunk. A removal moves at most this many, however long the list is; a longer
/// chunk would spare a few bytes of bookkeeping per thousand edges and cost more to move.
const CHUNK: usize = 512;

/// An edge as its source keeps it: 14 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed(2))]
pub(super) struct Entry {
    other: UserNumber,
    delta: u32,
    /// Milliseconds in 48 bits: a [`Timestamp`] ends with the year 9999.
    at: [u8; 6],
}

impl Entry {
    fn new(other: UserNumber, delta: u32, at: Timestamp) -> Self {
        let [_, _, at @ ..] = at.as_millis().to_be_bytes();
        Self { other, delta, at }
    }

    /// The user at the other end.
    pub(super) fn other(&self) -> UserNumber {
        self.other
    }

    /// When the edge was made.
    pub(super) fn at(&self) -> Timestamp {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.at);
        Timestamp::from_millis(i64::from_be_bytes(millis))
    }
}

#[derive(Debug, Clone)]
struct Chunk {
    base: u64,
    /// Never empty; deltas, the numbers counted from the base, ascend.
    entries: Vec<Entry>,
}

impl Chunk {
    fn number(&self, entry: &Entry) -> u64 {
        self.base + u64::from(entry.delta)
    }

    fn last(&self) -> u64 {
        self.entries.last().map_or(self.base, |entry| self.number(entry))
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            // A quarter at a time, not double: most lists hardly grow once they are loaded.
            let more = (self.entries.len() / 4).clamp(4, CHUNK);
            self.entries.reserve_exact(more);
        }
        self.entries.push(entry);
    }
}

/// Edges in ascending order of their numbers, in chunks, so that no change moves more than one chunk.
#[derive(Debug, Clone, Default)]
pub(super) struct EdgeList {
    chunks: Vec<Chunk>,
}

impl EdgeList {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.entries.len()).sum()
    }

    /// Appends an edge. Its number has to be above all numbers in the list.
    pub(super) fn push(&mut self, number: u64, other: UserNumber, at: Timestamp) {
        if let Some(chunk) = self.chunks.last_mut() {
            debug_assert!(chunk.last() < number, "edge numbers only grow");
            let delta = u32::try_from(number - chunk.base);
            if let (Ok(delta), true) = (delta, chunk.entries.len() < CHUNK) {
                chunk.push(Entry::new(other, delta, at));
                return;
            }
        }
        self.chunks.reserve_exact(1 + self.chunks.len() / 4);
        let mut chunk = Chunk { base: number, entries: Vec::new() };
        chunk.push(Entry::new(other, 0, at));
        self.chunks.push(chunk);
    }

    /// Where the edge with this number is, or would be: chunk, and place in it.
    fn place(&self, number: u64) -> (usize, Result<usize, usize>) {
        let chunk = self.chunks.partition_point(|chunk| chunk.last() < number);
        let Some(found) = self.chunks.get(chunk) else { return (chunk, Err(0)) };
        let entry = found.entries.binary_search_by_key(&number, |entry| found.number(entry));
        (chunk, entry)
    }

    /// The edge with this number.
    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        let (chunk, entry) = self.place(number);
        self.chunks.get(chunk)?.entries.get(entry.ok()?)
    }

    /// Removes the edge with this number; fine if there is none. Says whether there was.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let (at, Ok(entry)) = self.place(number) else { return false };
        let entries = &mut self.chunks[at].entries;
        entries.remove(entry);
        if entries.is_empty() {
            self.chunks.remove(at);
            return true;
        }
        if entries.capacity() > 8 && entries.len() < entries.capacity() / 2 {
            entries.shrink_to_fit();
        }
        // Otherwise a long list that lost most of its edges would be a list of tiny chunks.
        if !self.merge_with_next(at) && at > 0 {
            self.merge_with_next(at - 1);
        }
        true
    }

    fn merge_with_next(&mut self, at: usize) -> bool {
        let [left, right, ..] = &self.chunks[at..] else { return false };
        let fits = left.entries.len() + right.entries.len() <= CHUNK / 2;
        if !fits || u32::try_from(right.last() - left.base).is_err() {
            return false;
        }
        let right = self.chunks.remove(at + 1);
        let left = &mut self.chunks[at];
        // Not zero: the right chunk begins above the left one.
        let shift = right.base - left.base;
        left.entries.reserve_exact(right.entries.len());
        for entry in right.entries {
            let number = shift + u64::from(entry.delta);
            // The check above says that it fits.
            let delta = u32::try_from(number).unwrap_or(u32::MAX);
            left.entries.push(Entry { delta, ..entry });
        }
        true
    }

    /// The edges with a number below `before`, newest first.
    pub(super) fn before(&self, before: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let (chunk, entry) = self.place(before);
        let entry = entry.unwrap_or_else(|place| place);
        let cut = self.chunks.get(chunk).map(|cut| (cut, &cut.entries[..entry]));
        let whole = self.chunks[..chunk].iter().rev().map(|it| (it, &it.entries[..]));
        cut.into_iter().chain(whole).flat_map(|(chunk, entries)| {
            entries.iter().rev().map(|entry| (chunk.number(entry), entry))
        })
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let entries = self.chunks.iter().map(|it| it.entries.capacity() * size_of::<Entry>());
        self.chunks.capacity() * size_of::<Chunk>() + entries.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(number: u64) -> Timestamp {
        Timestamp::from_millis(i64::try_from(number % 1_000).unwrap())
    }

    fn numbers(list: &EdgeList, before: u64) -> Vec<u64> {
        list.before(before).map(|(number, _)| number).collect()
    }

    #[test]
    fn an_edge_takes_14_bytes() {
        assert_eq!(size_of::<Entry>(), 14);
        let last_day = Timestamp::from_millis(i64::MAX);
        assert_eq!(Entry::new(1, 2, last_day).at(), last_day);
    }

    #[test]
    fn a_list_that_lost_most_of_its_edges_is_short_again() {
        let mut list = EdgeList::default();
        for number in 0..100_000 {
            list.push(number, 7, at(number));
        }
        assert_eq!(list.chunks.len(), 100_000_usize.div_ceil(CHUNK));
        for number in (0..100_000).filter(|number| number % 1_000 != 0) {
            assert!(list.remove(number));
        }
        assert_eq!((list.len(), list.chunks.len()), (100, 1));
        assert!(list.get(5_000).is_some_and(|entry| entry.at() == at(5_000)));
    }

    proptest! {
        #[test]
        fn a_list_agrees_with_a_sorted_map(
            steps in proptest::collection::vec((0u64..1 << 33, any::<bool>(), any::<prop::sample::Index>()), 1..400),
            small_steps in any::<bool>(),
        ) {
            let mut list = EdgeList::default();
            let mut model = BTreeMap::new();
            let mut number = 0;
            for (step, is_removal, which) in steps {
                if is_removal && !model.is_empty() {
                    let gone = *model.keys().nth(which.index(model.len())).unwrap();
                    model.remove(&gone);
                    prop_assert!(list.remove(gone));
                    prop_assert!(!list.remove(gone));
                    continue;
                }
                // Steps beyond 32 bits make chunks that cannot be merged.
                number += 1 + if small_steps { step % 3 } else { step };
                let other = UserNumber::try_from(number % 1_000_003).unwrap();
                list.push(number, other, at(number));
                model.insert(number, other);
            }
            prop_assert_eq!(list.len(), model.len());
            let expected: Vec<_> = model.keys().rev().copied().collect();
            prop_assert_eq!(numbers(&list, u64::MAX), expected);
            for (number, other) in &model {
                let entry = list.get(*number).unwrap();
                prop_assert_eq!((entry.other(), entry.at()), (*other, at(*number)));
                let before: Vec<_> = model.range(..number).rev().map(|(n, _)| *n).collect();
                prop_assert_eq!(numbers(&list, *number), before);
            }
        }
    }
}
