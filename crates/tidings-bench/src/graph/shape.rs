//! The synthetic graph: who follows whom, in which order, and since when.

use serde::{Deserialize, Serialize};
use tidings_core::ids::UserId;

use super::people::People;

/// How strongly follows gather on a few. A share of `1/n` of the users has about `n^-(1/POPULARITY)`
/// of all followers: the first of a million has one in a hundred.
const POPULARITY: f64 = 3.0;
/// The same of those who follow: most follow some dozens, the busiest thousands.
const ACTIVITY: f64 = 1.6;
/// Odd and prime: ranks are scattered over the numbers.
const SCATTER: u64 = 2_654_435_761;

/// A graph with a power law at both ends, made anew from its numbers wherever it is needed.
///
/// Follows come in the order of their times and from all over the graph. The same pair may come
/// twice, as it does in life; a store keeps the first.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) users: u64,
    /// Follows that are asked for, repeated ones included.
    pub(crate) follows: u64,
}

impl People for Shape {
    fn users(&self) -> u64 {
        self.users
    }

    fn follows(&self) -> u64 {
        self.follows
    }

    /// `None` for a user who would follow themself.
    fn ends(&self, n: u64) -> Option<(u64, u64)> {
        let follower = self.user_of_rank(self.rank(2 * n, ACTIVITY));
        let followee = self.popular(self.rank(2 * n + 1, POPULARITY));
        (follower != followee).then_some((follower, followee))
    }

    fn popular(&self, rank: u64) -> u64 {
        self.user_of_rank((rank + self.users / 3) % self.users)
    }

    fn busy(&self, rank: u64) -> u64 {
        self.user_of_rank(rank)
    }

    fn stride(&self) -> usize {
        500
    }
}

impl Shape {
    fn user_of_rank(&self, rank: u64) -> u64 {
        rank.wrapping_mul(SCATTER) % self.users
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is below the number of users, which is far below 2^52"
    )]
    fn rank(&self, n: u64, exponent: f64) -> u64 {
        let share = (random(n) >> 11) as f64 / (1u64 << 53) as f64;
        ((self.users as f64 * share.powf(exponent)) as u64).min(self.users - 1)
    }
}

/// The id of a user.
#[expect(clippy::expect_used, reason = "a letter and a number are an id")]
pub(crate) fn user(number: u64) -> UserId {
    UserId::new(&format!("u{number}")).expect("an id")
}

/// splitmix64: numbers that look random, the same for the same `n`.
pub(crate) fn random(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_have_most_followers_and_nobody_follows_themself() {
        let shape = Shape { users: 4_096, follows: 100_000 };
        let edges: Vec<_> = (0..shape.follows).filter_map(|n| shape.ends(n)).collect();
        assert!(edges.iter().all(|(a, b)| a != b && *a < 4_096 && *b < 4_096));
        let of = |user: u64| edges.iter().filter(|(_, it)| *it == user).count();
        let (first, middle) = (of(shape.popular(0)), of(shape.popular(2_000)));
        assert!(first > 3_000 && middle < 100, "{first} {middle}");
        let busy = edges.iter().filter(|(it, _)| *it == shape.busy(0)).count();
        assert!(busy > 100, "{busy}");
    }
}
