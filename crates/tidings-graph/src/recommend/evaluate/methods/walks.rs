//! Random walks between followees and their followers (Eksombatchai et al.: "Pixie: A System for Recommending
//! 3+ Billion Items to 200+ Million Users in Real-Time", 2018).

use super::{super::graph::Adjacency, sums::Sums};

/// Steps of all walks of a user together.
const STEPS: f64 = 20_000.0;
/// The share of steps before which a walk returns to where it began.
const RESTART: f64 = 0.3;
const SEED: u64 = 7;

/// A generator of random numbers (Marsaglia: "Xorshift RNGs", 2003).
struct Xorshift(u64);

impl Xorshift {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to less than 1.
    fn fraction(&mut self) -> f64 {
        (self.draw() >> 40) as f64 / 16_777_216.0
    }

    fn pick(&mut self, list: &[u32]) -> Option<u32> {
        let place = (self.draw() >> 16) % (list.len() as u64).max(1);
        list.get(place as usize).copied()
    }
}

/// Adds to `sums` how often walks from whom the user follows visit each user; who is reached from many of
/// them counts more. The same user has the same walks.
pub(super) fn random_walks(
    user: u32,
    [following, followers]: [&Adjacency; 2],
    visits: &mut Sums,
    sums: &mut Sums,
) {
    let mut random =
        Xorshift(SEED.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(user) + 1));
    // The more followers somebody has, the more steps it takes to see where they lead.
    let weight = |followee: &u32| (followers.degree(*followee) as f64).ln_1p();
    let total: f64 = following.of(user).iter().map(weight).sum();
    for begin in following.of(user) {
        let steps = STEPS * weight(begin) / total;
        let mut at = *begin;
        let mut step = 1.0;
        while step <= steps {
            step += 1.0;
            if random.fraction() < RESTART {
                at = *begin;
            }
            let Some(other) = random.pick(followers.of(at)) else { break };
            let Some(next) = random.pick(following.of(other)) else { break };
            if other != user {
                visits.add(next, 1.0);
            }
            at = next;
        }
        for (visited, count) in visits.drain() {
            sums.add(visited, count.sqrt());
        }
    }
    sums.change(|_, sum| sum * sum);
}
