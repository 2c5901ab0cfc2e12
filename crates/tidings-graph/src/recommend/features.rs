//! What the model is told of each candidate.
//!
//! Signals come relative to the best candidate of the same user, so that they mean the same in a graph of
//! any size; some come as they are besides, since how strong the best one is says something too.

use super::{
    adjacency::Node,
    signals::{Own, Signals},
};

/// The names of the features, in their order.
pub(super) const FEATURES: [&str; 28] = [
    "collaborative_half",
    "collaborative_half_pop_0.35",
    "collaborative_half_pop_0.5",
    "collaborative_full",
    "collaborative_full_pop_0.2",
    "collaborative_full_pop_0.35",
    "walks",
    "friends_of_friends",
    "alike",
    "followers_following",
    "followers_followers",
    "collaborative_people",
    "collaborative_half_as_is",
    "collaborative_full_as_is",
    "walks_as_is",
    "friends_of_friends_as_is",
    "followers_following_as_is",
    "followers",
    "following",
    "followers_per_following",
    "follows_the_user",
    "user_following",
    "user_followers",
    "user_returned_of_following",
    "user_returned_of_followers",
    "returned_around",
    "followers_relative",
    "following_relative",
];

/// Of the features, so many are relative to the best candidate.
const RELATIVE: usize = 12;

/// Where the number of followers is, and behind it that of followees.
const FOLLOWERS: usize = 17;
/// Where the same two are relative to the mean of the candidates, in logarithms.
const FOLLOWERS_RELATIVE: usize = 26;

/// How many are the same for all candidates.
const CONTEXT: usize = 5;

/// The features of one candidate.
pub(super) type Row = [f32; FEATURES.len()];

/// What is known of candidates, one entry each.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// How many follow each.
    pub(super) followers: Vec<u32>,
    /// How many each follows.
    pub(super) following: Vec<u32>,
}

/// Writes the features of `nodes`, relative to the best of the first `pool`, which are candidates, while
/// the others may be anyone; and behind them those of `unknown` users of whom the graph knows nothing.
pub(super) fn write(
    signals: &Signals,
    nodes: &[Node],
    facts: &Facts,
    (pool, unknown): (usize, usize),
    rows: &mut Vec<Row>,
) {
    rows.clear();
    let context = context(&signals.own);
    let totals = facts.followers.iter().zip(&facts.following);
    rows.extend(nodes.iter().zip(totals).map(|(node, (followers, following))| {
        let [followers, following] = [*followers, *following].map(number);
        let raw = raw(signals, *node, followers);
        let follows = f32::from(u8::from(signals.is_follower(*node)));
        row(raw, [followers, following, follows], context)
    }));
    let blank = row([0.0; RELATIVE], [0.0; 3], context);
    rows.resize(nodes.len() + unknown, blank);
    for (place, of) in [(FOLLOWERS_RELATIVE, FOLLOWERS), (FOLLOWERS_RELATIVE + 1, FOLLOWERS + 1)] {
        let logarithm = |row: &Row| (1.0 + row[of]).ln();
        let mean = rows.iter().take(pool).map(logarithm).sum::<f32>() / count(pool).max(1.0);
        rows.iter_mut().for_each(|it| it[place] = logarithm(it) - mean);
    }
    for feature in 0..RELATIVE {
        let best = rows.iter().take(pool).fold(1e-30, |best: f32, it| best.max(it[feature]));
        rows.iter_mut().for_each(|it| it[feature] /= best);
    }
}

/// The features of one, before they are made relative: the signals, how many follow them, how many they
/// follow and whether they follow the user, and what is the same for all candidates.
fn row(
    raw: [f32; RELATIVE],
    [followers, following, follows]: [f32; 3],
    context: [f32; CONTEXT],
) -> Row {
    let mut row = [0.0; FEATURES.len()];
    let (relative, rest) = row.split_at_mut(RELATIVE);
    relative.copy_from_slice(&raw);
    let [half, _, _, full, _, _, walks, friends, _, theirs, ..] = raw;
    let per_following = followers / following.max(1.0);
    let own = [half, full, walks, friends, theirs, followers, following, per_following, follows];
    let (own_row, context_row) = rest.split_at_mut(own.len());
    own_row.copy_from_slice(&own);
    context_row[..CONTEXT].copy_from_slice(&context);
    row
}

/// The signals that come relative to the best.
fn raw(signals: &Signals, node: Node, followers: f32) -> [f32; RELATIVE] {
    let [half, full, people] = signals.collaborative.get(node);
    let popularity = followers.max(1.0);
    [
        half,
        half / popularity.powf(0.35),
        half / popularity.sqrt(),
        full,
        full / popularity.powf(0.2),
        full / popularity.powf(0.35),
        signals.walks.get(node)[0],
        signals.friends_of_friends.get(node)[0],
        signals.alike.get(node)[1],
        signals.followers_following.get(node)[0],
        signals.followers_followers.get(node)[0],
        people,
    ]
}

/// What is the same for all candidates.
fn context(own: &Own) -> [f32; CONTEXT] {
    let [following, followers, friends] = [own.following, own.followers, own.friends].map(number);
    let [around, returned] = own.around.map(number);
    [
        following,
        followers,
        (friends + 0.5) / (following + 1.0),
        (friends + 0.5) / (followers + 1.0),
        (returned + 1.0) / (around + 2.0),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "seven digits of a count are enough to weigh it")]
pub(super) fn count(items: usize) -> f32 {
    items as f32
}

#[expect(clippy::cast_precision_loss, reason = "seven digits of a count are enough to weigh it")]
pub(super) fn number(count: u32) -> f32 {
    count as f32
}
