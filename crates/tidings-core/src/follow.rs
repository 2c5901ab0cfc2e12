//! Who follows whom.

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
