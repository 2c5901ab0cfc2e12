//! Users whom a test user does not follow, to tell the hidden ones from.

use super::{follows::Follows, split::pair_hash};

/// Negatives of each kind for one user, at most.
const NEGATIVES: usize = 100;
/// Draws for them: some are followed.
const DRAWS: u64 = 2 * NEGATIVES as u64;
const UNIFORM_SEED: u64 = 101;
const POPULAR_SEED: u64 = 102;

/// Draws negatives.
#[derive(Debug)]
pub(super) struct Drawing {
    users: usize,
    /// Who is followed, once for each follow, in the order of the file.
    followees: Vec<u32>,
}

/// Negatives of one user; somebody may be among them more than once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Negatives {
    /// Everybody is as likely.
    pub(super) uniform: Vec<u32>,
    /// Who has more followers is more likely in proportion: it takes more than popularity to tell them
    /// from those whom somebody follows.
    pub(super) popular: Vec<u32>,
}

impl Drawing {
    pub(super) fn new(follows: &Follows) -> Self {
        let followees = follows.directed().map(|(_, followee)| followee).collect();
        Self { users: follows.users.len(), followees }
    }

    /// Draws the negatives of a user, who follows those of `is_followed` in the whole graph.
    pub(super) fn negatives(&self, user: u32, is_followed: impl Fn(u32) -> bool) -> Negatives {
        let draw = |seed, of: &dyn Fn(u64) -> u32| {
            let drawn = (0..DRAWS).map(|turn| of(pair_hash(seed, user.into(), turn)));
            drawn.filter(|other| *other != user && !is_followed(*other)).take(NEGATIVES).collect()
        };
        let popular = |hash| self.followees[remainder(hash, self.followees.len())];
        #[expect(clippy::cast_possible_truncation, reason = "users have numbers of 32 bits")]
        let uniform = |hash| remainder(hash, self.users) as u32;
        Negatives { uniform: draw(UNIFORM_SEED, &uniform), popular: draw(POPULAR_SEED, &popular) }
    }
}

/// Where a hash falls among `count` places, of which there is one at least.
#[expect(clippy::cast_possible_truncation, reason = "a remainder is less than the count")]
fn remainder(hash: u64, count: usize) -> usize {
    (hash % count as u64) as usize
}
