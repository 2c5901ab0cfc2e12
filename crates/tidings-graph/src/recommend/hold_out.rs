//! A graph as it would be if a user had not made some of their follows: what an engine learns from.

use tidings_core::{follow::NeighbourSide, ids::UserId, ports::GraphError};

use super::adjacency::{Adjacency, Lists, Node, Standing};
use crate::hash::mix;

/// One in so many follows is held out, the newest ones,
const HELD_OUT: usize = 5;
/// so many at most.
const MOST_HELD_OUT: usize = 50;

/// Follows of one user that are held out.
#[derive(Debug, Default)]
pub(super) struct HeldOutFollows {
    user: Node,
    /// Whose followers the user is not, sorted.
    pub(super) followees: Vec<Node>,
    /// Whose followees the user is not, sorted: those who returned such a follow.
    followers: Vec<Node>,
}

impl HeldOutFollows {
    /// Holds out the newest fifth of whom the user follows, at least one.
    ///
    /// Of a follow that was returned the other one is held out as well for a fifth of them, by a hash: as
    /// if a fifth of everyone's follows were held out. Where the user follows none who do not follow the
    /// user, both are made at once, and both are held out for all of them.
    pub(super) fn choose(user: Node, following: &[Node], followers: &[Node]) -> Self {
        let count = (following.len() / HELD_OUT).clamp(1, MOST_HELD_OUT);
        let mut followees: Vec<_> = following.iter().take(count).copied().collect();
        followees.sort_unstable();
        let mut followers = followers.to_vec();
        followers.sort_unstable();
        let is_returned = |node: &Node| followers.binary_search(node).is_ok();
        let all_are_returned = following.iter().all(is_returned);
        let is_held_out = |node: &Node| {
            let drawn = mix(u64::from(user) << 32 | u64::from(*node)) % HELD_OUT as u64;
            is_returned(node) && (all_are_returned || drawn == 0)
        };
        let held_out = followees.iter().copied().filter(is_held_out).collect();
        Self { user, followees, followers: held_out }
    }

    /// Who is not to be seen among the neighbours of `node` on one side.
    pub(super) fn unseen(&self, node: Node, side: NeighbourSide) -> &[Node] {
        let (own, others) = match side {
            NeighbourSide::Following => (&self.followees, &self.followers),
            NeighbourSide::Followers => (&self.followers, &self.followees),
        };
        if self.followees.is_empty() {
            &[]
        } else if node == self.user {
            own
        } else if others.binary_search(&node).is_ok() {
            std::slice::from_ref(&self.user)
        } else {
            &[]
        }
    }

    /// What is to be seen of the standing of somebody with the user: not a follow that is held out.
    pub(super) fn standing(&self, node: Node, standing: Standing) -> Standing {
        if standing == Standing::Followed && self.has(node) { Standing::Free } else { standing }
    }

    /// Whether the user is taken not to follow this one, though they do.
    pub(super) fn has(&self, node: Node) -> bool {
        self.followees.binary_search(&node).is_ok()
    }
}

/// A graph without some follows.
pub(super) struct HeldOut<'a> {
    graph: &'a dyn Adjacency,
    pub(super) follows: HeldOutFollows,
}

impl<'a> HeldOut<'a> {
    /// The graph without the newest follows of a user; of very many, `most` are looked at.
    pub(super) fn new(
        graph: &'a dyn Adjacency,
        user: Node,
        most: usize,
    ) -> Result<Self, GraphError> {
        let mut lists = Lists::default();
        for side in [NeighbourSide::Following, NeighbourSide::Followers] {
            graph.read(&[user], side, most, &mut lists)?;
        }
        let mut lists = lists.iter();
        let [following, followers] = [(); 2].map(|()| lists.next().unwrap_or_default());
        Ok(Self { graph, follows: HeldOutFollows::choose(user, following, followers) })
    }
}

impl Adjacency for HeldOut<'_> {
    fn node(&self, user: &UserId) -> Result<Option<Node>, GraphError> {
        self.graph.node(user)
    }

    fn user(&self, node: Node) -> Result<Option<UserId>, GraphError> {
        self.graph.user(node)
    }

    fn totals(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        totals: &mut Vec<u32>,
    ) -> Result<(), GraphError> {
        let start = totals.len();
        self.graph.totals(nodes, side, totals)?;
        for (node, total) in nodes.iter().zip(&mut totals[start..]) {
            let unseen = u32::try_from(self.follows.unseen(*node, side).len()).unwrap_or(0);
            *total = total.saturating_sub(unseen);
        }
        Ok(())
    }

    fn read(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        most: usize,
        lists: &mut Lists,
    ) -> Result<(), GraphError> {
        let mut whole = Lists::default();
        self.graph.read(nodes, side, most, &mut whole)?;
        for (node, list) in nodes.iter().zip(whole.iter()) {
            let unseen = self.follows.unseen(*node, side);
            let seen = list.iter().filter(|it| unseen.binary_search(it).is_err());
            lists.nodes().extend(seen);
            lists.end();
        }
        Ok(())
    }

    fn standings(
        &self,
        node: Node,
        others: &[Node],
        standings: &mut Vec<Standing>,
    ) -> Result<(), GraphError> {
        let start = standings.len();
        self.graph.standings(node, others, standings)?;
        for (other, standing) in others.iter().zip(&mut standings[start..]) {
            *standing = self.follows.standing(*other, *standing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::drawn::DrawnGraph, *};

    const USERS: u32 = 100;
    const AHEAD: u32 = 20;

    /// The n-th of a ring follows the next few, and the one before.
    fn ring() -> DrawnGraph {
        let neighbour = |node: Node, side: NeighbourSide, place: u32| match (side, place) {
            (NeighbourSide::Following, AHEAD) => (node + USERS - 1) % USERS,
            (NeighbourSide::Following, _) => (node + place + 1) % USERS,
            (NeighbourSide::Followers, AHEAD) => (node + 1) % USERS,
            (NeighbourSide::Followers, _) => (node + USERS - place - 1) % USERS,
        };
        DrawnGraph::new(|_, _| AHEAD + 1, neighbour)
    }

    #[test]
    fn the_newest_fifth_is_not_seen_from_either_end() {
        let ring = ring();
        let graph = HeldOut::new(&ring, 50, 1_000).unwrap();
        assert_eq!(graph.follows.followees, [51, 52, 53, 54]);
        let nodes: Vec<Node> = (0..USERS).collect();
        let (mut held_out, mut following) = (Vec::new(), Vec::new());
        for side in [NeighbourSide::Following, NeighbourSide::Followers] {
            let (mut totals, mut lists) = (Vec::new(), Lists::default());
            graph.totals(&nodes, side, &mut totals).unwrap();
            graph.read(&nodes, side, 1_000, &mut lists).unwrap();
            for ((node, total), list) in nodes.iter().zip(totals).zip(lists.iter()) {
                assert_eq!(total as usize, list.len());
                let all = ring.neighbours(*node, side);
                let gone = all.iter().filter(|it| !list.contains(it)).copied();
                held_out.extend(gone.map(|other| match side {
                    NeighbourSide::Following => (*node, other),
                    NeighbourSide::Followers => (other, *node),
                }));
                if *node == 50 && side == NeighbourSide::Following {
                    following = list.to_vec();
                }
            }
        }
        held_out.sort_unstable();
        // Each is missing at both ends, and of the one that is returned perhaps its return, too.
        let wanted: Vec<_> = [51, 51, 52, 52, 53, 53, 54, 54].map(|it| (50, it)).into();
        held_out.retain(|it| *it != (51, 50));
        assert_eq!(held_out, wanted);
        assert_eq!(following.len(), AHEAD as usize + 1 - 4);
        let mut standings = Vec::new();
        graph.standings(50, &[49, 51, 54, 55, 90], &mut standings).unwrap();
        let [free, followed] = [Standing::Free, Standing::Followed];
        assert_eq!(standings, [followed, free, free, followed, free]);
        // Whom the user has muted is not to be recommended, held out or not.
        assert_eq!(graph.follows.standing(51, Standing::Averse), Standing::Averse);
    }

    #[test]
    fn what_was_returned_is_held_out_as_well_where_all_is_and_else_now_and_then() {
        let following: Vec<Node> = (1..=250).collect();
        let friends = HeldOutFollows::choose(0, &following, &following);
        assert_eq!(friends.followees.len(), 50);
        assert_eq!(friends.unseen(0, NeighbourSide::Followers), friends.followees);
        assert_eq!(friends.unseen(7, NeighbourSide::Following), [0]);
        assert!(friends.unseen(51, NeighbourSide::Following).is_empty());
        let fans = HeldOutFollows::choose(0, &following, &following[..200]);
        let held_out = fans.unseen(0, NeighbourSide::Followers).len();
        assert!((3..=20).contains(&held_out), "{held_out} of 50");
        // Of one follow it is the one; of none, nothing.
        assert_eq!(HeldOutFollows::choose(0, &[9], &[]).followees, [9]);
        let nothing = HeldOutFollows::choose(0, &[], &[3]);
        assert!(nothing.unseen(0, NeighbourSide::Following).is_empty() && !nothing.has(3));
    }
}
