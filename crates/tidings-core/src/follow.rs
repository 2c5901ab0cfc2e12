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
