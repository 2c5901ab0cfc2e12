//! One user's follows in one direction, packed: who is at the other end of each, in the order in which
//! they came, and in the list of a follower also when.
//!
//! Every entry of a list has a number of that list: they count up from zero, are never used twice, and
//! stay as they are when other entries go. So "before number n" is a place that lasts. A list that
//! never lost an entry keeps no numbers; one that did keeps, in blocks, how many are missing before each
//! entry, which takes a bit or two per entry where something is missing and nothing where not.
//!
//! ```text
//! count · head (6 bits: width of a user number; NUMBERED; ORDERED)
//!   NUMBERED: number of the first · numbers after the last · bytes of holes · holes
//!   user numbers · ORDERED: places by ascending user number · times
//! ```

use std::ops::Range;

use super::{
    bits::{
        self, BLOCK, get_u32, pack, packed_bytes, put_varint, take_bytes, take_varint, to_usize,
        width_of,
    },
    index::UserNumber,
    series::{self, Access, Series},
};

const WIDTH: u8 = 0x3f;
const NUMBERED: u8 = 0x40;
const ORDERED: u8 = 0x80;
/// From so many entries on, the list of a follower is also kept in the order of user numbers: looking
/// for one takes a search, not a walk.
const LEAST_ORDERED: usize = 512;

/// A list that is being made or taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// They ascend.
    pub(super) numbers: Vec<u64>,
    pub(super) others: Vec<UserNumber>,
    /// As long as the others in the list of a follower, else empty.
    pub(super) times: Vec<i64>,
    /// The number that the next entry gets.
    pub(super) next: u64,
}

impl Entries {
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.others.clear();
        self.times.clear();
        self.next = 0;
    }

    /// Appends the packed list; nothing for one that never had an entry.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let count = self.others.len();
        if self.next == 0 {
            return;
        }
        put_varint(out, count as u64);
        let first = self.numbers.first().copied().unwrap_or(self.next);
        let last = self.numbers.last().map_or(self.next, |last| last + 1);
        let is_numbered = first != 0 || self.next != count as u64;
        let is_ordered = !self.times.is_empty() && count >= LEAST_ORDERED;
        let largest = self.others.iter().max().copied().unwrap_or(0);
        let width = width_of(u64::from(largest));
        let mut head = u8::try_from(width).unwrap_or(WIDTH);
        head |= if is_numbered { NUMBERED } else { 0 };
        head |= if is_ordered { ORDERED } else { 0 };
        out.push(head);
        if is_numbered {
            put_varint(out, first);
            put_varint(out, self.next - last);
            let holes =
                self.numbers.iter().zip(first..).map(|(it, whole)| (it - whole).cast_signed());
            let holes: Vec<_> = holes.collect();
            let mut bytes = Vec::new();
            if holes.last().is_some_and(|last| *last > 0) {
                series::encode(&mut bytes, &holes, Access::Random);
            }
            put_varint(out, bytes.len() as u64);
            out.append(&mut bytes);
        }
        pack(out, width, self.others.iter().map(|it| u64::from(*it)));
        if is_ordered {
            let mut places: Vec<_> = (0..count).collect();
            places.sort_unstable_by_key(|place| self.others[*place]);
            let width = width_of(count as u64 - 1);
            pack(out, width, places.iter().map(|it| *it as u64));
        }
        if !self.times.is_empty() {
            series::encode(out, &self.times, Access::ByBlock);
        }
    }
}

/// A list that [`Entries::encode`] wrote.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PackedList<'a> {
    len: usize,
    width: u32,
    is_ordered: bool,
    first: u64,
    next: u64,
    /// Missing numbers before each entry, if any are missing in between.
    holes: Option<Series<'a>>,
    /// The user numbers and all behind them.
    others: &'a [u8],
}

impl<'a> PackedList<'a> {
    /// The list at the front of `bytes`; the bytes go on to the end of the buffer, so that a block may
    /// be read beyond the end of the list. `None` if it is none.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let len = to_usize(take_varint(&mut bytes)?);
        let (head, mut bytes) = bytes.split_first()?;
        let width = u32::from(head & WIDTH);
        let mut list = Self {
            len,
            width,
            is_ordered: head & ORDERED != 0,
            first: 0,
            next: len as u64,
            holes: None,
            others: bytes,
        };
        if head & NUMBERED != 0 {
            list.first = take_varint(&mut bytes)?;
            let after = take_varint(&mut bytes)?;
            let length = to_usize(take_varint(&mut bytes)?);
            let holes = Series::new(bytes, len);
            take_bytes(&mut bytes, length)?;
            let mut missing = 0;
            if length > 0 {
                list.holes = Some(holes);
                missing = holes.get(len.checked_sub(1)?).cast_unsigned();
            }
            let whole = list.first.checked_add(len as u64)?;
            list.next = whole.checked_add(missing)?.checked_add(after)?;
            list.others = bytes;
        }
        Some(list)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number after the last that was ever used.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether looking for an entry is a search.
    pub(super) fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// Whether the entry at a place has that number.
    pub(super) fn is_plain(&self) -> bool {
        self.first == 0 && self.holes.is_none()
    }

    pub(super) fn number(&self, place: usize) -> u64 {
        let missing = self.holes.map_or(0, |holes| holes.get(place).cast_unsigned());
        self.first + place as u64 + missing
    }

    /// Entries with a number below `before`.
    pub(super) fn rank(&self, before: u64) -> usize {
        let Some(within) = before.checked_sub(self.first) else { return 0 };
        match self.holes {
            Some(holes) => holes.rank(i64::try_from(within).unwrap_or(i64::MAX)),
            None => to_usize(within).min(self.len),
        }
    }

    pub(super) fn other(&self, place: usize) -> UserNumber {
        get_u32(self.others, self.width, place)
    }

    /// Reads who is at the other end of the entries of a block.
    pub(super) fn read_others(&self, block: usize, others: &mut [UserNumber; BLOCK]) {
        bits::unpack(self.others, self.width, block, others);
    }

    /// The place of the entry with this user at its other end.
    pub(super) fn find(&self, other: UserNumber) -> Option<usize> {
        if !self.is_ordered {
            return self.find_within(0..self.len, other);
        }
        let (order, width) = self.order();
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low.midpoint(high);
            let place = get_u32(order, width, middle) as usize;
            match self.other(place).cmp(&other) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(place),
            }
        }
        None
    }

    /// The place of that entry, if it is one of these, looking at each of them.
    pub(super) fn find_within(&self, places: Range<usize>, other: UserNumber) -> Option<usize> {
        bits::find(self.others, self.width, places.start..places.end.min(self.len), other)
    }

    fn order(&self) -> (&'a [u8], u32) {
        let start = packed_bytes(self.len, self.width);
        (
            self.others.get(start..).unwrap_or_default(),
            width_of((self.len as u64).saturating_sub(1)),
        )
    }

    /// The times of the list of a follower.
    pub(super) fn times(&self) -> Series<'a> {
        let mut start = packed_bytes(self.len, self.width);
        if self.is_ordered {
            start += packed_bytes(self.len, self.order().1);
        }
        Series::new(self.others.get(start..).unwrap_or_default(), self.len)
    }

    /// Appends the entries that `keep` says, by place and number.
    pub(super) fn decode(
        &self,
        with_times: bool,
        entries: &mut Entries,
        mut keep: impl FnMut(u64) -> bool,
    ) {
        let (mut others, mut holes, mut times) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
        let list_times = self.times();
        for block in 0..self.len.div_ceil(BLOCK) {
            let count = (self.len - block * BLOCK).min(BLOCK);
            self.read_others(block, &mut others);
            if let Some(series) = self.holes {
                series.read_block(block, &mut holes);
            }
            if with_times {
                list_times.read_block(block, &mut times);
            }
            for within in 0..count {
                let place = (block * BLOCK + within) as u64;
                let number = self.first + place + holes[within].cast_unsigned();
                if !keep(number) {
                    continue;
                }
                entries.numbers.push(number);
                entries.others.push(others[within]);
                if with_times {
                    entries.times.push(times[within]);
                }
            }
        }
        entries.next = self.next;
    }
}

/// Reads the times of entries, a block of them at a time: those of neighbours come from the same.
#[derive(Debug)]
pub(super) struct TimeReader<'a> {
    series: Series<'a>,
    block: Option<usize>,
    times: [i64; BLOCK],
}

impl<'a> TimeReader<'a> {
    pub(super) fn new(list: &PackedList<'a>) -> Self {
        Self { series: list.times(), block: None, times: [0; BLOCK] }
    }

    pub(super) fn get(&mut self, place: usize) -> i64 {
        let block = place / BLOCK;
        if self.block != Some(block) {
            self.series.read_block(block, &mut self.times);
            self.block = Some(block);
        }
        self.times[place % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(entries: &Entries) -> Vec<u8> {
        let mut bytes = Vec::new();
        entries.encode(&mut bytes);
        bytes.resize(bytes.len() + bits::PADDING, 0xff);
        bytes
    }

    /// A list of `count` entries, each followed by so many holes as `holes` says in turn.
    fn list(count: usize, first: u64, holes: &[u64], with_times: bool) -> Entries {
        let mut entries = Entries { next: first, ..Entries::default() };
        for place in 0..count {
            entries.numbers.push(entries.next);
            entries.next += 1 + holes[place % holes.len()];
            // All different, in no order.
            let other = (place as u64 * 7_919 + 13) % 1_000_003;
            entries.others.push(bits::low_word(other));
            if with_times {
                entries.times.push((place as u64 * place as u64 % 1_009).cast_signed());
            }
        }
        entries
    }

    proptest! {
        #[test]
        fn a_list_is_read_again_and_searched(
            count in prop_oneof![0usize..70, 500usize..700],
            first in 0u64..3,
            holes in proptest::collection::vec(prop_oneof![4 => Just(0u64), 1 => 0u64..1_000], 1..40),
            with_times in any::<bool>(),
        ) {
            let entries = list(count, first, &holes, with_times);
            prop_assume!(entries.next > 0);
            let bytes = encoded(&entries);
            let packed = PackedList::read(&bytes).unwrap();
            prop_assert_eq!((packed.len(), packed.next()), (count, entries.next));
            let mut decoded = Entries::default();
            packed.decode(with_times, &mut decoded, |_| true);
            prop_assert_eq!(&decoded, &entries);
            let mut times = TimeReader::new(&packed);
            for (place, number) in entries.numbers.iter().enumerate() {
                prop_assert_eq!(packed.number(place), *number);
                prop_assert_eq!((packed.rank(*number), packed.rank(number + 1)), (place, place + 1));
                prop_assert_eq!(packed.other(place), entries.others[place]);
                prop_assert_eq!(packed.find(entries.others[place]), Some(place));
                if with_times {
                    prop_assert_eq!(times.get(place), entries.times[place]);
                    prop_assert_eq!(packed.times().get(place), entries.times[place]);
                }
            }
            prop_assert_eq!(packed.rank(u64::MAX), count);
            prop_assert_eq!((packed.find(1), packed.find(u32::MAX)), (None, None));
        }
    }

    #[test]
    fn a_list_that_lost_nothing_keeps_no_numbers_and_one_hole_costs_little() {
        let [whole, holed] = [&[0][..], &[0; 100][..]].map(|holes| {
            let mut entries = list(48, 0, holes, false);
            if holes.len() > 1 {
                entries.numbers[20..].iter_mut().for_each(|it| *it += 1);
                entries.next += 1;
            }
            encoded(&entries).len() - bits::PADDING
        });
        assert_eq!(whole, 2 + packed_bytes(48, 19));
        assert!(holed <= whole + 12, "{holed} {whole}");
    }
}
