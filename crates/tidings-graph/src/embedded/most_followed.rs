//! Those who have the most followers.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    index::{Index, UserNumber},
    segment::Direction,
};

/// Lists that are brought from memory together.
const TOUCHED_LISTS: usize = 32;

/// The users with the most followers so far.
#[derive(Debug)]
pub(super) struct MostFollowed {
    most: usize,
    /// The one with the fewest is on top; of those with as many, the one that came last.
    found: BinaryHeap<Reverse<(u64, Reverse<UserNumber>)>>,
}

impl MostFollowed {
    pub(super) fn new(most: usize) -> Self {
        Self { most, found: BinaryHeap::with_capacity(most + 1) }
    }

    fn take(&mut self, user: UserNumber, followers: u64) {
        if followers == 0 {
            return;
        }
        self.found.push(Reverse((followers, Reverse(user))));
        if self.found.len() > self.most {
            self.found.pop();
        }
    }

    /// The users, the most followed first.
    pub(super) fn into_sorted(self) -> Vec<(u64, UserNumber)> {
        let found = self.found.into_sorted_vec().into_iter();
        found.map(|Reverse((followers, Reverse(user)))| (followers, user)).collect()
    }
}

impl Index {
    /// Looks at so many users from `from` on; where to go on, if there are more.
    pub(super) fn find_most_followed(
        &self,
        from: UserNumber,
        users: usize,
        found: &mut MostFollowed,
    ) -> Option<UserNumber> {
        let end = (from as usize + users).min(self.users());
        let users: Vec<_> = (from..UserNumber::try_from(end).unwrap_or(UserNumber::MAX)).collect();
        for users in users.chunks(TOUCHED_LISTS) {
            self.touch_heads(users.iter().map(|it| (*it, Direction::Followers)));
            for user in users {
                found.take(*user, self.list(*user, Direction::Followers).len());
            }
        }
        (end < self.users()).then_some(UserNumber::try_from(end).unwrap_or(UserNumber::MAX))
    }
}
