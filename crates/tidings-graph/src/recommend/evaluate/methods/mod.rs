//! What is compared.

mod pagerank;
mod salsa;
mod score;
mod steps;
mod sums;
mod walks;

use std::{fmt, str::FromStr};

pub(super) use score::Scoring;

/// A way to rank users for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// What the engine serves.
    Tidings,
    /// Most followers first.
    Popularity,
    /// Who follows the user.
    FollowBack,
    /// Whom the user's followees follow: how many of them do.
    FriendsOfFriends,
    /// The same; who follows many counts less, by Adamic and Adar.
    FriendsOfFriendsAdamicAdar,
    /// The same; who follows many counts less, by resource allocation.
    FriendsOfFriendsAllocation,
    /// Who follows the same: how many in common.
    CommonFollows,
    /// The same, as a share of all whom either follows (Jaccard).
    CommonFollowsJaccard,
    /// The same, by cosine.
    CommonFollowsCosine,
    /// The same; who is followed by many counts less.
    CommonFollowsAdamicAdar,
    /// Who has the same followers: how many in common.
    CommonFollowers,
    /// The same; who follows many counts less.
    CommonFollowersAdamicAdar,
    /// Who follows those who follow the user.
    FollowersOfFollowers,
    /// Common neighbours, whichever way follows go.
    Neighbours,
    /// The same, as a share of all neighbours of either (Jaccard).
    NeighboursJaccard,
    /// The same, by cosine.
    NeighboursCosine,
    /// The same; who has many neighbours counts less, by Adamic and Adar.
    NeighboursAdamicAdar,
    /// The same; who has many neighbours counts less, by resource allocation.
    NeighboursAllocation,
    /// Ways of three follows, whichever way they go.
    ThreeSteps,
    /// Whom those follow who follow the same.
    UserNeighbours,
    /// The same, of the hundred most alike.
    UserNeighbours100,
    /// Who is followed together with whom the user follows, by cosine.
    ItemNeighbours,
    /// A linear graph filter.
    GraphFilter,
    /// Random walks of three steps, popularity damped.
    Rp3Beta,
    /// Personalised page rank along follows.
    PageRank,
    /// Personalised page rank, whichever way follows go.
    PageRankUndirected,
    /// SALSA from a circle of trust.
    Salsa,
    /// Random walks of 20,000 steps.
    RandomWalks,
}

/// No method has this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no method {name:?}; there are: {}", Method::names())]
pub struct UnknownMethod {
    name: String,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::Tidings,
        Self::Popularity,
        Self::FollowBack,
        Self::FriendsOfFriends,
        Self::FriendsOfFriendsAdamicAdar,
        Self::FriendsOfFriendsAllocation,
        Self::CommonFollows,
        Self::CommonFollowsJaccard,
        Self::CommonFollowsCosine,
        Self::CommonFollowsAdamicAdar,
        Self::CommonFollowers,
        Self::CommonFollowersAdamicAdar,
        Self::FollowersOfFollowers,
        Self::Neighbours,
        Self::NeighboursJaccard,
        Self::NeighboursCosine,
        Self::NeighboursAdamicAdar,
        Self::NeighboursAllocation,
        Self::ThreeSteps,
        Self::UserNeighbours,
        Self::UserNeighbours100,
        Self::ItemNeighbours,
        Self::GraphFilter,
        Self::Rp3Beta,
        Self::PageRank,
        Self::PageRankUndirected,
        Self::Salsa,
        Self::RandomWalks,
    ];

    /// The name in reports and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tidings => "tidings",
            Self::Popularity => "pop",
            Self::FollowBack => "recip",
            Self::FriendsOfFriends => "fof_cnt",
            Self::FriendsOfFriendsAdamicAdar => "fof_aa",
            Self::FriendsOfFriendsAllocation => "fof_ra",
            Self::CommonFollows => "cofollow_cnt",
            Self::CommonFollowsJaccard => "cofollow_jac",
            Self::CommonFollowsCosine => "cofollow_cos",
            Self::CommonFollowsAdamicAdar => "cofollow_aa",
            Self::CommonFollowers => "cofollower_cnt",
            Self::CommonFollowersAdamicAdar => "cofollower_aa",
            Self::FollowersOfFollowers => "inin_cnt",
            Self::Neighbours => "U_cn",
            Self::NeighboursJaccard => "U_jac",
            Self::NeighboursCosine => "U_cos",
            Self::NeighboursAdamicAdar => "U_aa",
            Self::NeighboursAllocation => "U_ra",
            Self::ThreeSteps => "U_L3",
            Self::UserNeighbours => "userknn_all",
            Self::UserNeighbours100 => "userknn_100",
            Self::ItemNeighbours => "itemknn_cos",
            Self::GraphFilter => "gf_lin",
            Self::Rp3Beta => "rp3beta",
            Self::PageRank => "ppr_out",
            Self::PageRankUndirected => "ppr_U",
            Self::Salsa => "salsa_cot",
            Self::RandomWalks => "pixie_20k",
        }
    }

    /// Whether follows have to have a direction for this to be a method of its own.
    #[must_use]
    pub fn needs_direction(self) -> bool {
        matches!(
            self,
            Self::FollowBack
                | Self::FriendsOfFriends
                | Self::FriendsOfFriendsAdamicAdar
                | Self::FriendsOfFriendsAllocation
                | Self::CommonFollows
                | Self::CommonFollowsJaccard
                | Self::CommonFollowsCosine
                | Self::CommonFollowsAdamicAdar
                | Self::CommonFollowers
                | Self::CommonFollowersAdamicAdar
                | Self::FollowersOfFollowers
                | Self::PageRank
        )
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        let method = Self::ALL.into_iter().find(|it| it.name() == name);
        method.ok_or_else(|| UnknownMethod { name: name.to_owned() })
    }
}
