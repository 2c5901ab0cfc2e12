//! The graph in memory.

use std::collections::HashMap;

use tidings_core::{
    clock::Timestamp,
    follow::{Block, Follow, FollowCounts, GraphStats, Mute},
    ids::UserId,
};

pub(super) use tidings_core::follow::EdgeKind;

use super::{
    aversions::Aversions,
    list::{EdgeList, Entry, InEntry, OutEntry},
};

/// The index's and the store's number for a user: 0, 1, 2 … in the order of arrival.
pub(super) type UserNumber = u32;

/// An edge. Numbers only grow and are never used twice, whatever the kind: they are the order of
/// every list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) kind: EdgeKind,
    pub(super) number: u64,
    pub(super) source: UserNumber,
    pub(super) target: UserNumber,
    pub(super) at: Timestamp,
}

/// All users and edges, in both directions.
#[derive(Debug, Default)]
pub(super) struct Index {
    numbers: HashMap<UserId, UserNumber>,
    ids: Vec<UserId>,
    following: Vec<EdgeList<OutEntry>>,
    followers: Vec<EdgeList<InEntry>>,
    follows: u64,
    blocks: Aversions,
    mutes: Aversions,
}

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

/// Where a walk over a list has come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// Everything from this number on has been walked.
    pub(super) before: u64,
    /// Whether nothing is left.
    pub(super) end: bool,
    /// Entries that were looked at.
    pub(super) work: usize,
}

impl Index {
    pub(super) fn user(&self, id: &UserId) -> Option<UserNumber> {
        self.numbers.get(id).copied()
    }

    pub(super) fn users(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn follows(&self) -> u64 {
        self.follows
    }

    pub(super) fn blocks(&self) -> u64 {
        self.blocks.len()
    }

    pub(super) fn mutes(&self) -> u64 {
        self.mutes.len()
    }

    /// Gives `id`, which is new, the next number.
    pub(super) fn add_user(&mut self, id: UserId) {
        let number = UserNumber::try_from(self.ids.len()).unwrap_or(UserNumber::MAX);
        self.numbers.insert(id.clone(), number);
        self.ids.push(id);
        self.following.push(EdgeList::default());
        self.followers.push(EdgeList::default());
    }

    /// Adds an edge between known users, with a number above all others.
    pub(super) fn add(&mut self, edge: &Edge) {
        match edge.kind {
            EdgeKind::Follow => self.add_follow(edge),
            EdgeKind::Block => self.blocks.add(edge),
            EdgeKind::Mute => self.mutes.add(edge),
        }
    }

    fn add_follow(&mut self, edge: &Edge) {
        self.following[edge.source as usize].push(edge.number, edge.target, edge.at);
        self.followers[edge.target as usize].push(edge.number, edge.source, edge.at);
        self.follows += 1;
    }

    pub(super) fn remove(&mut self, edge: &Edge) {
        match edge.kind {
            EdgeKind::Follow => self.remove_follow(edge),
            EdgeKind::Block => self.blocks.remove(edge),
            EdgeKind::Mute => self.mutes.remove(edge),
        }
    }

    fn remove_follow(&mut self, edge: &Edge) {
        let left = self.following[edge.source as usize].remove(edge.number);
        let right = self.followers[edge.target as usize].remove(edge.number);
        debug_assert!(left && right, "an edge is kept at both ends");
        self.follows -= u64::from(left);
    }

    /// The edge of this kind from `source` to `target`.
    pub(super) fn find(
        &self,
        kind: EdgeKind,
        source: UserNumber,
        target: UserNumber,
    ) -> Option<Edge> {
        let (number, at) = match kind {
            EdgeKind::Follow => self.find_follow(source, target),
            EdgeKind::Block => self.blocks.find(source, target),
            EdgeKind::Mute => self.mutes.find(source, target),
        }?;
        Some(Edge { kind, number, source, target, at })
    }

    /// Looks through the shorter of the two lists that would hold the follow, so that following a
    /// celebrity costs what the follower's own list does.
    fn find_follow(&self, follower: UserNumber, followee: UserNumber) -> Option<(u64, Timestamp)> {
        let following = &self.following[follower as usize];
        let followers = &self.followers[followee as usize];
        let number = if following.len() <= followers.len() {
            following.find(followee)?
        } else {
            followers.find(follower)?
        };
        Some((number, following.get(number)?.at()))
    }

    /// The user of this id, if anyone may have to be kept from hearing of them: if they have blocked
    /// someone, or someone has blocked or muted them.
    pub(super) fn find_averted(&self, actor: &UserId) -> Option<UserNumber> {
        // Most graphs have neither: then not even the id is hashed.
        if self.blocks.is_empty() && self.mutes.is_empty() {
            return None;
        }
        let is_averted = |user: &UserNumber| {
            self.blocks.has_source(*user)
                || self.blocks.has_target(*user)
                || self.mutes.has_target(*user)
        };
        self.user(actor).filter(is_averted)
    }

    /// Whether `user` must not hear of `actor`.
    pub(super) fn is_hidden(&self, actor: UserNumber, user: UserNumber) -> bool {
        self.blocks.contains(actor, user)
            || self.blocks.contains(user, actor)
            || self.mutes.contains(user, actor)
    }

    pub(super) fn counts(&self, user: UserNumber) -> FollowCounts {
        FollowCounts {
            followers: self.followers[user as usize].len() as u64,
            following: self.following[user as usize].len() as u64,
        }
    }

    /// Walks over those who follow `user`.
    pub(super) fn walk_followers(
        &self,
        user: UserNumber,
        reach: Reach,
        found: &mut Vec<Follow>,
    ) -> Reached {
        walk(&self.followers[user as usize], reach, |number, entry| {
            let other_end = self.following[entry.other() as usize].get(number);
            debug_assert!(other_end.is_some(), "an edge is kept at both ends");
            if let Some(other_end) = other_end {
                found.push(self.follow(entry.other(), user, other_end.at()));
            }
        })
    }

    /// Walks over those whom `user` follows.
    pub(super) fn walk_following(
        &self,
        user: UserNumber,
        reach: Reach,
        found: &mut Vec<Follow>,
    ) -> Reached {
        walk(&self.following[user as usize], reach, |_, entry| {
            found.push(self.follow(user, entry.other(), entry.at()));
        })
    }

    /// Walks over those whom `user` has blocked.
    pub(super) fn walk_blocks(
        &self,
        user: UserNumber,
        reach: Reach,
        found: &mut Vec<Block>,
    ) -> Reached {
        walk(self.blocks.of(user), reach, |_, entry| {
            let [blocker, blocked] = [user, entry.other()].map(|it| self.id(it));
            found.push(Block { blocker, blocked, at: entry.at() });
        })
    }

    /// Walks over those whom `user` has muted.
    pub(super) fn walk_mutes(
        &self,
        user: UserNumber,
        reach: Reach,
        found: &mut Vec<Mute>,
    ) -> Reached {
        walk(self.mutes.of(user), reach, |_, entry| {
            let [muter, muted] = [user, entry.other()].map(|it| self.id(it));
            found.push(Mute { muter, muted, at: entry.at() });
        })
    }

    /// Walks over those whom `user` follows and who follow `followee`.
    pub(super) fn walk_followed_followers(
        &self,
        user: UserNumber,
        followee: UserNumber,
        reach: Reach,
        found: &mut Vec<UserId>,
    ) -> Reached {
        self.walk_if(user, reach, found, |it| (it, followee))
    }

    /// Walks over those whom both `user` and `other` follow.
    pub(super) fn walk_common(
        &self,
        user: UserNumber,
        other: UserNumber,
        reach: Reach,
        found: &mut Vec<UserId>,
    ) -> Reached {
        self.walk_if(user, reach, found, |it| (other, it))
    }

    /// Walks over those whom `user` follows and for whom another follow exists.
    fn walk_if(
        &self,
        user: UserNumber,
        reach: Reach,
        found: &mut Vec<UserId>,
        other_follow: impl Fn(UserNumber) -> (UserNumber, UserNumber),
    ) -> Reached {
        let mut work = 0;
        let mut before = reach.before;
        let wanted = found.len() + reach.items;
        let mut edges = self.following[user as usize].before(before).peekable();
        while found.len() < wanted && (work < reach.work || work == 0) {
            let Some((number, entry)) = edges.next() else { break };
            before = number;
            let (follower, followee) = other_follow(entry.other());
            let following = self.following[follower as usize].len();
            work += 1 + following.min(self.followers[followee as usize].len());
            if self.find_follow(follower, followee).is_some() {
                found.push(self.id(entry.other()));
            }
        }
        Reached { before, end: edges.peek().is_none(), work }
    }

    /// Up to `most` edges of the user, of all kinds and in both directions.
    pub(super) fn edges_of(&self, user: UserNumber, most: usize) -> Vec<Edge> {
        let kind = EdgeKind::Follow;
        let following = self.following[user as usize].before(u64::MAX).map(|(number, entry)| {
            Edge { kind, number, source: user, target: entry.other(), at: entry.at() }
        });
        let followers = self.followers[user as usize].before(u64::MAX);
        let followers =
            followers.filter_map(|(_, entry)| self.find(EdgeKind::Follow, entry.other(), user));
        let averted = [(EdgeKind::Block, &self.blocks), (EdgeKind::Mute, &self.mutes)];
        let averted = averted.into_iter().flat_map(|(kind, aversions)| {
            let pairs = aversions.pairs_of(user);
            pairs.filter_map(move |(source, target)| self.find(kind, source, target))
        });
        following.chain(followers).chain(averted).take(most).collect()
    }

    /// The first edges of the whole graph from that of `kind`, `source` and `number` on.
    pub(super) fn edges_from(
        &self,
        (kind, source, number): (EdgeKind, UserNumber, u64),
        most: usize,
    ) -> Vec<Edge> {
        let kinds = [EdgeKind::Follow, EdgeKind::Block, EdgeKind::Mute];
        let first = kinds.iter().position(|it| *it == kind).unwrap_or(0);
        let places = kinds[first..].iter().flat_map(|it| {
            let from = if *it == kind { source } else { 0 };
            (from..).take(self.ids.len().saturating_sub(from as usize)).map(move |user| (*it, user))
        });
        let mut edges = Vec::new();
        for (it, user) in places {
            if edges.len() >= most {
                break;
            }
            let from_number = if (it, user) == (kind, source) { number } else { 0 };
            let list = match it {
                EdgeKind::Follow => &self.following[user as usize],
                EdgeKind::Block => self.blocks.of(user),
                EdgeKind::Mute => self.mutes.of(user),
            };
            let newest_first =
                list.before(u64::MAX).take_while(|(number, _)| *number >= from_number);
            let mut own: Vec<_> = newest_first
                .map(|(number, entry)| Edge {
                    kind: it,
                    number,
                    source: user,
                    target: entry.other(),
                    at: entry.at(),
                })
                .collect();
            own.reverse();
            own.truncate(most - edges.len());
            edges.append(&mut own);
        }
        edges
    }

    /// An edge with the ids of its ends.
    pub(super) fn named(&self, edge: &Edge) -> tidings_core::follow::Edge {
        let [source, target] = [edge.source, edge.target].map(|it| self.id(it));
        tidings_core::follow::Edge { kind: edge.kind, source, target, at: edge.at }
    }

    pub(super) fn stats(&self) -> GraphStats {
        GraphStats {
            users: self.users() as u64,
            follows: self.follows,
            blocks: self.blocks(),
            mutes: self.mutes(),
        }
    }

    fn follow(&self, follower: UserNumber, followee: UserNumber, at: Timestamp) -> Follow {
        Follow { follower: self.id(follower), followee: self.id(followee), at }
    }

    fn id(&self, number: UserNumber) -> UserId {
        self.ids[number as usize].clone()
    }

    /// Gives back memory that was reserved for growth.
    pub(super) fn shrink(&mut self) {
        self.following.iter_mut().for_each(EdgeList::shrink);
        self.followers.iter_mut().for_each(EdgeList::shrink);
        self.following.shrink_to_fit();
        self.followers.shrink_to_fit();
        self.blocks.shrink();
        self.mutes.shrink();
        self.ids.shrink_to_fit();
    }
}

/// Takes edges, newest first, as far as `reach` says; each is one item and one piece of work.
fn walk<E: Entry>(list: &EdgeList<E>, reach: Reach, mut take: impl FnMut(u64, &E)) -> Reached {
    let mut before = reach.before;
    let mut edges = list.before(before).peekable();
    let most = reach.items.min(reach.work);
    for (number, entry) in edges.by_ref().take(most) {
        before = number;
        take(number, entry);
    }
    Reached { before, end: edges.peek().is_none(), work: most }
}
