//! Series of signed numbers in blocks of 64: the times of a list, and the holes in its numbering.
//!
//! Each block is written by itself, in whichever of two ways is shorter: as distances from the least
//! of its numbers, or as steps from one number to the next. Both are counted in the greatest of a few
//! units that divides all of them, so that times that are whole seconds take the bits of seconds.
//! The places of the blocks of a longer series stand before them.

use super::bits::{
    self, BLOCK, MOST_WIDTH, pack, packed_bytes, put_varint, take_varint, to_usize, unzigzag,
    width_of, zigzag,
};

/// Milliseconds in the units that times tend to be whole in.
const UNITS: [i64; 6] = [1, 100, 1_000, 60_000, 3_600_000, 86_400_000];
const WIDTH: u8 = 0x3f;
/// The numbers are steps.
const STEPS: u8 = 0x40;
/// A byte with the place of the unit follows.
const UNIT: u8 = 0x80;
const PLACE_BYTES: usize = 4;

/// Whether a number in the middle has to be found without reading those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Random,
    ByBlock,
}

/// Appends a series, of which no two numbers are further apart than 2^56.
pub(super) fn encode(out: &mut Vec<u8>, numbers: &[i64], access: Access) {
    let blocks = numbers.len().div_ceil(BLOCK);
    let places = out.len();
    out.resize(places + blocks.saturating_sub(1) * PLACE_BYTES, 0);
    let start = out.len();
    for (block, numbers) in numbers.chunks(BLOCK).enumerate() {
        if let Some(before) = block.checked_sub(1) {
            let offset = bits::low_word((out.len() - start) as u64);
            let place = places + before * PLACE_BYTES;
            out[place..place + PLACE_BYTES].copy_from_slice(&offset.to_le_bytes());
        }
        encode_block(out, numbers, access);
    }
}

fn encode_block(out: &mut Vec<u8>, numbers: &[i64], access: Access) {
    let first = numbers[0];
    let (least, most) = numbers.iter().fold((first, first), |(a, b), it| (a.min(*it), b.max(*it)));
    let steps = || numbers.windows(2).map(|pair| pair[1] - pair[0]);
    let (mut least_step, mut most_step) = (0, 0);
    if let Some(step) = steps().next() {
        (least_step, most_step) = steps().fold((step, step), |(a, b), it| (a.min(it), b.max(it)));
    }
    let divides = |unit: i64| steps().all(|step| step % unit == 0);
    let unit = (1..UNITS.len()).rev().find(|it| least != most && divides(UNITS[*it])).unwrap_or(0);
    let millis = UNITS[unit];
    let width = width_of(((most - least) / millis).cast_unsigned());
    let step_width = width_of(((most_step - least_step) / millis).cast_unsigned());
    debug_assert!(width.max(step_width) <= MOST_WIDTH, "times are not that far apart");
    let mut step_start = Vec::new();
    put_varint(&mut step_start, zigzag(least_step / millis));
    let as_steps = access == Access::ByBlock
        && packed_bytes(numbers.len() - 1, step_width) + step_start.len()
            < packed_bytes(numbers.len(), width);
    let width_used = if as_steps { step_width } else { width };
    let mut head = u8::try_from(width_used).unwrap_or(WIDTH);
    head |= if as_steps { STEPS } else { 0 };
    head |= if unit > 0 { UNIT } else { 0 };
    out.push(head);
    if unit > 0 {
        out.push(u8::try_from(unit).unwrap_or(0));
    }
    put_varint(out, zigzag(if as_steps { first } else { least }));
    if as_steps {
        out.append(&mut step_start);
        let over = steps().map(|it| ((it - least_step) / millis).cast_unsigned());
        pack(out, step_width, over);
    } else {
        let over = numbers.iter().map(|it| ((it - least) / millis).cast_unsigned());
        pack(out, width, over);
    }
}

/// A series that [`encode`] wrote.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Series<'a> {
    bytes: &'a [u8],
    len: usize,
}

struct Block<'a> {
    width: u32,
    unit: i64,
    base: i64,
    /// What each step is at least, if the numbers are steps.
    step: Option<i64>,
    packed: &'a [u8],
}

impl<'a> Series<'a> {
    /// The series of `len` numbers at the front of `bytes`.
    pub(super) fn new(bytes: &'a [u8], len: usize) -> Self {
        Self { bytes, len }
    }

    fn block(&self, block: usize) -> Option<Block<'a>> {
        let places = self.len.div_ceil(BLOCK).saturating_sub(1) * PLACE_BYTES;
        let offset = match block.checked_sub(1) {
            Some(before) => {
                let place = self.bytes.get(before * PLACE_BYTES..)?.first_chunk()?;
                to_usize(u64::from(u32::from_le_bytes(*place)))
            }
            None => 0,
        };
        let (head, mut rest) = self.bytes.get(places + offset..)?.split_first()?;
        let mut unit = 0;
        if head & UNIT != 0 {
            let (place, behind) = rest.split_first()?;
            (unit, rest) = (usize::from(*place), behind);
        }
        let unit = *UNITS.get(unit)?;
        let base = unzigzag(take_varint(&mut rest)?);
        let step = if head & STEPS != 0 { Some(unzigzag(take_varint(&mut rest)?)) } else { None };
        Some(Block { width: u32::from(head & WIDTH), unit, base, step, packed: rest })
    }

    /// The number at `place`; zero where there is none.
    pub(super) fn get(&self, place: usize) -> i64 {
        let Some(block) = self.block(place / BLOCK) else { return 0 };
        let within = place % BLOCK;
        let Some(step) = block.step else {
            let over = bits::get(block.packed, block.width, within).cast_signed();
            return block.base.wrapping_add(over.wrapping_mul(block.unit));
        };
        let over = bits::sum(block.packed, block.width, within);
        let units =
            (within as u64).cast_signed().wrapping_mul(step).wrapping_add(over.cast_signed());
        block.base.wrapping_add(units.wrapping_mul(block.unit))
    }

    /// Reads the numbers of one block; gives how many there are.
    pub(super) fn read_block(&self, block: usize, numbers: &mut [i64; BLOCK]) -> usize {
        let count = self.len.saturating_sub(block * BLOCK).min(BLOCK);
        let Some(block) = self.block(block) else { return 0 };
        let Some(step) = block.step else {
            for (place, number) in numbers[..count].iter_mut().enumerate() {
                let over = bits::get(block.packed, block.width, place).cast_signed();
                *number = block.base.wrapping_add(over.wrapping_mul(block.unit));
            }
            return count;
        };
        let mut last = block.base;
        for (place, number) in numbers[..count].iter_mut().enumerate() {
            *number = last;
            let over = bits::get(block.packed, block.width, place).cast_signed();
            last = last.wrapping_add(step.wrapping_add(over).wrapping_mul(block.unit));
        }
        count
    }

    /// How many numbers, which ascend with their place, are below `limit` when `place` is added to each.
    pub(super) fn rank(&self, limit: i64) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low.midpoint(high);
            let number = self.get(middle).wrapping_add((middle as u64).cast_signed());
            if number < limit {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(numbers: &[i64], access: Access) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        encode(&mut bytes, numbers, access);
        let length = bytes.len();
        bytes.resize(length + bits::PADDING, 0xff);
        (bytes, length)
    }

    proptest! {
        #[test]
        fn a_series_is_read_again_in_either_way(
            unit in prop::sample::select(&UNITS[..]),
            ascends in any::<bool>(),
            start in -1_000_000_000_000i64..2_000_000_000_000,
            mut numbers in proptest::collection::vec(0i64..100_000, 1..300),
        ) {
            if ascends {
                numbers.sort_unstable();
            }
            let numbers: Vec<_> = numbers.iter().map(|it| start + it * unit).collect();
            for access in [Access::Random, Access::ByBlock] {
                let (bytes, _) = encoded(&numbers, access);
                let series = Series::new(&bytes, numbers.len());
                let mut block = [0; BLOCK];
                let mut read = Vec::new();
                for place in 0..numbers.len().div_ceil(BLOCK) {
                    let count = series.read_block(place, &mut block);
                    read.extend_from_slice(&block[..count]);
                }
                prop_assert_eq!(&read, &numbers);
                for (place, number) in numbers.iter().enumerate() {
                    prop_assert_eq!(series.get(place), *number);
                }
            }
        }
    }

    #[test]
    fn equal_times_take_no_bits_and_whole_seconds_those_of_seconds() {
        let (_, equal) = encoded(&[1_700_000_000_000; 64], Access::ByBlock);
        assert!(equal <= 8, "{equal} bytes");
        let seconds: Vec<_> = (0..64).map(|it| 1_700_000_000_000 + it * it * 1_000).collect();
        let millis: Vec<_> = seconds.iter().map(|it| it + it / 1_000 % 7).collect();
        let [(_, seconds), (_, millis)] = [seconds, millis].map(|it| encoded(&it, Access::ByBlock));
        assert!(seconds + 64 < millis, "{seconds} {millis}");
    }
}
