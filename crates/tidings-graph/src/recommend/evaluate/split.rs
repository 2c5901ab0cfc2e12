//! Which follows are hidden, and for whom.

use super::follows::{Direction, Follows};
use crate::hash::mix;

/// Follows a user has at least, for some of them to be hidden.
const LEAST_DEGREE: u32 = 5;
/// One in this many follows of a user is hidden.
const HIDDEN_ONE_IN: u32 = 5;
/// A fifth of all hashes: `0.2 * 2^64` as the reference has it, in double precision.
const HIDDEN_BELOW: u64 = 3_689_348_814_741_910_528;
/// What test users are sampled by.
const SAMPLE_SEED: u64 = 7;

/// Which follows are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldOut {
    /// Any, by a hash.
    Random,
    /// The newest.
    Newest,
}

/// Hashes a pair under a seed: part of the protocol, the same in every implementation.
pub(super) fn pair_hash(seed: u64, a: u64, b: u64) -> u64 {
    mix(mix(seed ^ a) ^ b)
}

/// All follows, divided; of an undirected graph each in both directions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) train: Vec<(u32, u32)>,
    pub(super) hidden: Vec<(u32, u32)>,
}

impl Split {
    /// Hides a fifth of the follows of all who have at least five.
    ///
    /// Directed: the fifth of each user, rounded down. Undirected: a fifth of all pairs, where both have
    /// at least five; a pair is hidden from both. [`HoldOut::Newest`] takes those of a graph without
    /// times for equally old, so that the hash decides.
    pub(super) fn new(follows: &Follows, seed: u64, hold_out: HoldOut) -> Self {
        let ranks = Ranks {
            edges: &follows.edges,
            times: follows.times.as_deref().filter(|_| hold_out == HoldOut::Newest),
            seed,
        };
        let is_hidden = match (follows.direction, ranks.times) {
            (Direction::Directed, _) => hide_of_each(follows, &ranks),
            (Direction::Undirected, None) => {
                hide_pairs(follows, |place| ranks.hash(place) < HIDDEN_BELOW)
            }
            (Direction::Undirected, Some(_)) => {
                let newest = newest_pairs(&ranks);
                hide_pairs(follows, |place| newest[place])
            }
        };
        let mut split = Self { train: Vec::new(), hidden: Vec::new() };
        for (edge, is_hidden) in follows.edges.iter().zip(is_hidden) {
            let side = if is_hidden { &mut split.hidden } else { &mut split.train };
            side.push(*edge);
        }
        if follows.direction == Direction::Undirected {
            for edges in [&mut split.train, &mut split.hidden] {
                edges.extend_from_within(..);
                let back = edges.len() / 2;
                for edge in &mut edges[back..] {
                    *edge = (edge.1, edge.0);
                }
            }
        }
        split
    }
}

/// In which order edges are hidden.
struct Ranks<'a> {
    edges: &'a [(u32, u32)],
    times: Option<&'a [i64]>,
    seed: u64,
}

impl Ranks<'_> {
    fn hash(&self, place: usize) -> u64 {
        let (a, b) = self.edges[place];
        pair_hash(self.seed, a.into(), b.into())
    }

    /// The lowest is hidden first.
    fn rank(&self, place: usize) -> (std::cmp::Reverse<i64>, u64) {
        let time = self.times.map_or(0, |times| times[place]);
        (std::cmp::Reverse(time), self.hash(place))
    }
}

fn hide_of_each(follows: &Follows, ranks: &Ranks<'_>) -> Vec<bool> {
    let mut places: Vec<usize> = (0..follows.edges.len()).collect();
    places.sort_by_cached_key(|place| (follows.edges[*place].0, ranks.rank(*place)));
    let mut is_hidden = vec![false; follows.edges.len()];
    for of_user in places.chunk_by(|a, b| follows.edges[*a].0 == follows.edges[*b].0) {
        if of_user.len() >= LEAST_DEGREE as usize {
            for place in &of_user[..of_user.len() / HIDDEN_ONE_IN as usize] {
                is_hidden[*place] = true;
            }
        }
    }
    is_hidden
}

fn hide_pairs(follows: &Follows, is_drawn: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut degrees = vec![0_u32; follows.users.len()];
    for (user, _) in follows.directed() {
        degrees[user as usize] += 1;
    }
    let has_enough = |user: u32| degrees[user as usize] >= LEAST_DEGREE;
    let edges = follows.edges.iter().enumerate();
    edges.map(|(place, (a, b))| is_drawn(place) && has_enough(*a) && has_enough(*b)).collect()
}

fn newest_pairs(ranks: &Ranks<'_>) -> Vec<bool> {
    let mut places: Vec<usize> = (0..ranks.edges.len()).collect();
    places.sort_by_cached_key(|place| ranks.rank(*place));
    let mut is_newest = vec![false; places.len()];
    for place in &places[..places.len() / HIDDEN_ONE_IN as usize] {
        is_newest[*place] = true;
    }
    is_newest
}

/// Users with hidden follows, a sample of at most `count`: the first ones of all by a hash.
pub(super) fn sample_users(hidden: &[(u32, u32)], count: usize) -> Vec<u32> {
    let mut users: Vec<u32> = hidden.iter().map(|(user, _)| *user).collect();
    users.sort_unstable();
    users.dedup();
    users.sort_by_cached_key(|user| pair_hash(SAMPLE_SEED, (*user).into(), (*user).into()));
    users.truncate(count);
    users
}

#[cfg(test)]
mod tests {
    use tidings_core::ids::UserId;

    use super::{super::follows::FollowsBuilder, *};

    fn graph(
        direction: Direction,
        edges: impl Iterator<Item = (u32, u32, Option<i64>)>,
    ) -> Follows {
        let mut builder = FollowsBuilder::new(direction);
        for (a, b, time) in edges {
            let [a, b] = [a, b].map(|id| UserId::new(&id.to_string()).unwrap());
            builder.add(a, b, time).unwrap();
        }
        builder.finish()
    }

    /// One with eleven follows, one with five, one with four.
    fn three_followers(time: impl Fn(u32) -> Option<i64>) -> Follows {
        let lists: [(u32, &[u32]); 3] =
            [(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), (1, &[0, 2, 3, 4, 5]), (2, &[0, 1, 3, 4])];
        let follows = lists.into_iter().flat_map(|(a, list)| list.iter().map(move |b| (a, *b)));
        graph(Direction::Directed, follows.map(|(a, b)| (a, b, time(b))))
    }

    #[test]
    fn the_hash_is_that_of_the_reference() {
        assert_eq!(pair_hash(42, 0, 1), 17_532_488_217_563_185_893);
        assert_eq!(pair_hash(42, 70_000, 5), 16_575_571_523_482_761_291);
    }

    #[test]
    fn a_fifth_of_each_users_follows_is_hidden_if_they_have_five() {
        let split = Split::new(&three_followers(|_| None), 42, HoldOut::Random);
        assert_eq!(split.hidden, [(0, 4), (0, 7), (1, 4)]);
        assert_eq!(split.train.len(), 17);
    }

    #[test]
    fn a_pair_is_hidden_from_both_if_both_have_five() {
        let among_seven = (0..7).flat_map(|a| (a + 1..7).map(move |b| (a, b, None)));
        let edges = among_seven.chain([(0, 7, None), (1, 8, None)]);
        let split = Split::new(&graph(Direction::Undirected, edges), 42, HoldOut::Random);
        let mut hidden = split.hidden;
        hidden.sort_unstable();
        let expected = [(1, 3), (1, 4), (1, 6), (2, 6), (3, 1), (4, 1), (6, 1), (6, 2)];
        assert_eq!(hidden, expected);
        assert_eq!(split.train.len(), 38);
    }

    #[test]
    fn the_newest_follows_are_hidden_where_time_decides() {
        let split = Split::new(&three_followers(|b| Some(b.into())), 42, HoldOut::Newest);
        assert_eq!(split.hidden, [(0, 10), (0, 11), (1, 5)]);
        let pairs = (0..6).flat_map(|a| (a + 1..6).map(move |b| (a, b, Some(i64::from(a * b)))));
        let split = Split::new(&graph(Direction::Undirected, pairs), 42, HoldOut::Newest);
        assert_eq!(split.hidden, [(3, 4), (3, 5), (4, 5), (4, 3), (5, 3), (5, 4)]);
    }

    #[test]
    fn the_sample_is_the_beginning_of_one_order() {
        let hidden: Vec<(u32, u32)> = (0..100).map(|user| (user % 50, user)).collect();
        let all = sample_users(&hidden, 1_000);
        assert_eq!(all.len(), 50);
        assert_eq!(sample_users(&hidden, 10), all[..10]);
    }
}
