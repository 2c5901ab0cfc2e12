//! What one method reached, over all test users.

use std::time::Duration;

use super::measures::{Measure, Measured};

/// A mean over test users.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// With 95 % confidence, the mean over all users is within this distance (normal approximation);
    /// infinite for one test user.
    pub ci95: f64,
}

/// What one method reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    estimates: [Estimate; Measure::ALL.len()],
    /// Users who are among the first ten of any test user, as a share of all users.
    pub coverage: f64,
    /// How long the ranking of a user took, in the middle.
    pub p50: Duration,
    /// How long it took at most for 95 % of the users.
    pub p95: Duration,
}

impl Summary {
    /// What was measured.
    #[must_use]
    pub fn of(&self, measure: Measure) -> Estimate {
        self.estimates[measure as usize]
    }

    /// Sums up what was measured for each user, of whom there is one at least.
    pub(super) fn new(users: &[(Measured, Duration)], coverage: f64) -> Self {
        let mut took: Vec<Duration> = users.iter().map(|(_, took)| *took).collect();
        took.sort_unstable();
        let of = |measure: Measure| {
            estimate(users.iter().map(move |(measured, _)| measured[measure as usize]))
        };
        Self {
            estimates: Measure::ALL.map(of),
            coverage,
            p50: quantile(&took, 50),
            p95: quantile(&took, 95),
        }
    }
}

fn estimate(values: impl ExactSizeIterator<Item = f64> + Clone) -> Estimate {
    let count = values.len() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    let error = if count > 1.0 { (squares / (count - 1.0) / count).sqrt() } else { f64::INFINITY };
    Estimate { mean, ci95: 1.96 * error }
}

/// The least that `percent` of the times do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_come_with_their_confidence_and_times_with_quantiles() {
        let user = |value: f64, millis| ([value; 7], Duration::from_millis(millis));
        let users = [user(0.0, 4), user(1.0, 1), user(0.5, 2), user(0.5, 3)];
        let summary = Summary::new(&users, 0.25);
        let Estimate { mean, ci95 } = summary.of(Measure::Recall);
        assert!((mean - 0.5).abs() < 1e-12);
        assert!((ci95 - 1.96 * (0.5_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(
            (summary.p50, summary.p95),
            (Duration::from_millis(2), Duration::from_millis(4))
        );
    }
}
