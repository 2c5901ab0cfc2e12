//! Lists that are looked for in other lists: friends, common follows, followers that one knows.
//!
//! The user's own list is walked, newest first. Whether an entry is in the other list as well is a
//! question to a set of that list, if it is not so long that making one would cost more than asking for
//! each entry.

use std::ops::ControlFlow;

use tidings_core::ids::UserId;

use super::{
    digest::mix,
    index::{Index, UserNumber},
    list_view::Reached,
    pages::Reach,
    segment::Direction,
};

/// The longest list that a set is made of: some tens of microseconds, under one lock.
const MOST_SET: u64 = 8_192;
/// How many entries go into a set in the time that one look-up takes.
const ENTRIES_PER_LOOK_UP: u64 = 32;
/// What a look-up costs, in entries.
const LOOK_UP_WORK: usize = 32;

/// Which of those whom a user follows are meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Relation {
    /// Those who follow this one.
    FollowersOf(UserNumber),
    /// Those whom this one follows.
    FollowedBy(UserNumber),
}

/// Looks for entries in another list, over several locks.
#[derive(Debug, Default)]
pub(super) struct Intersection {
    /// None while it is not known whether there shall be one.
    set: Option<Others>,
}

#[derive(Debug)]
enum Others {
    Set(UserSet),
    LookUp,
}

impl Intersection {
    /// Walks over those whom `user` follows and who are meant.
    pub(super) fn walk(
        &mut self,
        index: &Index,
        user: UserNumber,
        relation: Relation,
        reach: Reach,
        found: &mut Vec<UserId>,
    ) -> Reached {
        let own = index.list(user, Direction::Following);
        let mut set_work = 0;
        let others = self.set.get_or_insert_with(|| {
            let others = Others::of(index, relation, own.len());
            if let Others::Set(set) = &others {
                set_work = set.len;
            }
            others
        });
        let mut users = Vec::new();
        let mut reached = own.walk(reach.before, reach.work, |entry| {
            if users.len() >= reach.items {
                return ControlFlow::Break(());
            }
            let (is_meant, work) = match others {
                Others::Set(set) => (set.contains(entry.other), 0),
                Others::LookUp => (relation.holds(index, entry.other), LOOK_UP_WORK),
            };
            if is_meant {
                users.push(entry.other);
            }
            ControlFlow::Continue(work)
        });
        reached.work += set_work;
        index.touch_ids(users.iter().copied());
        found.extend(users.iter().map(|it| index.id(*it)));
        reached
    }
}

impl Relation {
    fn holds(self, index: &Index, other: UserNumber) -> bool {
        match self {
            Self::FollowersOf(user) => index.is_following(other, user),
            Self::FollowedBy(user) => index.is_following(user, other),
        }
    }

    fn list(self) -> (UserNumber, Direction) {
        match self {
            Self::FollowersOf(user) => (user, Direction::Followers),
            Self::FollowedBy(user) => (user, Direction::Following),
        }
    }
}

impl Others {
    fn of(index: &Index, relation: Relation, look_ups: u64) -> Self {
        let (user, direction) = relation.list();
        let list = index.list(user, direction);
        let len = list.len();
        if len > MOST_SET || len > ENTRIES_PER_LOOK_UP * look_ups + 64 {
            return Self::LookUp;
        }
        let mut set = UserSet::for_users(len);
        list.walk(u64::MAX, usize::MAX, |entry| {
            set.insert(entry.other);
            ControlFlow::Continue(0)
        });
        Self::Set(set)
    }
}

/// Users, in a table that is at most half full.
#[derive(Debug)]
struct UserSet {
    /// The number of a user, or that of nobody.
    places: Vec<UserNumber>,
    len: usize,
}

const NOBODY: UserNumber = UserNumber::MAX;

impl UserSet {
    fn for_users(len: u64) -> Self {
        let places = super::bits::to_usize((2 * len).next_power_of_two().max(2));
        Self { places: vec![NOBODY; places], len: 0 }
    }

    /// Where the user is, or would be.
    fn place(&self, user: UserNumber) -> usize {
        let mask = self.places.len() - 1;
        let mut place = super::bits::to_usize(mix(u64::from(user))) & mask;
        while self.places[place] != user && self.places[place] != NOBODY {
            place = (place + 1) & mask;
        }
        place
    }

    fn insert(&mut self, user: UserNumber) {
        let place = self.place(user);
        // Never more than it was made for: the list is read under the same lock as its length.
        if self.places[place] == NOBODY && 2 * self.len < self.places.len() {
            self.places[place] = user;
            self.len += 1;
        }
    }

    fn contains(&self, user: UserNumber) -> bool {
        self.places[self.place(user)] == user
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::clock::Timestamp;

    use super::*;
    use crate::embedded::index::{Edge, EdgeKind};

    fn index(edges: &[(u32, u32)], users: u32) -> Index {
        let mut index = Index::default();
        (0..users).for_each(|it| index.add_user(&format!("u{it}")));
        for (source, target) in edges {
            let (source, target, at) = (*source, *target, Timestamp::from_millis(1));
            index.add(&Edge { kind: EdgeKind::Follow, source, target, at, numbers: [0; 2] });
        }
        index
    }

    fn all(index: &Index, user: UserNumber, relation: Relation, slice: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut before = u64::MAX;
        let mut intersection = Intersection::default();
        loop {
            let reach = Reach { before, items: usize::MAX, work: slice };
            let reached = intersection.walk(index, user, relation, reach, &mut found);
            before = reached.before;
            if reached.end {
                return found.iter().map(ToString::to_string).collect();
            }
        }
    }

    #[test]
    fn a_set_and_look_ups_find_the_same() {
        let few: Vec<_> = (10..20).map(|n| (0, n)).collect();
        let many = (10..20_000).filter(|n| n % 3 == 0);
        // A list that is short enough for a set, one that is too long for the few look-ups, and one
        // that is too long for any.
        for others in [30, 700, 20_000] {
            let mut edges = few.clone();
            edges.extend(many.clone().take_while(|n| *n < others).map(|n| (n, 1)));
            edges.extend(many.clone().take_while(|n| *n < others).map(|n| (2, n)));
            let index = index(&edges, 20_000);
            let len = index.list(1, Direction::Followers).len();
            assert_eq!(
                matches!(Others::of(&index, Relation::FollowersOf(1), 10), Others::Set(_)),
                len < 384
            );
            for relation in [Relation::FollowersOf(1), Relation::FollowedBy(2)] {
                for slice in [1, 7, 1_000] {
                    assert_eq!(all(&index, 0, relation, slice), ["u18", "u15", "u12"]);
                }
            }
        }
    }
}
