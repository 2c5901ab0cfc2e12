//! Numbers of a few bits each, packed without gaps, and numbers of a few bytes.
//!
//! A reader may look past the end of what it reads: whoever owns a buffer keeps [`PADDING`] bytes
//! behind the last packed number.

use std::ops::Range;

/// Numbers that are unpacked at once: of any width, so many begin and end at a whole byte.
pub(super) const BLOCK: usize = 64;
/// Bytes behind the end that a reader may look at.
pub(super) const PADDING: usize = 264;
/// The widest number that [`get`] reads: with a shift of up to 7 bits it fits a word.
pub(super) const MOST_WIDTH: u32 = 57;

/// Bits that a number takes; none for zero.
pub(super) fn width_of(largest: u64) -> u32 {
    u64::BITS - largest.leading_zeros()
}

/// Bytes that so many numbers take.
pub(super) fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

fn mask(width: u32) -> u64 {
    if width == 0 { 0 } else { u64::MAX >> (u64::BITS - width) }
}

/// Appends `values`, each of at most `width` bits.
pub(super) fn pack(out: &mut Vec<u8>, width: u32, values: impl Iterator<Item = u64>) {
    debug_assert!(width <= MOST_WIDTH, "a number has to be readable");
    if width == 0 {
        return;
    }
    let mut pending = 0u128;
    let mut bits = 0;
    for value in values {
        debug_assert!(value <= mask(width), "a number has to fit its width");
        pending |= u128::from(value) << bits;
        bits += width;
        while bits >= 8 {
            out.push(low_byte(pending));
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(low_byte(pending));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest byte is meant")]
fn low_byte(word: u128) -> u8 {
    word as u8
}

/// The number at `place`; zero where the bytes have ended.
pub(super) fn get(bytes: &[u8], width: u32, place: usize) -> u64 {
    let bit = place * width as usize;
    let word =
        bytes.get(bit / 8..).and_then(<[u8]>::first_chunk).map_or(0, |it| u64::from_le_bytes(*it));
    (word >> (bit % 8)) & mask(width)
}

/// The number at `place`, of at most 32 bits.
pub(super) fn get_u32(bytes: &[u8], width: u32, place: usize) -> u32 {
    low_word(get(bytes, width, place))
}

/// Unpacks the numbers of one block: those from `block` times [`BLOCK`] on. What lies behind the last
/// number of a sequence is unpacked as well and means nothing.
pub(super) fn unpack(bytes: &[u8], width: u32, block: usize, numbers: &mut [u32; BLOCK]) {
    let start = block * 8 * width as usize;
    let Some(bytes) = bytes.get(start..) else { return };
    let unpack = UNPACK[width.min(32) as usize];
    unpack(bytes, numbers);
}

type Unpack = fn(&[u8], &mut [u32; BLOCK]);

/// One function for each width, in which all shifts are constants.
static UNPACK: [Unpack; 33] = [
    unpack_of::<0>,
    unpack_of::<1>,
    unpack_of::<2>,
    unpack_of::<3>,
    unpack_of::<4>,
    unpack_of::<5>,
    unpack_of::<6>,
    unpack_of::<7>,
    unpack_of::<8>,
    unpack_of::<9>,
    unpack_of::<10>,
    unpack_of::<11>,
    unpack_of::<12>,
    unpack_of::<13>,
    unpack_of::<14>,
    unpack_of::<15>,
    unpack_of::<16>,
    unpack_of::<17>,
    unpack_of::<18>,
    unpack_of::<19>,
    unpack_of::<20>,
    unpack_of::<21>,
    unpack_of::<22>,
    unpack_of::<23>,
    unpack_of::<24>,
    unpack_of::<25>,
    unpack_of::<26>,
    unpack_of::<27>,
    unpack_of::<28>,
    unpack_of::<29>,
    unpack_of::<30>,
    unpack_of::<31>,
    unpack_of::<32>,
];

fn unpack_of<const WIDTH: usize>(bytes: &[u8], numbers: &mut [u32; BLOCK]) {
    let mask = low_word((1u64 << WIDTH) - 1);
    for (group, numbers) in numbers.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        // Eight numbers begin and end at a whole byte and span at most 32; a word is read for each.
        let window: &[u8; 40] =
            bytes.get(group * WIDTH..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; 40]);
        for (place, number) in numbers.iter_mut().enumerate() {
            let bit = place * WIDTH;
            let mut word = [0; 8];
            word.copy_from_slice(&window[bit / 8..bit / 8 + 8]);
            *number = low_word(u64::from_le_bytes(word) >> (bit % 8)) & mask;
        }
    }
}

/// The sum of the first `count` numbers, which are fewer than a block.
pub(super) fn sum(bytes: &[u8], width: u32, count: usize) -> u64 {
    if width > u32::BITS {
        return (0..count).map(|place| get(bytes, width, place)).sum();
    }
    let mut numbers = [0; BLOCK];
    unpack(bytes, width, 0, &mut numbers);
    numbers[..count.min(BLOCK)].iter().map(|number| u64::from(*number)).sum()
}

/// A place of `wanted` among the numbers at `places`, of at most 32 bits, looking at each.
pub(super) fn find(bytes: &[u8], width: u32, places: Range<usize>, wanted: u32) -> Option<usize> {
    if width < u32::BITS && wanted >> width != 0 {
        return None;
    }
    let mut numbers = [0; BLOCK];
    for block in places.start / BLOCK..places.end.div_ceil(BLOCK) {
        unpack(bytes, width, block, &mut numbers);
        // First whether, then where: the compiler turns the first into a few wide comparisons.
        if numbers.iter().fold(false, |found, number| found | (*number == wanted)) {
            let first = block * BLOCK;
            let mut found = places.start.max(first)..places.end.min(first + BLOCK);
            let place = found.find(|place| numbers[place - first] == wanted);
            if place.is_some() {
                return place;
            }
        }
    }
    None
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits are meant")]
pub(super) fn low_word(word: u64) -> u32 {
    word as u32
}

/// A count or place that fits memory, from one that was written.
pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Appends a number in 7 bits per byte, the lowest first; all but the last byte have their top bit set.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_byte(u128::from(number)) | 0x80);
        number >>= 7;
    }
    out.push(low_byte(u128::from(number)));
}

/// Takes a number that [`put_varint`] wrote from the front of `bytes`; `None` if there is none.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        let shift = 7 * u32::try_from(place).ok()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            *bytes = &bytes[place + 1..];
            return Some(number);
        }
    }
    None
}

/// Takes a 32-bit number.
pub(super) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(bytes)?).ok()
}

/// Takes so many bytes.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// A signed number as an unsigned one, small if it is near zero.
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// What [`zigzag`] was given.
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_found_where_it_was(
            width in 0u32..=32,
            numbers in proptest::collection::vec(any::<u32>(), 0..300),
        ) {
            let numbers: Vec<_> = numbers.iter().map(|it| u64::from(*it) & mask(width)).collect();
            let mut bytes = Vec::new();
            pack(&mut bytes, width, numbers.iter().copied());
            prop_assert_eq!(bytes.len(), packed_bytes(numbers.len(), width));
            bytes.resize(bytes.len() + PADDING, 0xff);
            let mut block = [0; BLOCK];
            for (place, number) in numbers.iter().enumerate() {
                prop_assert_eq!(get(&bytes, width, place), *number);
                if place % BLOCK == 0 {
                    unpack(&bytes, width, place / BLOCK, &mut block);
                }
                prop_assert_eq!(u64::from(block[place % BLOCK]), *number);
                if place < BLOCK {
                    prop_assert_eq!(sum(&bytes, width, place), numbers[..place].iter().sum::<u64>());
                }
                let first = numbers.iter().position(|it| it == number);
                prop_assert_eq!(find(&bytes, width, 0..numbers.len(), low_word(*number)), first);
            }
            let absent = (0..).find(|it| !numbers.contains(&u64::from(*it))).unwrap();
            prop_assert_eq!(find(&bytes, width, 0..numbers.len(), absent), None);
            for (place, number) in numbers.iter().enumerate() {
                let number = low_word(*number);
                let found = find(&bytes, width, place..numbers.len(), number);
                prop_assert_eq!(found, Some(place));
                let found = find(&bytes, width, 0..place, number);
                prop_assert!(found.is_none_or(|it| it < place));
            }
        }

        #[test]
        fn wide_numbers_are_read_one_by_one(
            width in 33u32..=MOST_WIDTH,
            numbers in proptest::collection::vec(any::<u64>(), 1..100),
        ) {
            let numbers: Vec<_> = numbers.iter().map(|it| it & mask(width)).collect();
            let mut bytes = Vec::new();
            pack(&mut bytes, width, numbers.iter().copied());
            bytes.resize(bytes.len() + PADDING, 0xff);
            for (place, number) in numbers.iter().enumerate() {
                prop_assert_eq!(get(&bytes, width, place), *number);
            }
        }

        #[test]
        fn a_varint_is_read_again(number in any::<u64>(), signed in any::<i64>(), short in 0u32..64) {
            let number = number >> short;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            put_varint(&mut bytes, zigzag(signed));
            let mut rest = &bytes[..];
            prop_assert_eq!(take_varint(&mut rest), Some(number));
            prop_assert_eq!(take_varint(&mut rest).map(unzigzag), Some(signed));
            prop_assert_eq!(take_varint(&mut rest), None);
        }
    }
}
