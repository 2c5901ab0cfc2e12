//! The best of many.

use std::cmp::Ordering;

/// The `count` users with the highest scores who are not left out, best first; of equals the lower number.
pub(super) fn best(scores: &[f64], is_left_out: &[bool], count: usize) -> Vec<u32> {
    let better = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if count == 0 {
        return Vec::new();
    }
    let mut kept: Vec<(f64, u32)> = Vec::with_capacity(2 * count);
    // Of equals the lower number came first: what only reaches the threshold is not better.
    let mut threshold = f64::NEG_INFINITY;
    for (user, (score, is_left_out)) in (0_u32..).zip(scores.iter().zip(is_left_out)) {
        if *is_left_out || score.total_cmp(&threshold) != Ordering::Greater {
            continue;
        }
        kept.push((*score, user));
        if kept.len() == 2 * count {
            kept.select_nth_unstable_by(count - 1, better);
            kept.truncate(count);
            threshold = kept[count - 1].0;
        }
    }
    kept.sort_unstable_by(better);
    kept.truncate(count);
    kept.into_iter().map(|(_, user)| user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_of_equals_the_lower_number() {
        let scores = [0.5, 2.0, 0.5, 9.0, 0.5, -1.0, 2.0];
        let mut is_left_out = [false; 7];
        is_left_out[3] = true;
        assert_eq!(best(&scores, &is_left_out, 3), [1, 6, 0]);
        assert_eq!(best(&scores, &is_left_out, 1), [1]);
        assert_eq!(best(&scores, &is_left_out, 100), [1, 6, 0, 2, 4, 5]);
        assert_eq!(best(&scores, &is_left_out, 0), [0; 0]);
    }

    #[test]
    fn many_are_ranked_as_by_sorting_all() {
        let score = |user: u64| f64::from(u32::try_from(crate::hash::mix(user) % 50).unwrap());
        let scores: Vec<f64> = (0..2_000).map(score).collect();
        let mut all: Vec<u32> = (0..2_000).collect();
        all.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
        assert_eq!(best(&scores, &[false; 2_000], 100), all[..100]);
    }
}
