//! Methods that count ways of two or three follows.

use super::{super::graph::Adjacency, sums::Sums};

/// Adds for each user the weights of those over whom two steps lead there.
pub(super) fn two_steps(
    user: u32,
    [first, second]: [&Adjacency; 2],
    weight: impl Fn(u32) -> f64,
    sums: &mut Sums,
) {
    for middle in first.of(user) {
        let weight = weight(*middle);
        for end in second.of(*middle) {
            sums.add(*end, weight);
        }
    }
}

/// How three steps are weighted: to whom the user follows, back to others who do, on to whom these follow.
pub(super) struct ThreeSteps<W, S, N> {
    /// What one in common counts.
    pub(super) weight: W,
    /// How alike somebody is, of the weight in common with them and the number of those they follow.
    pub(super) similarity: S,
    /// Of how many most alike the follows count; all for `None`. Equals of the last count too.
    pub(super) neighbours: Option<usize>,
    /// What the sum of a user is multiplied by.
    pub(super) norm: N,
}

impl<W, S, N> ThreeSteps<W, S, N>
where
    W: Fn(u32) -> f64,
    S: Fn(f64, f64) -> f64,
    N: Fn(u32) -> f64,
{
    /// Walks from `user` along `out`, back along `back` and along `out` again.
    pub(super) fn walk(
        &self,
        user: u32,
        [out, back]: [&Adjacency; 2],
        similar: &mut Sums,
        sums: &mut Sums,
    ) {
        for followee in out.of(user) {
            let weight = (self.weight)(*followee);
            for other in back.of(*followee).iter().filter(|other| **other != user) {
                similar.add(*other, weight);
            }
        }
        similar.change(|other, weight| (self.similarity)(weight, out.degree(other) as f64));
        let least = self.neighbours.map_or(0.0, |count| nth_highest(similar, count));
        for (other, similarity) in similar.drain().filter(|(_, similarity)| *similarity >= least) {
            for end in out.of(other) {
                sums.add(*end, similarity);
            }
        }
        sums.change(|end, sum| sum * (self.norm)(end));
    }
}

fn nth_highest(sums: &Sums, count: usize) -> f64 {
    let mut values: Vec<f64> = sums.iter().map(|(_, value)| value).collect();
    if count == 0 || values.len() <= count {
        return 0.0;
    }
    *values.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
}
