//! What an answer depends on, and what a write changes.

use std::collections::HashSet;

use tidings_core::{
    follow::{Edge, EdgeKind},
    ids::UserId,
};

/// A part of the graph that changes as one, as far as the cache is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// All of it: every answer depends on it.
    Graph,
    /// Whom the user follows.
    Following(UserId),
    /// Who follows the user.
    Followers(UserId),
    /// The blocks and mutes at either end of which the user is.
    Aversions(UserId),
    /// All blocks and mutes.
    AllAversions,
}

impl Scope {
    /// Appends its name, which no other scope has and no answer's key.
    pub(super) fn put_name(&self, name: &mut Vec<u8>) {
        let (kind, user) = match self {
            Self::Graph => (b'g', ""),
            Self::Following(user) => (b'o', user.as_str()),
            Self::Followers(user) => (b'i', user.as_str()),
            Self::Aversions(user) => (b'x', user.as_str()),
            Self::AllAversions => (b'y', ""),
        };
        name.push(kind);
        name.extend_from_slice(user.as_bytes());
    }

    /// What a follow changes, or its end.
    pub(super) fn of_follow(follower: &UserId, followee: &UserId) -> Vec<Self> {
        vec![Self::Following(follower.clone()), Self::Followers(followee.clone())]
    }

    /// What a block changes: it takes the follows between the two away.
    pub(super) fn of_block(one: &UserId, other: &UserId) -> Vec<Self> {
        let mut scopes = Self::of_aversion(one, other);
        scopes.extend(Self::of_follow(one, other));
        scopes.extend(Self::of_follow(other, one));
        scopes
    }

    /// What a mute changes, or the end of a block or mute.
    pub(super) fn of_aversion(one: &UserId, other: &UserId) -> Vec<Self> {
        vec![Self::Aversions(one.clone()), Self::Aversions(other.clone())]
    }

    /// What an import changes, each scope once.
    pub(super) fn of_edges(edges: &[Edge]) -> Vec<Self> {
        let of = |edge: &Edge| match edge.kind {
            EdgeKind::Follow => Self::of_follow(&edge.source, &edge.target),
            EdgeKind::Block => Self::of_block(&edge.source, &edge.target),
            EdgeKind::Mute => Self::of_aversion(&edge.source, &edge.target),
        };
        let scopes: HashSet<_> = edges.iter().flat_map(of).collect();
        scopes.into_iter().collect()
    }

    /// All scopes of one user's own.
    pub(super) fn of_user(user: &UserId) -> Vec<Self> {
        let user = || user.clone();
        vec![Self::Following(user()), Self::Followers(user()), Self::Aversions(user())]
    }
}

/// Scopes of a question besides [`Scope::Graph`], at most.
pub(super) const SCOPES: usize = 2;

/// The epoch, and the versions of the graph and of a question's scopes, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Snapshot(pub(super) [u64; SCOPES + 2]);

impl Snapshot {
    pub(super) const BYTES: usize = (SCOPES + 2) * 8;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (to, version) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&version.to_be_bytes());
        }
        bytes
    }

    /// Whether an entry that begins with `bytes` was made at this moment.
    pub(super) fn heads(self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.to_bytes())
    }
}

/// Whether answers may be kept, as of a moment after the question was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// At these versions.
    Current(Snapshot),
    /// Somebody is writing.
    Marked,
    /// There is no epoch, or Redis cannot be reached.
    Closed,
}
