//! Parts of lists, read under one lock each.

use std::{hint::black_box, ops::ControlFlow};

use tidings_core::{
    follow::{Block, Follow, Mute, Neighbours},
    ids::UserId,
};

use super::{
    index::{Edge, EdgeKind, Index, UserNumber},
    list::EdgeList,
    list_view::{Entry, Reached},
    segment::Direction,
};

/// What it costs to look the time of a follow up in the follower's list, in entries.
const TIME_WORK: usize = 7;

/// How much of a list may be walked under one lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Walk edges below this number.
    pub(super) before: u64,
    /// Items to find at most.
    pub(super) items: usize,
    /// Entries to look at at most; the first edge is walked in any case.
    pub(super) work: usize,
}

/// A place in the whole graph: from this edge of the source on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: EdgeKind,
    pub(super) source: UserNumber,
    pub(super) number: u64,
}

impl Place {
    pub(super) const START: Self = Self { kind: EdgeKind::Follow, source: 0, number: 0 };
}

impl Index {
    /// The entries of a list that a reach takes in.
    fn entries(
        &self,
        user: UserNumber,
        direction: Direction,
        reach: Reach,
    ) -> (Vec<Entry>, Reached) {
        let mut entries = Vec::with_capacity(reach.items.min(64));
        let work = if direction.has_times() { 0 } else { TIME_WORK };
        let reached = self.list(user, direction).walk(reach.before, reach.work, |entry| {
            if entries.len() >= reach.items {
                return ControlFlow::Break(());
            }
            entries.push(entry);
            ControlFlow::Continue(work)
        });
        (entries, reached)
    }

    /// Walks over those who follow `user`, whose id is `id`.
    pub(super) fn walk_followers(
        &self,
        (user, id): (UserNumber, &UserId),
        reach: Reach,
        found: &mut Vec<Follow>,
    ) -> Reached {
        let (entries, reached) = self.entries(user, Direction::Followers, reach);
        // The time of a follow is in the follower's list.
        self.touch(entries.iter().map(|it| (it.other, Direction::Following)));
        let followers = entries.iter().filter_map(|it| {
            let at = self.followed_at(it.other, user);
            debug_assert!(at.is_some(), "an edge is kept at both ends");
            Some((it.other, at?))
        });
        let followers: Vec<_> = followers.collect();
        self.touch_ids(followers.iter().map(|it| it.0));
        found.extend(followers.iter().map(|(follower, at)| Follow {
            follower: self.id(*follower),
            followee: id.clone(),
            at: *at,
        }));
        reached
    }

    /// Walks over those whom `user`, whose id is `id`, follows.
    pub(super) fn walk_following(
        &self,
        (user, id): (UserNumber, &UserId),
        reach: Reach,
        found: &mut Vec<Follow>,
    ) -> Reached {
        let (entries, reached) = self.entries(user, Direction::Following, reach);
        self.touch_ids(entries.iter().map(|it| it.other));
        let mut times = self.list(user, Direction::Following).times();
        found.extend(entries.iter().map(|entry| Follow {
            follower: id.clone(),
            followee: self.id(entry.other),
            at: times.get(entry),
        }));
        reached
    }

    /// The newest neighbours of a user on one side, and how many there are.
    pub(super) fn neighbours(
        &self,
        user: UserNumber,
        direction: Direction,
        most: usize,
    ) -> Neighbours {
        let list = self.list(user, direction);
        let mut others = Vec::with_capacity(most.min(64));
        if most > 0 {
            list.walk(u64::MAX, usize::MAX, |entry| {
                if others.len() >= most {
                    return ControlFlow::Break(());
                }
                others.push(entry.other);
                ControlFlow::Continue(0)
            });
        }
        self.touch_ids(others.iter().copied());
        Neighbours { total: list.len(), users: others.iter().map(|it| self.id(*it)).collect() }
    }

    /// Has the texts of ids come from memory together.
    pub(super) fn touch_ids(&self, users: impl Iterator<Item = UserNumber>) {
        for user in users {
            black_box(self.ids().text(user).and_then(|it| it.as_bytes().first().copied()));
        }
    }

    /// Walks over those whom `user`, whose id is `id`, has blocked.
    pub(super) fn walk_blocks(
        &self,
        (user, id): (UserNumber, &UserId),
        reach: Reach,
        found: &mut Vec<Block>,
    ) -> Reached {
        self.walk_aversions(EdgeKind::Block, user, reach, |edge| {
            let (blocker, blocked) = (id.clone(), self.id(edge.target));
            found.push(Block { blocker, blocked, at: edge.at });
        })
    }

    /// Walks over those whom `user`, whose id is `id`, has muted.
    pub(super) fn walk_mutes(
        &self,
        (user, id): (UserNumber, &UserId),
        reach: Reach,
        found: &mut Vec<Mute>,
    ) -> Reached {
        self.walk_aversions(EdgeKind::Mute, user, reach, |edge| {
            let (muter, muted) = (id.clone(), self.id(edge.target));
            found.push(Mute { muter, muted, at: edge.at });
        })
    }

    fn walk_aversions(
        &self,
        kind: EdgeKind,
        user: UserNumber,
        reach: Reach,
        mut take: impl FnMut(Edge),
    ) -> Reached {
        let Some(list) = self.aversions(kind).map(|it| it.of(user)) else {
            return Reached::NOTHING;
        };
        let mut before = reach.before;
        let mut edges = list.before(before).peekable();
        let most = reach.items.min(reach.work);
        for (number, entry) in edges.by_ref().take(most) {
            before = number;
            let numbers = [number, 0];
            take(Edge { kind, source: user, target: entry.other(), at: entry.at(), numbers });
        }
        Reached { before, end: edges.peek().is_none(), work: most }
    }

    /// Up to `most` edges of the whole graph from `place` on, and the place to go on from; looks at so
    /// many users at most, so that there may be none with more to come.
    pub(super) fn edges_from(
        &self,
        place: Place,
        most: usize,
        most_users: usize,
    ) -> (Vec<Edge>, Option<Place>) {
        let mut edges = Vec::new();
        let mut place = place;
        for _ in 0..most_users {
            if place.source as usize >= self.users() {
                let kind = match place.kind {
                    EdgeKind::Follow => EdgeKind::Block,
                    EdgeKind::Block => EdgeKind::Mute,
                    EdgeKind::Mute => return (edges, None),
                };
                place = Place { kind, ..Place::START };
                continue;
            }
            let next = self.edges_of_source(place, most - edges.len(), &mut edges);
            if let Some(number) = next {
                return (edges, Some(Place { number, ..place }));
            }
            place = Place { source: place.source + 1, number: 0, ..place };
        }
        (edges, Some(place))
    }

    /// Appends up to `most` edges of one source, oldest first; gives the number to go on from.
    fn edges_of_source(&self, place: Place, most: usize, edges: &mut Vec<Edge>) -> Option<u64> {
        let Place { kind, source, number } = place;
        if let Some(aversions) = self.aversions(kind) {
            return aversions_from(aversions.of(source), place, most, edges);
        }
        let list = self.list(source, Direction::Following);
        let (entries, next) = list.oldest_first(number, most);
        let mut times = list.times();
        edges.extend(entries.iter().map(|entry| {
            let numbers = [entry.number, 0];
            Edge { kind, source, target: entry.other, at: times.get(entry), numbers }
        }));
        next
    }
}

fn aversions_from(
    list: &EdgeList,
    Place { kind, source, number }: Place,
    most: usize,
    edges: &mut Vec<Edge>,
) -> Option<u64> {
    let newest_first = list.before(u64::MAX).take_while(|(it, _)| *it >= number);
    let mut own: Vec<_> = newest_first.collect();
    own.reverse();
    let next = own.get(most).map(|(number, _)| *number);
    edges.extend(own.iter().take(most).map(|(number, entry)| {
        let numbers = [*number, 0];
        Edge { kind, source, target: entry.other(), at: entry.at(), numbers }
    }));
    next
}
