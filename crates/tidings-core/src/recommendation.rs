//! Whom to follow, how sure we are, and why.

use serde::Serialize;

use crate::{clock::Timestamp, ids::UserId};

/// A user worth following.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommendation {
    /// Whom to follow.
    pub user: UserId,
    /// How good it is, from 0 to 1; comparable within one list only.
    pub score: f32,
    /// Why, the strongest first; empty unless reasons were asked for.
    pub reasons: Vec<Reason>,
}

/// Why somebody is recommended, for an app to put into words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// They follow the user.
    FollowsYou,
    /// Accounts that the user follows follow them.
    FollowedBy {
        /// Some of these accounts, those whom the user followed last first.
        known: Vec<UserId>,
        /// How many more there are; a lower bound where the user follows very many.
        others: u64,
    },
    /// People who follow the same accounts as the user follow them.
    FollowedBySimilar {
        /// How many of the people most like the user do.
        people: u64,
    },
    /// Many follow them, and little is known of the user.
    Popular {
        /// How many follow them.
        followers: u64,
    },
}

/// How often a user was shown a recommendation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impressions {
    /// Who was recommended.
    pub shown: UserId,
    /// How often.
    pub times: u32,
    /// The last time.
    pub last_at: Timestamp,
}

/// What a user made of the recommendations so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Whom they do not want to be shown again.
    pub dismissed: Vec<UserId>,
    /// Whom they were shown.
    pub impressions: Vec<Impressions>,
}
