//! The index as the recommender reads it: by number, many lists under one lock, or one that is long.

use tidings_core::{follow::NeighbourSide, ids::UserId, ports::GraphError};

use super::{index::Index, segment::Direction, store::EmbeddedGraphStore};
use crate::{
    hash::mix,
    recommend::adjacency::{Adjacency, Lists, Node, Standing},
};

/// Entries that are read under one lock, and users that are asked about.
const SLICE_ENTRIES: usize = 4_096;
const SLICE_USERS: usize = 512;
/// Lists that are brought from memory together.
const TOUCHED_LISTS: usize = 32;

const OP: &str = "recommend_users";

impl EmbeddedGraphStore {
    /// Up to `most` users in an order that says nothing, the same ones each time.
    pub(crate) fn sample(&self, most: usize) -> Result<Vec<UserId>, GraphError> {
        let users = u32::try_from(self.read(OP)?.users()).unwrap_or(u32::MAX);
        let mut nodes: Vec<Node> = if most >= users as usize {
            (0..users).collect()
        } else {
            let drawn = (0..most as u64).map(|place| mix(place) % u64::from(users));
            drawn.filter_map(|it| Node::try_from(it).ok()).collect()
        };
        nodes.sort_unstable_by_key(|it| (mix(u64::from(*it)), *it));
        nodes.dedup();
        let mut sample = Vec::with_capacity(nodes.len());
        for node in nodes {
            sample.extend(self.user(node)?);
        }
        Ok(sample)
    }

    /// Reads lists under one lock; how many.
    fn read_some(
        &self,
        nodes: &[Node],
        direction: Direction,
        most: usize,
        lists: &mut Lists,
    ) -> Result<usize, GraphError> {
        let index = self.read(OP)?;
        let start = lists.nodes().len();
        for (place, node) in nodes.iter().enumerate() {
            if lists.nodes().len() - start >= SLICE_ENTRIES || place >= SLICE_USERS {
                return Ok(place);
            }
            if place % TOUCHED_LISTS == 0 {
                let next = nodes.iter().skip(place).take(TOUCHED_LISTS);
                index.touch(next.map(|it| (*it, direction)));
            }
            index.list(*node, direction).append_newest(most, lists.nodes());
            lists.end();
        }
        Ok(nodes.len())
    }
}

impl Adjacency for EmbeddedGraphStore {
    fn node(&self, user: &UserId) -> Result<Option<Node>, GraphError> {
        Ok(self.read(OP)?.user(user))
    }

    fn user(&self, node: Node) -> Result<Option<UserId>, GraphError> {
        let index = self.read(OP)?;
        Ok(index.ids().text(node).map(|_| index.id(node)))
    }

    fn totals(
        &self,
        nodes: &[Node],
        side: NeighbourSide,
        totals: &mut Vec<u32>,
    ) -> Result<(), GraphError> {
        let direction = Direction::from(side);
        let total = |index: &Index, node: Node| {
            u32::try_from(index.list(node, direction).len()).unwrap_or(u32::MAX)
        };
        for nodes in nodes.chunks(SLICE_USERS) {
            let index = self.read(OP)?;
            for nodes in nodes.chunks(TOUCHED_LISTS) {
                index.touch_heads(nodes.iter().map(|it| (*it, direction)));
                totals.extend(nodes.iter().map(|it| total(&index, *it)));
            }
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
        let mut rest = nodes;
        while !rest.is_empty() {
            let read = self.read_some(rest, side.into(), most, lists)?;
            rest = rest.get(read..).unwrap_or_default();
        }
        Ok(())
    }

    fn standings(
        &self,
        node: Node,
        others: &[Node],
        standings: &mut Vec<Standing>,
    ) -> Result<(), GraphError> {
        for others in others.chunks(SLICE_USERS) {
            let index = self.read(OP)?;
            let standing = |other| {
                if index.is_hidden(node, other) || index.is_hidden(other, node) {
                    Standing::Averse
                } else if index.is_following(node, other) {
                    Standing::Followed
                } else {
                    Standing::Free
                }
            };
            standings.extend(others.iter().map(|it| standing(*it)));
        }
        Ok(())
    }
}
