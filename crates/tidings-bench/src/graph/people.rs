//! A graph as questions see it: who is in it, and who stands out.

use tidings_core::{clock::Timestamp, follow::Follow};

use super::shape::user;

/// The first follow: the beginning of 2023.
const FIRST_SECS: u64 = 1_672_531_200;
/// Follows are made over three years, and told of to the second.
const SPAN_SECS: u64 = 3 * 365 * 86_400;

/// Users, numbered from 0, and their follows in the order in which they were made.
pub(crate) trait People {
    fn users(&self) -> u64;

    /// Follows that are asked for, repeated ones included.
    fn follows(&self) -> u64;

    /// Who follows whom by follow number `n`; `None` if it is none.
    fn ends(&self, n: u64) -> Option<(u64, u64)>;

    /// The user with the `rank`-th most followers, from 0.
    fn popular(&self, rank: u64) -> u64;

    /// The user who is the `rank`-th busiest follower, from 0.
    fn busy(&self, rank: u64) -> u64;

    /// How far it is from one place in the middle of a long list to the next.
    fn stride(&self) -> usize;

    /// Follow number `n` with its time.
    fn follow(&self, n: u64) -> Option<Follow> {
        let (follower, followee) = self.ends(n)?;
        let secs = FIRST_SECS + n * SPAN_SECS / self.follows().max(1);
        let millis = i64::try_from(secs * 1_000).unwrap_or(i64::MAX);
        let at = Timestamp::from_millis(millis);
        Some(Follow { follower: user(follower), followee: user(followee), at })
    }
}
