//! What is known of each candidate, and the terms that the model weighs.
//!
//! Signals come relative to the best candidate of the same user, so that they mean the same in a graph of
//! any size.

use super::{
    adjacency::Node,
    signals::{Own, Signals},
};

/// The names of the features, in their order.
pub(super) const FEATURES: [&str; 21] = [
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
    "followers",
    "following",
    "followers_per_following",
    "followers_relative",
    "following_relative",
    "follows_the_user",
    "user_following",
    "user_returned_of_followers",
    "user_returned_of_following",
];

/// Of the features, so many are relative to the best candidate.
const RELATIVE: usize = 12;

/// The logarithms of the numbers of followers and of followees, and of the one for each of the other.
const FOLLOWERS: usize = RELATIVE;
const FOLLOWING: usize = RELATIVE + 1;
/// Where the first two are relative to the mean of the candidates.
const FOLLOWERS_RELATIVE: usize = RELATIVE + 3;
const FOLLOWS: usize = RELATIVE + 5;
/// Where that begins which is the same for all candidates: the logarithm of how many the user follows, and
/// those of the shares of their followers and followees who are both.
const CONTEXT: usize = RELATIVE + 6;

/// The features of one candidate.
pub(super) type Row = [f32; FEATURES.len()];

/// How many terms there are: see [`terms`].
pub(super) const TERMS: usize = 5 * RELATIVE + 9;

/// What the model weighs of one candidate.
pub(super) type Terms = [f32; TERMS];

/// What a signal that says nothing is taken for, where its logarithm is asked for.
const NOTHING: f32 = 0.01;
/// What the logarithm of how many the user follows is divided by, so that it is about one.
const FOLLOWING_SCALE: f32 = 5.0;

/// What is known of candidates, one entry each.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// How many follow each.
    pub(super) followers: Vec<u32>,
    /// How many each follows.
    pub(super) following: Vec<u32>,
}

impl Facts {
    /// Whether the one at this place follows anyone, or is followed.
    pub(super) fn know(&self, place: usize) -> bool {
        let has_any = |totals: &[u32]| totals.get(place).is_some_and(|total| *total > 0);
        has_any(&self.followers) || has_any(&self.following)
    }
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
        let totals = [*followers, *following].map(number);
        row(raw(signals, *node, totals[0]), totals, signals.is_follower(*node), context)
    }));
    rows.resize(nodes.len() + unknown, row([0.0; RELATIVE], [0.0; 2], false, context));
    for (place, of) in [(FOLLOWERS_RELATIVE, FOLLOWERS), (FOLLOWERS_RELATIVE + 1, FOLLOWING)] {
        let mean = rows.iter().take(pool).map(|it| it[of]).sum::<f32>() / count(pool).max(1.0);
        rows.iter_mut().for_each(|it| it[place] = it[of] - mean);
    }
    for feature in 0..RELATIVE {
        let best = rows.iter().take(pool).fold(1e-30, |best: f32, it| best.max(it[feature]));
        // One who is no candidate may have what no candidate has: that is as good as the best.
        rows.iter_mut().for_each(|it| it[feature] = (it[feature] / best).min(1.0));
    }
}

/// The features of one, before they are made relative.
fn row(
    raw: [f32; RELATIVE],
    [followers, following]: [f32; 2],
    follows: bool,
    context: [f32; FEATURES.len() - CONTEXT],
) -> Row {
    let mut row = [0.0; FEATURES.len()];
    row[..RELATIVE].copy_from_slice(&raw);
    row[FOLLOWERS] = followers.ln_1p();
    row[FOLLOWING] = following.ln_1p();
    row[FOLLOWING + 1] = (followers / following.max(1.0)).ln_1p();
    row[FOLLOWS] = f32::from(u8::from(follows));
    row[CONTEXT..].copy_from_slice(&context);
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
fn context(own: &Own) -> [f32; FEATURES.len() - CONTEXT] {
    let [following, followers, friends] = [own.following, own.followers, own.friends].map(number);
    let returned = |of: f32| ((friends + 0.5) / (of + 1.0) + NOTHING).ln();
    [following.ln_1p() / FOLLOWING_SCALE, returned(followers), returned(following)]
}

/// The terms of one candidate: each signal as it is, whether there is any of it, and its logarithm, which
/// counts for more or for less the more the user follows, and otherwise for those who follow the user; the
/// same of following the user; and how popular the candidate is.
pub(super) fn terms(row: &Row) -> Terms {
    let mut terms = [0.0; TERMS];
    let follows = row[FOLLOWS];
    let [following, returned_of_followers, returned_of_following] =
        [row[CONTEXT], row[CONTEXT + 1], row[CONTEXT + 2]];
    for (signal, value) in row[..RELATIVE].iter().enumerate() {
        let logarithm = (value + NOTHING).ln();
        terms[signal] = *value;
        terms[RELATIVE + signal] = f32::from(u8::from(*value > 0.0));
        terms[2 * RELATIVE + signal] = logarithm;
        terms[3 * RELATIVE + signal] = logarithm * following;
        terms[4 * RELATIVE + signal] = logarithm * follows;
    }
    let rest = &mut terms[5 * RELATIVE..];
    rest[..5].copy_from_slice(&row[FOLLOWERS..FOLLOWS]);
    rest[5..].copy_from_slice(&[
        follows,
        follows * following,
        follows * returned_of_followers,
        follows * returned_of_following,
    ]);
    terms
}

/// The name of each term: that of its feature, and what it is made of.
pub(super) fn term_names() -> Vec<String> {
    let kinds = ["", " > 0", " ln", " ln * user_following", " ln * follows_the_user"];
    let signals = kinds
        .iter()
        .flat_map(|kind| FEATURES[..RELATIVE].iter().map(move |signal| format!("{signal}{kind}")));
    let rest = FEATURES[FOLLOWERS..=FOLLOWS].iter().map(|it| (*it).to_owned());
    let follows = FEATURES[CONTEXT..].iter().map(|it| format!("follows_the_user * {it}"));
    signals.chain(rest).chain(follows).collect()
}

#[expect(clippy::cast_precision_loss, reason = "seven digits of a count are enough to weigh it")]
pub(super) fn count(items: usize) -> f32 {
    items as f32
}

#[expect(clippy::cast_precision_loss, reason = "seven digits of a count are enough to weigh it")]
pub(super) fn number(count: u32) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_candidate_has_no_more_of_a_signal_than_the_best() {
        let mut signals = Signals::default();
        signals.followers_followers.of(9)[0] = 0.3;
        signals.walks.of(1)[0] = 0.2;
        signals.walks.of(9)[0] = 0.1;
        let facts = Facts { followers: vec![3, 5], following: vec![2, 0] };
        let mut rows = Vec::new();
        write(&signals, &[1, 9], &facts, (1, 1), &mut rows);
        let signal = |of: &str| FEATURES.iter().position(|it| *it == of).unwrap();
        let column = |of: &str| rows.iter().map(|it| it[signal(of)]).collect::<Vec<_>>();
        assert_eq!(column("followers_followers"), [0.0, 1.0, 0.0]);
        assert_eq!(column("walks"), [1.0, 0.5, 0.0]);
        assert!(rows.iter().flat_map(terms).all(f32::is_finite));
    }

    #[test]
    fn each_term_has_a_name_and_is_what_it_says() {
        let names = term_names();
        assert_eq!(names.len(), TERMS);
        let mut row: Row = std::array::from_fn(|place| count(place) / 10.0);
        row[FOLLOWS] = 1.0;
        let terms = terms(&row);
        let term = |name: &str| terms[names.iter().position(|it| it == name).unwrap()];
        let feature = |name: &str| row[FEATURES.iter().position(|it| *it == name).unwrap()];
        let close = |one: f32, other: f32| assert!((one - other).abs() < 1e-6, "{one} {other}");
        close(term("walks"), 0.6);
        close(term("collaborative_half > 0"), 0.0);
        close(term("walks > 0"), 1.0);
        close(term("walks ln"), 0.61_f32.ln());
        close(term("walks ln * user_following"), 0.61_f32.ln() * feature("user_following"));
        close(term("alike ln * follows_the_user"), 0.81_f32.ln());
        for same in ["followers", "following", "followers_per_following", "followers_relative"] {
            close(term(same), feature(same));
        }
        close(term("follows_the_user"), 1.0);
        let returned = "user_returned_of_following";
        close(term(&format!("follows_the_user * {returned}")), feature(returned));
    }
}
