//! Twitter's first recommender: SALSA between a circle of trust and whom it follows (Gupta et al.: "WTF: The
//! Who to Follow Service at Twitter", 2013).

use super::{
    super::graph::Adjacency,
    pagerank::{Push, PushSpace},
    sums::Sums,
};

/// Those who are closest to the user.
const CIRCLE: usize = 500;
const CIRCLE_PUSH: Push = Push { stop: 0.2, epsilon: 1e-5, edges: 100_000 };
/// The share of walks that begin again in the circle.
const RESTART: f64 = 0.2;
const ROUNDS: usize = 6;

/// Adds to `sums` how much of the circle's attention each user has.
pub(super) fn salsa(
    user: u32,
    following: &Adjacency,
    space: &mut PushSpace,
    in_degrees: &mut Sums,
    sums: &mut Sums,
) {
    CIRCLE_PUSH.run(user, following, space, sums);
    let mut circle: Vec<(u32, f64)> = sums.drain().collect();
    let closer = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    circle.sort_unstable_by(closer);
    circle.truncate(CIRCLE);
    let total: f64 = circle.iter().map(|(_, weight)| weight).sum();
    for (hub, weight) in &mut circle {
        *weight /= total;
        for authority in following.of(*hub) {
            in_degrees.add(*authority, 1.0);
        }
    }
    let mut weights: Vec<f64> = circle.iter().map(|(_, weight)| *weight).collect();
    for round in 0..ROUNDS {
        sums.clear();
        for ((hub, _), weight) in circle.iter().zip(&weights) {
            let list = following.of(*hub);
            for authority in list {
                sums.add(*authority, weight / list.len() as f64);
            }
        }
        if round + 1 == ROUNDS {
            break;
        }
        for ((hub, start), weight) in circle.iter().zip(&mut weights) {
            let back = |authority: &u32| sums.get(*authority) / in_degrees.get(*authority);
            let returned: f64 = following.of(*hub).iter().map(back).sum();
            *weight = RESTART * start + (1.0 - RESTART) * returned;
        }
    }
    in_degrees.clear();
}
