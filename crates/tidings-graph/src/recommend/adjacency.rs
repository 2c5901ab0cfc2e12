//! What the engine reads of a graph.

use tidings_core::{follow::NeighbourSide, ids::UserId, ports::GraphError};

/// A user, as whoever holds the graph numbers them.
pub(crate) type Node = u32;

/// A graph whose lists can be read by number, many at a time.
///
/// It may change between two calls: what was read before is then that much older.
pub(crate) trait Adjacency {
    /// The number of a user; `None` for one that the graph does not know.
    fn node(&self, user: &UserId) -> Result<Option<Node>, GraphError>;

    /// The id of a user; `None` if the graph has forgotten them.
    fn user(&self, node: Node) -> Result<Option<UserId>, GraphError>;

    /// Appends how many neighbours each of `nodes` has on one side.
    fn totals(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        totals: &mut Vec<u32>,
    ) -> Result<(), GraphError>;

    /// Appends the newest neighbours of each of `nodes` on one side, `most` at most, newest first.
    fn read(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        most: usize,
        lists: &mut Lists,
    ) -> Result<(), GraphError>;

    /// Appends what there is between `node` and each of `others`.
    fn standings(
        &self,
        node: Node,
        others: &[Node],
        standings: &mut Vec<Standing>,
    ) -> Result<(), GraphError>;
}

/// What there is between a user and another one, as far as it keeps the other from being recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Free,
    /// The user follows the other.
    Followed,
    /// Either has blocked or muted the other.
    Averse,
}

/// Neighbours of several users, one list after the other.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    nodes: Vec<Node>,
    ends: Vec<usize>,
}

impl Lists {
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.ends.clear();
    }

    /// Where the neighbours of the next user are to be appended; [`Lists::end`] ends the list.
    pub(crate) fn nodes(&mut self) -> &mut Vec<Node> {
        &mut self.nodes
    }

    /// Ends the list of one user.
    pub(crate) fn end(&mut self) {
        self.ends.push(self.nodes.len());
    }

    /// The lists, in the order in which they were read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Node]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| self.nodes.get(*start..*end).unwrap_or_default())
    }
}
