//! What being shown in vain takes off a score.

use std::{collections::HashMap, time::Duration};

use tidings_core::{clock::Timestamp, ids::UserId, recommendation::Impressions};

/// What being shown in vain takes off a score. Whoever was followed is recommended no more, so all
/// impressions of those who still are have been in vain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImpressionDiscount {
    /// The factor of each impression, above 0 and up to 1.
    pub decay: f32,
    /// The least factor that impressions come to, from 0 to 1.
    pub floor: f32,
    /// How long after the last impression a score is whole again; it comes back evenly.
    pub recovery: Duration,
}

impl ImpressionDiscount {
    /// The factor of somebody who was shown so, at `now`.
    #[must_use]
    pub fn factor(&self, impressions: &Impressions, now: Timestamp) -> f32 {
        let times = i32::try_from(impressions.times).unwrap_or(i32::MAX);
        let least = self.decay.powi(times).max(self.floor);
        let since = now.since(impressions.last_at).as_secs_f32();
        let recovered = (since / self.recovery.as_secs_f32().max(1.0)).min(1.0);
        least + (1.0 - least) * recovered
    }

    /// What scores are multiplied by, where it is not 1: the discount of those who were shown, times
    /// the app's own `boosts`.
    #[must_use]
    pub fn factors(
        &self,
        impressions: &[Impressions],
        boosts: HashMap<UserId, f32>,
        now: Timestamp,
    ) -> HashMap<UserId, f32> {
        let mut factors = boosts;
        for it in impressions {
            *factors.entry(it.shown.clone()).or_insert(1.0) *= self.factor(it, now);
        }
        factors.retain(|_, factor| (*factor - 1.0).abs() > f32::EPSILON);
        factors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn discount() -> ImpressionDiscount {
        ImpressionDiscount { decay: 0.8, floor: 0.1, recovery: DAY * 30 }
    }

    fn shown(times: u32, last_at: Timestamp) -> Impressions {
        Impressions { shown: UserId::new("u_9").unwrap(), times, last_at }
    }

    #[test]
    fn each_impression_counts_down_to_the_floor_and_time_brings_the_score_back() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        for (times, days, expected) in [
            (0, 0, 1.0),
            (1, 0, 0.8),
            (3, 0, 0.512),
            (11, 0, 0.1),
            (u32::MAX, 0, 0.1),
            (1, 15, 0.9),
            (11, 15, 0.55),
            (11, 30, 1.0),
            (11, 300, 1.0),
        ] {
            let factor = discount().factor(&shown(times, now.before(DAY * days)), now);
            assert!((factor - expected).abs() < 1e-4, "{times} times, {days} days: {factor}");
        }
        // A clock that was set back is not younger than now.
        let ahead = discount().factor(&shown(1, now.after(DAY)), now);
        assert!((ahead - 0.8).abs() < 1e-4, "{ahead}");
    }

    #[test]
    fn boosts_come_on_top_and_what_changes_nothing_is_left_out() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let user = |id| UserId::new(id).unwrap();
        let boosts = HashMap::from([(user("u_9"), 10.0), (user("u_7"), 1.5), (user("u_1"), 1.0)]);
        let old = Impressions { shown: user("u_2"), times: 1, last_at: now.before(DAY * 31) };
        let factors = discount().factors(&[shown(1, now), old], boosts, now);
        assert_eq!(factors, HashMap::from([(user("u_9"), 8.0), (user("u_7"), 1.5)]));
    }
}
