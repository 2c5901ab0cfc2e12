//! The best of many by a score: as numbers that say both, which sort without a look at anything else.

use super::adjacency::Node;

/// A user with a score that is not negative: the better, the less; of equals the lower number of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scored(u64);

impl Scored {
    pub(super) fn new(score: f32, node: Node) -> Self {
        debug_assert!(score >= 0.0, "{score}");
        // The bits of numbers that are not negative are in the order of the numbers (IEEE 754).
        Self(u64::from(!score.to_bits()) << 32 | u64::from(node))
    }

    pub(super) fn node(self) -> Node {
        Node::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(Node::MAX)
    }

    pub(super) fn score(self) -> f32 {
        f32::from_bits(!u32::try_from(self.0 >> 32).unwrap_or(u32::MAX))
    }
}

/// Keeps the `most` best, in no order.
pub(super) fn keep_best(scored: &mut Vec<Scored>, most: usize) {
    if scored.len() > most {
        scored.select_nth_unstable(most);
        scored.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_and_of_equals_the_lower_numbers() {
        let scores = [(0.5, 3), (0.0, 9), (2.0, u32::MAX), (0.5, 2), (1e-30, 1), (7.5, 0)];
        let mut scored: Vec<_> = scores.iter().map(|it| Scored::new(it.0, it.1)).collect();
        assert_eq!(scored.iter().map(|it| (it.score(), it.node())).collect::<Vec<_>>(), scores);
        keep_best(&mut scored, 3);
        scored.sort_unstable();
        let kept: Vec<_> = scored.iter().map(|it| (it.score(), it.node())).collect();
        assert_eq!(kept, [(7.5, 0), (2.0, u32::MAX), (0.5, 2)]);
        keep_best(&mut scored, 3);
        assert_eq!(scored.len(), 3);
    }
}
