//! Looking for an entry of a long list of followers.
//!
//! Such a list is in the order in which the follows arrived, and has nothing by which it could be
//! searched: an order of places would take more than two bytes per follow. But arrival leaves traces.
//! Follows mostly arrive in the order of their times, which are in the lists of the followers, and
//! those of an import often in the order in which their followers were numbered. Each leads a search to
//! about where the entry should be. What is found is the entry itself; a trace that misleads costs a
//! look at a few thousand entries, and after both the list is looked through.

use std::ops::Range;

use tidings_core::clock::Timestamp;

use super::{
    index::{Index, UserNumber},
    packed::PackedList,
    segment::Direction,
};

/// Entries on either side of the place that a search came to that are looked through: some microseconds.
const NEAR: usize = 4_096;
/// Entries in a row that are asked for their time when those before them are gone.
const PROBES: usize = 16;

/// A place that was looked for, and how many entries were looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sought {
    pub(super) place: Option<usize>,
    pub(super) looked: usize,
}

impl Index {
    /// Looks for the entry of `source`, who followed at `at`, in the packed list of the followers of
    /// `target`.
    pub(super) fn seek_follower(
        &self,
        list: PackedList<'_>,
        [source, target]: [UserNumber; 2],
        at: Timestamp,
    ) -> Sought {
        let len = list.len();
        let mut looked = 0;
        let mut look = |places: Range<usize>| {
            looked += places.len();
            list.find_within(places, source)
        };
        let around = |place: usize| place.saturating_sub(NEAR)..len.min(place + NEAR);
        let mut place = None;
        if len > 2 * NEAR {
            let by_number = partition(len, |places| Some(list.other(places.start) < source));
            place = look(around(by_number)).or_else(|| {
                let is_before = |places| self.is_before(list, target, places, at);
                look(around(partition(len, is_before)))
            });
        }
        let place = place.or_else(|| look(0..len));
        Sought { place, looked }
    }

    /// Whether the first of some followers who still follow began to before `at`.
    fn is_before(
        &self,
        list: PackedList<'_>,
        target: UserNumber,
        places: Range<usize>,
        at: Timestamp,
    ) -> Option<bool> {
        let stands = |place: &usize| self.stands(list, target, Direction::Followers, *place);
        let place = places.take(PROBES).find(stands)?;
        Some(self.followed_at(list.other(place), target)? < at)
    }
}

/// The first place of which `is_before`, asked for the places from there up to where it is known, does
/// not say so, if it does of all before; where it does not know, a place near by.
fn partition(len: usize, is_before: impl Fn(Range<usize>) -> Option<bool>) -> usize {
    let (mut low, mut high) = (0, len);
    while high - low > NEAR / 2 {
        let middle = low.midpoint(high);
        match is_before(middle..high) {
            Some(true) => low = middle + 1,
            Some(false) => high = middle,
            None => break,
        }
    }
    low.midpoint(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{
        index::{Edge, EdgeKind},
        merge::settle,
    };

    const FANS: u32 = 30_000;
    const STAR: UserNumber = 0;

    /// A celebrity, whose fans come in the order of the first, at the times that the second gives.
    fn index_of(fans: impl Fn(u32) -> u32, at: impl Fn(u32) -> i64) -> Index {
        let mut index = Index::default();
        (0..=FANS).for_each(|user| index.add_user(&user.to_string()));
        for n in 0..FANS {
            let at = Timestamp::from_millis(at(n));
            let (kind, source, target) = (EdgeKind::Follow, 1 + fans(n), STAR);
            index.add(&Edge { kind, source, target, at, numbers: [0; 2] });
        }
        settle(&mut index);
        index
    }

    /// Looks for some fans; gives how many entries were looked through for one, at most.
    fn most_looked(index: &Index) -> usize {
        let list = index.packed(STAR, Direction::Followers);
        let looked = (0..list.len()).step_by(1_997).map(|place| {
            let fan = list.other(place);
            let at = index.followed_at(fan, STAR).unwrap();
            let sought = index.seek_follower(list, [fan, STAR], at);
            assert_eq!(sought.place, Some(place));
            sought.looked
        });
        looked.max().unwrap()
    }

    /// In no order, each once.
    fn mixed(n: u32) -> u32 {
        let n = u64::from(n) * 7_919 % u64::from(FANS);
        u32::try_from(n).unwrap()
    }

    #[test]
    fn a_follower_of_a_celebrity_is_found_by_the_time_or_the_number() {
        let by_time = index_of(mixed, |n| i64::from(n / 50));
        assert!(most_looked(&by_time) <= 4 * NEAR);
        let by_number = index_of(|n| n, |n| i64::from(mixed(n)));
        assert!(most_looked(&by_number) <= 2 * NEAR);
    }

    #[test]
    fn a_follower_who_is_in_no_order_is_found_all_the_same() {
        let index = index_of(mixed, |n| i64::from(mixed(n) * 31 % 1_000));
        assert!(most_looked(&index) <= 4 * NEAR + FANS as usize);
        let list = index.packed(STAR, Direction::Followers);
        let nobody = index.seek_follower(list, [STAR, STAR], Timestamp::from_millis(5));
        assert_eq!(nobody.place, None);
    }

    #[test]
    fn a_follower_is_found_among_those_who_are_gone_or_came_back() {
        let mut index = index_of(mixed, i64::from);
        let list = index.packed(STAR, Direction::Followers);
        let fans: Vec<_> = (0..list.len()).map(|place| list.other(place)).collect();
        let is_gone = |n: usize| n % 4_000 > 3_900;
        for (n, fan) in fans.iter().enumerate().filter(|(n, _)| is_gone(*n)) {
            let edge = index.find(EdgeKind::Follow, *fan, STAR).unwrap();
            assert_eq!(edge.numbers, [0, n as u64]);
            index.remove(&edge);
            if n % 3 == 0 {
                index.add(&Edge { numbers: [0; 2], at: Timestamp::from_millis(0), ..edge });
            }
        }
        for (n, fan) in fans.iter().enumerate().skip(3_850).step_by(7).take(300) {
            let found = index.find(EdgeKind::Follow, *fan, STAR);
            assert_eq!(found.is_some(), !is_gone(n) || n % 3 == 0);
            if !is_gone(n) {
                assert_eq!(found.unwrap().numbers[1], n as u64);
            }
        }
    }
}
