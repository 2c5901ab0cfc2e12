//! What is asked of a graph, and how long the answers take.

use std::time::Instant;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tidings_core::{
    ids::UserId,
    ports::{Cursor, SocialGraphStore},
};

use super::{
    people::People,
    shape::{random, user},
};

/// Users on a page.
pub(super) const PAGE: usize = 50;
/// Lists whose pages are asked for in the middle.
const DEEP_LISTS: u64 = 64;
/// Users whose lists are the longest.
const SUPERNODES: u64 = 16;

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Query {
    /// The newest followers of anyone.
    Page,
    /// Followers from the middle of long lists.
    DeepPage,
    /// Whom anyone follows.
    Following,
    IsFollowing,
    Counts,
    /// Of anyone.
    Friends,
    /// Of two who follow the same celebrity.
    Common,
    /// Those whom someone follows among the followers of one whom many follow.
    Known,
    /// Friends of the most followed.
    SupernodeFriends,
    /// What the busiest two have in common.
    SupernodeCommon,
    /// Followers of the most followed whom the busiest know.
    SupernodeKnown,
}

impl Query {
    pub(super) const ALL: [Self; 11] = [
        Self::Page,
        Self::DeepPage,
        Self::Following,
        Self::IsFollowing,
        Self::Counts,
        Self::Friends,
        Self::Common,
        Self::Known,
        Self::SupernodeFriends,
        Self::SupernodeCommon,
        Self::SupernodeKnown,
    ];

    /// Its name in a report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::DeepPage => "deep_page",
            Self::Following => "following",
            Self::IsFollowing => "is_following",
            Self::Counts => "counts",
            Self::Friends => "friends",
            Self::Common => "common",
            Self::Known => "known",
            Self::SupernodeFriends => "supernode_friends",
            Self::SupernodeCommon => "supernode_common",
            Self::SupernodeKnown => "supernode_known",
        }
    }
}

/// Whom a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) query: Query,
    pub(super) user: u64,
    /// The other user, for questions about two.
    pub(super) other: u64,
}

impl Asked {
    /// Question number `n` of its kind: the same for every store.
    pub(super) fn new(people: &dyn People, query: Query, n: u64) -> Self {
        let draw = |salt: u64| random(n * 8 + salt + 1_000_000_007);
        let anyone = draw(0) % people.users();
        let edge = |salt: u64| people.ends(draw(salt) % people.follows()).unwrap_or((0, 1));
        let (user, other) = match query {
            Query::Page | Query::Following | Query::Counts | Query::Friends => (anyone, anyone),
            Query::DeepPage => {
                let followee = people.popular(draw(1) % DEEP_LISTS * 16);
                (followee, followee)
            }
            // Half of them do.
            Query::IsFollowing if n.is_multiple_of(2) => edge(2),
            Query::IsFollowing => (anyone, draw(3) % people.users()),
            Query::Common => (edge(4).0, edge(5).0),
            Query::Known => (anyone, edge(6).1),
            Query::SupernodeFriends => {
                let followee = people.popular(draw(7) % SUPERNODES);
                (followee, followee)
            }
            Query::SupernodeCommon => {
                (people.busy(draw(1) % SUPERNODES), people.busy(SUPERNODES + draw(2) % SUPERNODES))
            }
            Query::SupernodeKnown => {
                (people.busy(draw(1) % SUPERNODES), people.popular(draw(2) % SUPERNODES))
            }
        };
        Self { query, user, other }
    }
}

/// How long a kind of question took, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

impl Latency {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of an answer are below 2^52")]
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50_us: us(0.5), p95_us: us(0.95), p99_us: us(0.99), max_us: us(1.0) }
    }
}

/// Places in the middle of long lists.
pub(super) struct Depths(Vec<(UserId, Vec<Cursor>)>);

impl Depths {
    /// Reads the long lists once, and keeps where their pages begin.
    pub(super) async fn find(
        store: &dyn SocialGraphStore,
        people: &dyn People,
    ) -> anyhow::Result<Self> {
        let mut lists = Vec::new();
        for list in 0..DEEP_LISTS {
            let of = user(people.popular(list * 16));
            let mut cursors = Vec::new();
            let mut cursor = None;
            while cursors.len() < 1_000 {
                let page = store.get_followers(&of, cursor.as_ref(), people.stride()).await?;
                let Some(next) = page.next else { break };
                cursors.push(next.clone());
                cursor = Some(next);
            }
            if !cursors.is_empty() {
                lists.push((of, cursors));
            }
        }
        anyhow::ensure!(!lists.is_empty(), "no list is long");
        Ok(Self(lists))
    }

    fn get(&self, n: u64) -> Option<(&UserId, &Cursor)> {
        let pick = |most: usize, salt: u64| {
            usize::try_from(random(n * 2 + salt) % most.max(1) as u64).unwrap_or(0)
        };
        let (of, cursors) = self.0.get(pick(self.0.len(), 0))?;
        Some((of, cursors.get(pick(cursors.len(), 1))?))
    }
}

/// Asks `count` questions of a kind, one after the other; the first tenth is not timed.
pub(super) async fn ask(
    store: &dyn SocialGraphStore,
    people: &dyn People,
    depths: &Depths,
    query: Query,
    count: u64,
) -> anyhow::Result<Latency> {
    let mut histogram = Histogram::<u64>::new(3)?;
    let mut found = 0usize;
    for n in 0..count {
        let asked = Asked::new(people, query, n);
        let (of, other) = (user(asked.user), user(asked.other));
        let depth = depths.get(n).context("no depth")?;
        let begun = Instant::now();
        found += match query {
            Query::Page => store.get_followers(&of, None, PAGE).await?.items.len(),
            Query::DeepPage => store.get_followers(depth.0, Some(depth.1), PAGE).await?.items.len(),
            Query::Following => store.get_following(&of, None, PAGE).await?.items.len(),
            Query::IsFollowing => usize::from(store.is_following(&of, &other).await?),
            Query::Counts => usize::from(store.counts(&of).await?.followers > 0),
            Query::Friends | Query::SupernodeFriends => {
                store.get_mutual_follows(&of, None, PAGE).await?.items.len()
            }
            Query::Common | Query::SupernodeCommon => {
                store.get_common_follows(&of, &other, None, PAGE).await?.items.len()
            }
            Query::Known | Query::SupernodeKnown => {
                store.get_followers_you_know(&of, &other, None, PAGE).await?.items.len()
            }
        };
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if n >= count / 10 {
            histogram.record(took)?;
        }
    }
    // A sparse graph has few who have anything in common.
    let must_find = matches!(query, Query::Page | Query::Following | Query::Counts);
    anyhow::ensure!(found > 0 || !must_find, "{} found nothing at all", query.name());
    Ok(Latency::of(&histogram))
}
