//! A graph for tests, whose lists are drawn when they are read, and that counts what is read.

use std::cell::Cell;

use tidings_core::{follow::NeighbourSide, ids::UserId, ports::GraphError};

use super::adjacency::{Adjacency, Lists, Node, Standing};

/// A graph whose users are called by their numbers.
pub(super) struct DrawnGraph {
    /// How many neighbours a user has on a side.
    total: fn(Node, NeighbourSide) -> u32,
    /// The n-th of them, the newest first.
    neighbour: fn(Node, NeighbourSide, u32) -> Node,
    read: Cell<usize>,
    asked: Cell<usize>,
}

impl DrawnGraph {
    pub(super) fn new(
        total: fn(Node, NeighbourSide) -> u32,
        neighbour: fn(Node, NeighbourSide, u32) -> Node,
    ) -> Self {
        Self { total, neighbour, read: Cell::new(0), asked: Cell::new(0) }
    }

    /// The neighbours of a user on a side.
    pub(super) fn neighbours(&self, node: Node, side: NeighbourSide) -> Vec<Node> {
        (0..(self.total)(node, side)).map(|place| (self.neighbour)(node, side, place)).collect()
    }

    /// Entries of lists that were read, and totals that were asked for.
    pub(super) fn costs(&self) -> [usize; 2] {
        [self.read.get(), self.asked.get()]
    }
}

impl Adjacency for DrawnGraph {
    fn node(&self, user: &UserId) -> Result<Option<Node>, GraphError> {
        Ok(user.as_str().parse().ok())
    }

    fn user(&self, node: Node) -> Result<Option<UserId>, GraphError> {
        Ok(UserId::new(&node.to_string()).ok())
    }

    fn totals(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        totals: &mut Vec<u32>,
    ) -> Result<(), GraphError> {
        self.asked.set(self.asked.get() + nodes.len());
        totals.extend(nodes.iter().map(|it| (self.total)(*it, side)));
        Ok(())
    }

    fn read(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        most: usize,
        lists: &mut Lists,
    ) -> Result<(), GraphError> {
        for node in nodes {
            let total = u32::try_from(most).unwrap_or(u32::MAX).min((self.total)(*node, side));
            lists.nodes().extend((0..total).map(|place| (self.neighbour)(*node, side, place)));
            lists.end();
            self.read.set(self.read.get() + total as usize);
        }
        Ok(())
    }

    fn standings(
        &self,
        node: Node,
        others: &[Node],
        standings: &mut Vec<Standing>,
    ) -> Result<(), GraphError> {
        let following = self.neighbours(node, NeighbourSide::Following);
        standings.extend(
            others
                .iter()
                .map(|it| if following.contains(it) { Standing::Followed } else { Standing::Free }),
        );
        Ok(())
    }
}
