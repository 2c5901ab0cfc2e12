//! The rows of the graph on disk.
//!
//! Format 1 had follows only. Format 2 adds blocks and mutes as edges with one more byte, and their
//! counts to the state; a follow is the same row in both. A store of format 1 is of format 2 from its
//! next commit on.

use tidings_core::clock::Timestamp;

use super::{
    digest::Digest,
    index::{Edge, EdgeKind},
};

/// The format that this program writes.
pub(super) const FORMAT: u32 = 2;
/// The format without blocks and mutes, which it reads.
const FOLLOWS_ONLY_FORMAT: u32 = 1;

/// What the last commit left behind, kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) commits: u64,
    pub(super) next_number: u64,
    pub(super) users: u64,
    pub(super) follows: u64,
    pub(super) digest: Digest,
    pub(super) blocks: u64,
    pub(super) mutes: u64,
}

impl State {
    pub(super) fn encode(&self) -> [u8; 60] {
        let mut bytes = [0; 60];
        bytes[..4].copy_from_slice(&FORMAT.to_be_bytes());
        let State { commits, next_number, users, follows, digest, blocks, mutes } = *self;
        let fields = [commits, next_number, users, follows, digest.0, blocks, mutes];
        for (place, field) in bytes[4..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// The format, and the state if it is one that this program knows.
    pub(super) fn decode(bytes: &[u8]) -> Option<(u32, Option<Self>)> {
        let format = u32::from_be_bytes(*bytes.first_chunk()?);
        // The last two stay zero if they are not there.
        let mut fields = [0; 7];
        let known = match format {
            FORMAT => 7,
            FOLLOWS_ONLY_FORMAT => 5,
            _ => return Some((format, None)),
        };
        let bytes = &bytes[4..];
        if bytes.len() != known * 8 {
            return Some((format, None));
        }
        for (field, place) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = u64::from_be_bytes(*place.first_chunk()?);
        }
        let [commits, next_number, users, follows, digest, blocks, mutes] = fields;
        let digest = Digest(digest);
        Some((format, Some(Self { commits, next_number, users, follows, digest, blocks, mutes })))
    }

    /// How many edges of a kind there are.
    pub(super) fn edges(&mut self, kind: EdgeKind) -> &mut u64 {
        match kind {
            EdgeKind::Follow => &mut self.follows,
            EdgeKind::Block => &mut self.blocks,
            EdgeKind::Mute => &mut self.mutes,
        }
    }
}

/// The last byte of an edge; a follow has none.
const BLOCK: u8 = b'b';
const MUTE: u8 = b'm';

pub(super) fn encode_edge(edge: &Edge) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(17);
    bytes.extend(edge.source.to_be_bytes());
    bytes.extend(edge.target.to_be_bytes());
    bytes.extend(edge.at.as_millis().to_be_bytes());
    match edge.kind {
        EdgeKind::Follow => {}
        EdgeKind::Block => bytes.push(BLOCK),
        EdgeKind::Mute => bytes.push(MUTE),
    }
    bytes
}

pub(super) fn decode_edge(key: &[u8], value: &[u8]) -> Option<Edge> {
    let number = u64::from_be_bytes(key.try_into().ok()?);
    let (value, kind) = value.split_first_chunk::<16>()?;
    let kind = match kind {
        [] => EdgeKind::Follow,
        [BLOCK] => EdgeKind::Block,
        [MUTE] => EdgeKind::Mute,
        _ => return None,
    };
    Some(Edge {
        kind,
        number,
        source: u32::from_be_bytes(*value.first_chunk()?),
        target: u32::from_be_bytes(*value[4..].first_chunk()?),
        at: Timestamp::from_millis(i64::from_be_bytes(*value[8..].first_chunk()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for kind in [EdgeKind::Follow, EdgeKind::Block, EdgeKind::Mute] {
            let at = Timestamp::from_millis(i64::MAX);
            let edge = Edge { kind, number: 7, source: 1, target: u32::MAX, at };
            let row = encode_edge(&edge);
            assert_eq!(decode_edge(&7u64.to_be_bytes(), &row), Some(edge));
            assert_eq!(decode_edge(&[7], &row), None);
            assert_eq!(decode_edge(&7u64.to_be_bytes(), &[&row[..], b"x"].concat()), None);
        }
        let state = State {
            commits: 1,
            next_number: 2,
            users: 3,
            follows: 4,
            digest: Digest(u64::MAX),
            blocks: 5,
            mutes: 6,
        };
        let row = state.encode();
        assert_eq!(State::decode(&row), Some((FORMAT, Some(state))));
        assert_eq!(State::decode(&row[..44]), Some((FORMAT, None)));
        assert_eq!(State::decode(&[0, 0, 0, 9, 1]), Some((9, None)));
        assert_eq!(State::decode(&[0, 0]), None);
    }
}
