//! Changes to the follows that the packed lists do not hold yet.
//!
//! An added follow is one record of 24 bytes, which both its lists lead to: each record knows the one
//! before it in either list, and each list knows its newest record. Lists are read newest first, so a
//! page follows a few of these links; a list that has grown long in the layer also has its records
//! listed, so that no page follows many. What is removed of the packed lists, or of an older layer, is
//! kept as numbers.

use std::collections::HashMap;

use tidings_core::clock::Timestamp;

use super::{bits::low_word, digest::mix, index::UserNumber, segment::Direction, table::Table};

/// Records that are allocated at a time: growing moves none.
const CHUNK: usize = 4_096;
/// From so many records on, a list has its records listed.
const LONG: u32 = 64;
const NONE: u32 = u32::MAX;

/// An added follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    source: UserNumber,
    /// The source again, once the follow is removed: nobody follows themself.
    target: UserNumber,
    at: i64,
    /// The records before it in the lists of its source and of its target.
    before: [u32; 2],
}

impl Record {
    pub(super) fn is_removed(&self) -> bool {
        self.source == self.target
    }

    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }

    /// Who is at the other end, seen from a list of this direction.
    pub(super) fn other(&self, direction: Direction) -> UserNumber {
        match direction {
            Direction::Following => self.target,
            Direction::Followers => self.source,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Chain {
    newest: u32,
    /// Records, also those that are removed.
    len: u32,
    /// Entries of the list, be they records or older, that the layer removed.
    minus: u32,
}

const EMPTY: Chain = Chain { newest: NONE, len: 0, minus: 0 };

#[derive(Debug, Clone, Copy)]
struct Head {
    user: UserNumber,
    chains: [Chain; 2],
}

/// The changes since the layer was begun.
#[derive(Debug, Default)]
pub(super) struct Layer {
    records: Vec<Vec<Record>>,
    len: u32,
    /// The records of follows that stand, by source and target.
    pairs: Table<u32>,
    heads: Table<Head>,
    /// The records of long lists in their order.
    long: HashMap<(UserNumber, Direction), Vec<u32>>,
    /// The numbers that are gone from the lists below, by direction.
    removed: [Table<(UserNumber, u64)>; 2],
}

fn hash_pair(source: UserNumber, target: UserNumber) -> u64 {
    mix(u64::from(source) << 32 | u64::from(target))
}

fn hash_user(user: UserNumber) -> u64 {
    mix(u64::from(user))
}

fn hash_number(user: UserNumber, number: u64) -> u64 {
    mix(mix(u64::from(user)) ^ number)
}

fn side(direction: Direction) -> usize {
    match direction {
        Direction::Following => 0,
        Direction::Followers => 1,
    }
}

fn record(records: &[Vec<Record>], place: u32) -> Record {
    let place = place as usize;
    records[place / CHUNK][place % CHUNK]
}

impl Layer {
    /// Adds and removals that it holds.
    pub(super) fn changes(&self) -> usize {
        self.len as usize + self.removed[0].len()
    }

    /// Whether it takes anything away from what is below it.
    pub(super) fn removes(&self) -> bool {
        !self.removed[0].is_empty()
    }

    fn get(&self, place: u32) -> Record {
        record(&self.records, place)
    }

    /// The record of a follow that the layer added and that stands.
    pub(super) fn find(&self, source: UserNumber, target: UserNumber) -> Option<(u32, Record)> {
        let is_it = |place: &u32| {
            let record = self.get(*place);
            record.source == source && record.target == target
        };
        let place = *self.pairs.find(hash_pair(source, target), is_it)?;
        Some((place, self.get(place)))
    }

    fn head(&mut self, user: UserNumber) -> Option<&mut Head> {
        let hash = hash_user(user);
        // Looked up twice at most: a borrow of the first look-up would forbid the insertion.
        if self.heads.find(hash, |it| it.user == user).is_none() {
            self.heads.insert(hash, Head { user, chains: [EMPTY; 2] }, |it| hash_user(it.user));
        }
        self.heads.find_mut(hash, |it| it.user == user)
    }

    fn append(&mut self, user: UserNumber, direction: Direction, place: u32) -> u32 {
        let Some(head) = self.head(user) else { return NONE };
        let chain = &mut head.chains[side(direction)];
        let before = chain.newest;
        chain.newest = place;
        chain.len += 1;
        let len = chain.len;
        if len > LONG {
            self.long.entry((user, direction)).or_default().push(place);
        } else if len == LONG {
            let mut places = vec![place];
            let mut at = before;
            while at != NONE {
                places.push(at);
                at = self.get(at).before[side(direction)];
            }
            places.reverse();
            self.long.insert((user, direction), places);
        }
        before
    }

    /// Adds a follow that is neither in the layer nor below it.
    pub(super) fn add(&mut self, source: UserNumber, target: UserNumber, at: Timestamp) {
        let place = self.len;
        let before = [(source, Direction::Following), (target, Direction::Followers)]
            .map(|(user, direction)| self.append(user, direction, place));
        let added = Record { source, target, at: at.as_millis(), before };
        match self.records.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(added),
            _ => {
                let mut chunk = Vec::with_capacity(if place == 0 { 64 } else { CHUNK });
                chunk.push(added);
                self.records.push(chunk);
            }
        }
        self.len += 1;
        let Self { records, pairs, .. } = self;
        pairs.insert(hash_pair(source, target), place, |it| {
            let it = record(records, *it);
            hash_pair(it.source, it.target)
        });
    }

    /// Removes the follow: its record if the layer added it, else what has these numbers in the two
    /// lists below.
    pub(super) fn remove(&mut self, ends: [UserNumber; 2], numbers: [u64; 2]) {
        let [source, target] = ends;
        let Self { records, pairs, .. } = self;
        let is_it = |place: &u32| {
            let it = record(records, *place);
            it.source == source && it.target == target
        };
        if let Some(place) = pairs.remove(hash_pair(source, target), is_it) {
            let place = place as usize;
            self.records[place / CHUNK][place % CHUNK].target = source;
        } else {
            for (end, (removed, number)) in
                ends.into_iter().zip(self.removed.iter_mut().zip(numbers))
            {
                let hash = hash_number(end, number);
                removed.insert(hash, (end, number), |(user, number)| hash_number(*user, *number));
            }
        }
        for (end, direction) in ends.into_iter().zip(Direction::BOTH) {
            if let Some(head) = self.head(end) {
                head.chains[side(direction)].minus += 1;
            }
        }
    }

    /// What the layer says of a list.
    pub(super) fn changes_of(&self, user: UserNumber, direction: Direction) -> Changes<'_> {
        let head = self.heads.find(hash_user(user), |it| it.user == user);
        let chain = head.map_or(EMPTY, |head| head.chains[side(direction)]);
        let long = if chain.len >= LONG { self.long.get(&(user, direction)) } else { None };
        let long = long.map(Vec::as_slice).unwrap_or_default();
        Changes { layer: self, user, direction, chain, long }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let records = self.records.iter().map(Vec::capacity).sum::<usize>() * size_of::<Record>();
        let long = self.long.values().map(|it| it.capacity() * 4 + 48).sum::<usize>();
        let removed = self.removed.iter().map(Table::bytes).sum::<usize>();
        records + self.pairs.bytes() + self.heads.bytes() + long + removed
    }
}

/// What a layer says of one list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes<'a> {
    layer: &'a Layer,
    user: UserNumber,
    direction: Direction,
    chain: Chain,
    long: &'a [u32],
}

impl<'a> Changes<'a> {
    /// Numbers that the layer has given, also to entries that it removed again.
    pub(super) fn numbers(&self) -> u64 {
        u64::from(self.chain.len)
    }

    /// Entries that the layer adds, less those that it removes here and below.
    pub(super) fn difference(&self) -> i64 {
        i64::from(self.chain.len) - i64::from(self.chain.minus)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chain.len == 0 && self.chain.minus == 0
    }

    /// Whether the entry below the layer with this number is gone.
    pub(super) fn is_removed(&self, number: u64) -> bool {
        self.chain.minus > 0 && {
            let key = (self.user, number);
            let removed = &self.layer.removed[side(self.direction)];
            !removed.is_empty()
                && removed.find(hash_number(self.user, number), |it| *it == key).is_some()
        }
    }

    /// The layer's records among the first `count` numbers, newest first, with their places among
    /// them; also those that are removed.
    pub(super) fn newest_first(self, count: u64) -> impl Iterator<Item = (u32, Record)> + 'a {
        let mut left = self.chain.len;
        let wanted = low_word(count.min(u64::from(left)));
        let mut at = self.chain.newest;
        if self.long.is_empty() {
            while left > wanted {
                at = self.layer.get(at).before[side(self.direction)];
                left -= 1;
            }
        } else {
            left = wanted;
        }
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let place = self.long.get(left as usize).copied().unwrap_or(at);
            let record = self.layer.get(place);
            at = record.before[side(self.direction)];
            Some((left, record))
        })
    }

    /// The layer's records from this place among its numbers on, oldest first; also those that are
    /// removed.
    pub(super) fn oldest_first(self, first: u32) -> impl Iterator<Item = (u32, Record)> + 'a {
        let mut short = Vec::new();
        let mut long = 0..0;
        if self.long.is_empty() {
            short.extend(self.newest_first(u64::MAX).take_while(|(place, _)| *place >= first));
        } else {
            long = first..self.chain.len;
        }
        let long = long.map(move |place| (place, self.layer.get(self.long[place as usize])));
        short.into_iter().rev().chain(long)
    }

    /// The place among the layer's numbers of the list that this record has.
    pub(super) fn place_of(&self, record: u32) -> Option<u32> {
        if !self.long.is_empty() {
            return self.long.binary_search(&record).ok().map(|place| low_word(place as u64));
        }
        let mut at = self.chain.newest;
        for place in (0..self.chain.len).rev() {
            if at == record {
                return Some(place);
            }
            at = self.layer.get(at).before[side(self.direction)];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(
        layer: &Layer,
        user: UserNumber,
        direction: Direction,
        count: u64,
    ) -> Vec<(u32, u32)> {
        let records = layer.changes_of(user, direction).newest_first(count);
        let standing = records.filter(|(_, it)| !it.is_removed());
        standing.map(|(place, it)| (place, it.other(direction))).collect()
    }

    #[test]
    fn short_and_long_lists_are_read_newest_first_from_any_number() {
        let mut layer = Layer::default();
        for n in 0..200u32 {
            layer.add(7, 1_000 + n, Timestamp::from_millis(i64::from(n)));
            if n < 10 {
                layer.add(1_000 + n, 7, Timestamp::from_millis(1));
            }
        }
        for count in [0, 1, 5, 63, 64, 65, 199, 200] {
            let expected: Vec<_> = (0..count).rev().map(|n| (n, 1_000 + n)).collect();
            assert_eq!(others(&layer, 7, Direction::Following, count.into()), expected);
            let expected: Vec<_> = (0..count.min(10)).rev().map(|n| (n, 1_000 + n)).collect();
            assert_eq!(others(&layer, 7, Direction::Followers, count.into()), expected);
        }
        for n in [0, 9, 100, 199] {
            let (record, _) = layer.find(7, 1_000 + n).unwrap();
            assert_eq!(layer.changes_of(7, Direction::Following).place_of(record), Some(n));
            assert_eq!(layer.changes_of(1_000 + n, Direction::Followers).place_of(record), Some(0));
        }
        assert!(layer.changes_of(8, Direction::Following).is_empty());
    }

    #[test]
    fn a_removed_record_keeps_its_number_and_what_is_below_is_noted() {
        let mut layer = Layer::default();
        for n in 0..3 {
            layer.add(1, 10 + n, Timestamp::from_millis(7));
        }
        layer.remove([1, 11], [99, 99]);
        assert!(layer.find(1, 11).is_none());
        assert_eq!(others(&layer, 1, Direction::Following, 9), [(2, 12), (0, 10)]);
        assert_eq!(layer.changes_of(1, Direction::Following).difference(), 2);
        assert_eq!(layer.changes_of(11, Direction::Followers).difference(), 0);
        layer.remove([1, 50], [3, 4]);
        let following = layer.changes_of(1, Direction::Following);
        assert!(following.is_removed(3) && !following.is_removed(4));
        assert_eq!((following.numbers(), following.difference()), (3, 1));
        let followers = layer.changes_of(50, Direction::Followers);
        assert!(followers.is_removed(4) && !followers.is_removed(3));
        assert_eq!((layer.changes(), followers.difference()), (4, -1));
        layer.add(1, 11, Timestamp::from_millis(8));
        assert_eq!(others(&layer, 1, Direction::Following, 9), [(3, 11), (2, 12), (0, 10)]);
    }

    #[test]
    fn a_follow_between_users_of_their_own_takes_less_than_150_bytes() {
        let mut layer = Layer::default();
        for n in 0..200_000u32 {
            layer.add(2 * n, 2 * n + 1, Timestamp::from_millis(7));
        }
        let each = layer.bytes() / 200_000;
        assert!(each < 150, "{each} bytes");
    }
}
