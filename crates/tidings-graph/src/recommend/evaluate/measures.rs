//! How well one user's hidden follows are found.

use super::negatives::Negatives;

/// Places of a ranking that count for [`Measure::Map`]: what a method is asked for.
pub(super) const LIST_LENGTH: usize = 100;

/// What is measured for each test user, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Hidden follows among the first ten, those further up worth more, as a share of the best possible.
    Ndcg,
    /// Precision at each hidden follow among the first hundred, on average.
    Map,
    /// Whether a hidden follow is among the first ten.
    HitRate,
    /// Hidden follows among the first ten, as a share of ten.
    Precision,
    /// Hidden follows among the first fifty, as a share of all.
    Recall,
    /// How often a hidden follow is scored above a user drawn at random who is not followed.
    AucUniform,
    /// How often above one drawn in proportion to followers: the accuracy that popularity does not give.
    AucPopularity,
}

impl Measure {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 7] = [
        Self::Ndcg,
        Self::Map,
        Self::HitRate,
        Self::Precision,
        Self::Recall,
        Self::AucUniform,
        Self::AucPopularity,
    ];

    /// The name in a JSON report.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg_at_10",
            Self::Map => "map",
            Self::HitRate => "hr_at_10",
            Self::Precision => "p_at_10",
            Self::Recall => "r_at_50",
            Self::AucUniform => "auc_uniform",
            Self::AucPopularity => "auc_popularity",
        }
    }
}

/// A value of each measure, in the order of [`Measure::ALL`].
pub(super) type Measured = [f64; Measure::ALL.len()];

/// Measures one ranking. `top` is its beginning, `places` what it would hold if nobody were missing,
/// `hidden` is sorted.
pub(super) fn measure(
    top: &[u32],
    places: usize,
    hidden: &[u32],
    negatives: &Negatives,
    score: impl Fn(u32) -> f64,
) -> Measured {
    let is_hit: Vec<bool> = top.iter().map(|user| hidden.binary_search(user).is_ok()).collect();
    let hits = |places: usize| is_hit.iter().take(places).filter(|is_hit| **is_hit).count() as f64;
    let of_ten = hits(10);
    let hidden_scores: Vec<f64> = hidden.iter().map(|user| score(*user)).collect();
    let auc_among = |others: &[u32]| {
        auc(&hidden_scores, &others.iter().map(|user| score(*user)).collect::<Vec<f64>>())
    };
    [
        ndcg(&is_hit, hidden.len()),
        average_precision(&is_hit, hidden.len().min(places)),
        if of_ten > 0.0 { 1.0 } else { 0.0 },
        of_ten / 10.0,
        hits(50) / hidden.len() as f64,
        auc_among(&negatives.uniform),
        auc_among(&negatives.popular),
    ]
}

fn ndcg(is_hit: &[bool], hidden: usize) -> f64 {
    // The first place is worth 1, the second 1 / log2(3), and so on.
    let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let gained: f64 = (0..is_hit.len().min(10)).filter(|it| is_hit[*it]).map(gain).sum();
    let ideal: f64 = (0..hidden.min(10)).map(gain).sum();
    gained / ideal
}

fn average_precision(is_hit: &[bool], most_hits: usize) -> f64 {
    let mut hits = 0.0;
    let mut sum = 0.0;
    for (place, is_hit) in is_hit.iter().enumerate() {
        if *is_hit {
            hits += 1.0;
            sum += hits / (place + 1) as f64;
        }
    }
    sum / most_hits as f64
}

/// The share of pairs in which the first score is the higher one; a tie is half a pair.
fn auc(hidden: &[f64], others: &[f64]) -> f64 {
    let mut won = 0.0;
    for score in hidden {
        for other in others {
            if score > other {
                won += 1.0;
            } else if score >= other {
                won += 0.5;
            }
        }
    }
    won / (hidden.len() * others.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(measured: Measured, expected: Measured) {
        for ((measure, got), expected) in Measure::ALL.iter().zip(measured).zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{measure:?}: {got}, not {expected}");
        }
    }

    #[test]
    fn a_ranking_is_measured_as_by_hand() {
        // Hits at the second and the fourth place; one hidden follow is not found.
        let top = [9, 3, 8, 5, 7];
        let negatives = Negatives { uniform: vec![9, 8], popular: vec![7, 7, 9, 6] };
        // Whoever is higher up has a higher score, the others none.
        let score = |user: u32| {
            top.iter().rev().position(|it| *it == user).map_or(0.0, |it| it as f64 + 1.0)
        };
        let measured = measure(&top, 100, &[3, 5, 6], &negatives, score);
        let ndcg = (1.0 / 3_f64.log2() + 1.0 / 5_f64.log2())
            / (1.0 + 1.0 / 3_f64.log2() + 1.0 / 4_f64.log2());
        let map = (1.0 / 2.0 + 2.0 / 4.0) / 3.0;
        // 3 beats 8; 5 and 6 beat nobody. Then: 3 and 5 beat both sevens and 6, 6 ties with itself.
        assert_near(measured, [ndcg, map, 1.0, 0.2, 2.0 / 3.0, 1.0 / 6.0, 6.5 / 12.0]);
    }

    #[test]
    fn nothing_found_is_nothing_and_all_alike_is_a_coin() {
        let negatives = Negatives { uniform: vec![1], popular: vec![2] };
        let measured = measure(&[], 100, &[3], &negatives, |_| 0.0);
        assert_near(measured, [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn a_perfect_ranking_is_perfect_however_many_are_hidden() {
        let top: Vec<u32> = (0..100).collect();
        let hidden: Vec<u32> = (0..150).collect();
        let negatives = Negatives { uniform: vec![200], popular: vec![201] };
        let measured = measure(&top, 100, &hidden, &negatives, |user| -f64::from(user));
        assert_near(measured, [1.0, 1.0, 1.0, 1.0, 50.0 / 150.0, 1.0, 1.0]);
    }
}
