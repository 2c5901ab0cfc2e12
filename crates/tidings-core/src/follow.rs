//! Who follows whom, and who has turned away from whom.

use crate::{clock::Timestamp, ids::UserId};

/// A directed edge: `follower` follows `followee`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// Who follows.
    pub follower: UserId,
    /// Who is followed.
    pub followee: UserId,
    /// When the edge was made.
    pub at: Timestamp,
}

/// What an edge of the graph says of its source and its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// The source follows the target.
    Follow,
    /// The source has blocked the target.
    Block,
    /// The source has muted the target.
    Mute,
}

/// An edge of any kind, as it is brought in and given out in bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// What it says.
    pub kind: EdgeKind,
    /// The follower, blocker or muter.
    pub source: UserId,
    /// Who is followed, blocked or muted.
    pub target: UserId,
    /// When the edge was made.
    pub at: Timestamp,
}

impl From<Follow> for Edge {
    fn from(Follow { follower, followee, at }: Follow) -> Self {
        Self { kind: EdgeKind::Follow, source: follower, target: followee, at }
    }
}

/// Which end of their follows the neighbours of a user are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NeighbourSide {
    /// Those whom the user follows.
    Following,
    /// Those who follow the user.
    Followers,
}

/// Some of a user's neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// How many there are in all.
    pub total: u64,
    /// The newest of them, newest first.
    pub users: Vec<UserId>,
}

/// How large a graph is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct GraphStats {
    /// Users that it knows: who have, or have had, an edge.
    pub users: u64,
    /// Follows.
    pub follows: u64,
    /// Blocks.
    pub blocks: u64,
    /// Mutes.
    pub mutes: u64,
}

/// How many edges a user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct FollowCounts {
    /// Edges that end at the user.
    pub followers: u64,
    /// Edges that start at the user.
    pub following: u64,
}

/// A directed edge: `blocker` has blocked `blocked`. Neither follows the other while it stands, and
/// neither is told what the other does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Who has blocked.
    pub blocker: UserId,
    /// Who is blocked.
    pub blocked: UserId,
    /// When the edge was made.
    pub at: Timestamp,
}

/// A directed edge: `muter` is not told what `muted` does. Follows stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// Who has muted.
    pub muter: UserId,
    /// Who is muted.
    pub muted: UserId,
    /// When the edge was made.
    pub at: Timestamp,
}

/// Which users must not be told what an actor does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hidden {
    /// None of those asked about: the usual answer, which costs nothing per user.
    Nobody,
    /// Those whose answer is true: one answer per user, in the order of the question.
    Those(Vec<bool>),
}

impl Hidden {
    /// Gathers one answer per user; [`Hidden::Nobody`] if none is true.
    #[must_use]
    pub fn gather(answers: Vec<bool>) -> Self {
        if answers.contains(&true) { Self::Those(answers) } else { Self::Nobody }
    }

    /// Whether the user at `place` in the question must not be told.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        match self {
            Self::Nobody => false,
            Self::Those(answers) => answers.get(place).copied().unwrap_or(false),
        }
    }
}
