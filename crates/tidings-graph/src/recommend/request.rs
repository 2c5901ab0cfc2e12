//! What is asked of the engine.

use std::collections::{HashMap, HashSet};

use rpds::HashTrieSetSync;
use tidings_core::ids::UserId;

/// The most recommendations that one answer holds.
pub const MAX_RECOMMENDATIONS: usize = 500;

/// For whom to recommend, how many, and what the app and the user have to say about it.
#[derive(Debug, Clone)]
pub struct RecommendRequest {
    /// Who wants to know whom to follow.
    pub user: UserId,
    /// Recommendations at most, up to [`MAX_RECOMMENDATIONS`].
    pub limit: usize,
    /// Whether each comes with its reasons, which takes some more work.
    pub explain: bool,
    /// Recommend none but these; `None` for anyone. They are ranked, also those whom the graph does not
    /// know; but still left out where the user follows, blocks or mutes them.
    pub among: Option<Vec<UserId>>,
    /// Whom never to recommend to this user: those that they dismissed.
    pub excluded: HashSet<UserId>,
    /// Whom never to recommend to anyone: those who have left, or do not want to be found.
    pub hidden: HashTrieSetSync<UserId>,
    /// How many of the user's followees must follow whoever is recommended and does not follow the user.
    /// From 1 on, accounts that nobody near the user follows are never recommended, however many of
    /// them follow each other and what the user follows; new users see fewer for it.
    pub least_known: u32,
    /// What scores are multiplied by, where it is not 1: above it lifts a user, below it sinks one.
    pub factors: HashMap<UserId, f32>,
}

impl RecommendRequest {
    /// Asks for `limit` recommendations without reasons, of anyone.
    #[must_use]
    pub fn new(user: UserId, limit: usize) -> Self {
        Self {
            user,
            limit,
            explain: false,
            among: None,
            excluded: HashSet::new(),
            hidden: HashTrieSetSync::default(),
            least_known: 0,
            factors: HashMap::new(),
        }
    }
}
