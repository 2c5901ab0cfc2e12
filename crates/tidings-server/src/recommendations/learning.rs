//! Learns from the graph how to recommend, after the start and from time to time.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Gauge};
use tidings_core::error_chain::ErrorChain;
use tidings_graph::recommend::{Fit, Learned};
use tokio_util::sync::CancellationToken;

use super::recommender::Recommender;

/// How long a node that has started has to itself.
const FIRST: Duration = Duration::from_secs(5);
/// When to try again after a failure, and where there are too few users to learn from;
const AGAIN: Duration = Duration::from_secs(300);
/// and where there are fewer than wanted: more may come soon.
const SOON: Duration = Duration::from_secs(3_600);

/// Learns from the graph how to recommend.
pub struct Learning {
    recommender: Arc<Recommender>,
    users: usize,
    every: Duration,
    measures: Measures,
}

struct Measures {
    learned: Counter,
    kept: Counter,
    too_few: Counter,
    failed: Counter,
    /// By the model that is built in, and by what was learned.
    ndcg: [Gauge; 2],
}

impl Measures {
    fn new() -> Self {
        const FITS: &str = "tidings_recommendation_fits_total";
        const NDCG: &str = "tidings_recommendation_fit_ndcg";
        metrics::describe_counter!(FITS, "What came of learning from the graph how to recommend");
        metrics::describe_gauge!(
            NDCG,
            "NDCG@10 of held-out follows among the candidates, when it was last learned"
        );
        let outcome = |name: &'static str| metrics::counter!(FITS, "outcome" => name);
        Self {
            learned: outcome("learned"),
            kept: outcome("kept"),
            too_few: outcome("too_few"),
            failed: outcome("failed"),
            ndcg: ["built_in", "learned"].map(|model| metrics::gauge!(NDCG, "model" => model)),
        }
    }
}

impl Learning {
    /// Learns from so many users, this often.
    #[must_use]
    pub fn new(recommender: Arc<Recommender>, users: usize, every: Duration) -> Self {
        Self { recommender, users, every, measures: Measures::new() }
    }

    /// Learns until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut wait = FIRST;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            // What is learned at a stop is forgotten.
            wait = tokio::select! {
                () = stop.cancelled() => return,
                wait = self.learn() => wait,
            };
        }
    }

    /// Learns once; when to learn again.
    async fn learn(&self) -> Duration {
        let fit = match self.recommender.learn(self.users).await {
            Ok(fit) => fit,
            Err(error) => {
                self.measures.failed.increment(1);
                tracing::warn!(
                    error = %ErrorChain(&error),
                    "how to recommend cannot be learned from the graph: recommending as before"
                );
                return AGAIN.min(self.every);
            }
        };
        match &fit.learned {
            Some([order, _]) => self.tell(&fit, order),
            None => self.measures.too_few.increment(1),
        }
        wait_after(&fit, self.users, self.every)
    }

    fn tell(&self, fit: &Fit, order: &Learned) {
        let outcome = if order.is_taken { &self.measures.learned } else { &self.measures.kept };
        outcome.increment(1);
        self.measures.ndcg.iter().zip(order.ndcg).for_each(|(gauge, ndcg)| gauge.set(ndcg));
        let [built_in, learned] = order.ndcg;
        tracing::info!(
            users = fit.users,
            follows = fit.follows,
            built_in_ndcg = built_in,
            learned_ndcg = learned,
            is_taken = order.is_taken,
            "learned from the graph how to recommend"
        );
    }
}

/// When to learn again after a fit for which so many users were wanted.
fn wait_after(fit: &Fit, wanted: usize, every: Duration) -> Duration {
    let wait = match fit.learned {
        None => AGAIN,
        Some(_) if fit.drawn < wanted => SOON,
        Some(_) => every,
    };
    wait.min(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_again_as_often_as_told_and_sooner_where_users_are_few() {
        let learned = Some([Learned { ndcg: [0.1, 0.2], is_taken: true }; 2]);
        // Some of those who were drawn teach nothing: that alone is no reason to look again.
        let enough = Fit { drawn: 1_000, users: 850, follows: 2_000, learned };
        let few = Fit { drawn: 300, users: 250, ..enough };
        let too_few = Fit { drawn: 12, users: 9, follows: 11, learned: None };
        for (every, waits) in [(86_400, [86_400, 3_600, 300]), (60, [60; 3])] {
            let every = Duration::from_secs(every);
            let found = [enough, few, too_few].map(|fit| wait_after(&fit, 1_000, every));
            assert_eq!(found, waits.map(Duration::from_secs));
        }
    }
}
