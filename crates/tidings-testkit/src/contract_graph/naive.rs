//! A graph that is too simple to be wrong: a list of edges.

use tidings_core::follow::{Edge, EdgeKind, Follow, FollowCounts, NeighbourSide, Neighbours};

use super::{
    List, Listed, aversions::AVERSIONS, aversions::Aversion, bulk::edge, follow,
    intersections::Shared,
};

/// All edges, the oldest first.
#[derive(Default)]
pub(super) struct Model {
    follows: Vec<Follow>,
    /// Source, target and time.
    aversions: Vec<(Aversion, String, String, i64)>,
}

impl Model {
    pub(super) fn has(&self, follower: &str, followee: &str) -> bool {
        let is_it =
            |it: &Follow| it.follower.as_str() == follower && it.followee.as_str() == followee;
        self.follows.iter().any(is_it)
    }

    pub(super) fn has_aversion(&self, kind: Aversion, source: &str, target: &str) -> bool {
        self.aversions.iter().any(|it| (it.0, &*it.1, &*it.2) == (kind, source, target))
    }

    pub(super) fn has_block(&self, one: &str, other: &str) -> bool {
        self.has_aversion(Aversion::Block, one, other)
            || self.has_aversion(Aversion::Block, other, one)
    }

    pub(super) fn is_hidden(&self, actor: &str, user: &str) -> bool {
        self.has_block(actor, user) || self.has_aversion(Aversion::Mute, user, actor)
    }

    /// Adds a follow that no block refuses.
    pub(super) fn add(&mut self, edge: Follow) -> bool {
        let is_new = !self.has(edge.follower.as_str(), edge.followee.as_str());
        if is_new {
            self.follows.push(edge);
        }
        is_new
    }

    pub(super) fn remove(&mut self, follower: &str, followee: &str) -> bool {
        let before = self.follows.len();
        let is_it =
            |it: &Follow| it.follower.as_str() == follower && it.followee.as_str() == followee;
        self.follows.retain(|it| !is_it(it));
        self.follows.len() < before
    }

    pub(super) fn turn_away(
        &mut self,
        kind: Aversion,
        source: &str,
        target: &str,
        at: i64,
    ) -> bool {
        if self.has_aversion(kind, source, target) {
            return false;
        }
        if kind == Aversion::Block {
            self.remove(source, target);
            self.remove(target, source);
        }
        self.aversions.push((kind, source.to_owned(), target.to_owned(), at));
        true
    }

    pub(super) fn turn_back(&mut self, kind: Aversion, source: &str, target: &str) -> bool {
        let before = self.aversions.len();
        self.aversions.retain(|it| (it.0, &*it.1, &*it.2) != (kind, source, target));
        self.aversions.len() < before
    }

    /// Takes an edge of an import, if it is one that can be.
    pub(super) fn import(&mut self, kind: EdgeKind, source: &str, target: &str, at: i64) -> bool {
        match kind {
            _ if source == target => false,
            EdgeKind::Follow => {
                !self.has_block(source, target) && self.add(follow(source, target, at))
            }
            EdgeKind::Block => self.turn_away(Aversion::Block, source, target, at),
            EdgeKind::Mute => self.turn_away(Aversion::Mute, source, target, at),
        }
    }

    pub(super) fn erase(&mut self, user: &str) -> u64 {
        let before = self.follows.len() + self.aversions.len();
        self.follows.retain(|it| it.follower.as_str() != user && it.followee.as_str() != user);
        self.aversions.retain(|it| it.1 != user && it.2 != user);
        (before - self.follows.len() - self.aversions.len()) as u64
    }

    pub(super) fn shared(&self, list: Shared, one: &str, other: &str) -> Vec<String> {
        let following = self.list(List::Following, one).into_iter().map(|it| it.0);
        let is_shared = |friend: &String| match list {
            Shared::Common => self.has(other, friend),
            Shared::Known => self.has(friend, other),
        };
        following.filter(is_shared).collect()
    }

    /// All edges, the oldest first within each kind.
    pub(super) fn edges(&self) -> Vec<Edge> {
        let mut edges: Vec<_> = self.follows.iter().cloned().map(Edge::from).collect();
        for kind in AVERSIONS {
            let own = self.aversions.iter().filter(|it| it.0 == kind);
            let edge_kind = match kind {
                Aversion::Block => EdgeKind::Block,
                Aversion::Mute => EdgeKind::Mute,
            };
            edges.extend(own.map(|it| edge(edge_kind, &it.1, &it.2, it.3)));
        }
        edges
    }

    pub(super) fn averted(&self, kind: Aversion, of: &str) -> Vec<Listed> {
        let newest_first = self.aversions.iter().rev();
        let own = newest_first.filter(|it| it.0 == kind && it.1 == of);
        own.map(|it| (it.2.clone(), Some(it.3))).collect()
    }

    pub(super) fn list(&self, list: List, of: &str) -> Vec<Listed> {
        let newest_first = self.follows.iter().rev();
        let following = newest_first.clone().filter(|it| it.follower.as_str() == of);
        match list {
            List::Followers => newest_first
                .filter(|it| it.followee.as_str() == of)
                .map(|it| (it.follower.to_string(), Some(it.at.as_millis())))
                .collect(),
            List::Following => {
                following.map(|it| (it.followee.to_string(), Some(it.at.as_millis()))).collect()
            }
            List::Friends => following
                .filter(|it| self.has(it.followee.as_str(), of))
                .map(|it| (it.followee.to_string(), None))
                .collect(),
        }
    }

    pub(super) fn neighbours(&self, of: &str, side: NeighbourSide, most: usize) -> Neighbours {
        let list = match side {
            NeighbourSide::Following => self.list(List::Following, of),
            NeighbourSide::Followers => self.list(List::Followers, of),
        };
        let users = list.iter().take(most).map(|it| super::user(&it.0)).collect();
        Neighbours { total: list.len() as u64, users }
    }

    pub(super) fn counts(&self, of: &str) -> FollowCounts {
        let count = |list| u64::try_from(self.list(list, of).len()).expect("a count fits");
        FollowCounts { followers: count(List::Followers), following: count(List::Following) }
    }
}
