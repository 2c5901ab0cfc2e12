//! One number for everything that the graph holds.
//!
//! The digest is the sum of a hash of each user and each edge, so it follows every change at the
//! cost of one hash, and does not depend on order. The store keeps it with each commit; whoever
//! reads everything back and gets another sum has read something else than what was committed,
//! whichever way that came about. It guards against accidents, not against forgery.

pub(super) use crate::hash::{hash_bytes, mix};

use super::index::{Edge, EdgeKind};

/// The sum of the hashes of all users and edges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest(pub(super) u64);

impl Digest {
    pub(super) fn add_user(&mut self, number: u32, id: &str) {
        self.0 = self.0.wrapping_add(hash_user(number, id));
    }

    /// Takes away what [`hash_user`] says of a user.
    pub(super) fn remove_user(&mut self, hash: u64) {
        self.0 = self.0.wrapping_sub(hash);
    }

    pub(super) fn add_edge(&mut self, edge: &Edge) {
        self.add_hash(hash_edge(edge));
    }

    pub(super) fn add_hash(&mut self, hash: u64) {
        self.0 = self.0.wrapping_add(hash);
    }

    pub(super) fn remove_edge(&mut self, edge: &Edge) {
        self.0 = self.0.wrapping_sub(hash_edge(edge));
    }
}

/// What a user adds to the digest.
pub(super) fn hash_user(number: u32, id: &str) -> u64 {
    hash_bytes(u64::from(number), id.as_bytes())
}

fn hash_edge(edge: &Edge) -> u64 {
    // A follow gets its numbers when it is added, after its commit was summed up.
    let number = if edge.kind == EdgeKind::Follow { 0 } else { edge.numbers[0] };
    hash_numbered(edge, number)
}

/// Hashes an edge under this number. Until format 3, follows had a number of the whole graph too.
pub(super) fn hash_numbered(edge: &Edge, number: u64) -> u64 {
    let kind = match edge.kind {
        EdgeKind::Follow => 0,
        EdgeKind::Block => 0x626c_6f63_6b00_0000,
        EdgeKind::Mute => 0x6d75_7465_0000_0000,
    };
    let pair = u64::from(edge.source) << 32 | u64::from(edge.target);
    let hash = mix(mix(number ^ 0x6564_6765 ^ kind) ^ pair);
    mix(hash ^ edge.at.as_millis().cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::clock::Timestamp;

    fn edge(number: u64, source: u32, target: u32) -> Edge {
        let at = Timestamp::from_millis(7);
        Edge { kind: EdgeKind::Follow, source, target, at, numbers: [number, 9] }
    }

    #[test]
    fn the_digest_follows_content_not_history() {
        let mut digest = Digest::default();
        digest.add_user(0, "ann");
        digest.add_edge(&edge(1, 0, 1));
        let before = digest;
        digest.add_edge(&edge(2, 1, 0));
        assert_ne!(digest, before);
        digest.remove_edge(&edge(2, 1, 0));
        assert_eq!(digest, before);
        digest.add_user(1, "ben");
        digest.remove_user(hash_user(1, "ben"));
        assert_eq!(digest, before);
    }

    #[test]
    fn the_hash_is_part_of_the_format() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf, "the published first value of splitmix64");
        assert_ne!(hash_bytes(0, b"ab"), hash_bytes(0, b"ab\0"));
        let follow = edge(1, 2, 3);
        assert_ne!(hash_edge(&follow), hash_edge(&edge(1, 3, 2)));
        let [block, mute] = [EdgeKind::Block, EdgeKind::Mute].map(|kind| Edge { kind, ..follow });
        assert_ne!(hash_edge(&follow), hash_edge(&block));
        assert_ne!(hash_edge(&follow), hash_edge(&mute));
        assert_ne!(hash_edge(&block), hash_edge(&mute));
    }
}
