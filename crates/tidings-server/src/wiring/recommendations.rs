//! What recommends whom to follow.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use anyhow::Context;
use tidings_core::clock::Clock;
use tidings_graph::RecommendationEngine;
use tidings_ingest::FollowListener;

use super::stores::Stores;
use crate::{
    config::Config,
    recommendations::{HiddenUsers, ImpressionDiscount, Learning, Recommender, RecommenderConfig},
    supervisor::Supervisor,
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What recommends whom to follow, if anything does, and what keeps it up to date.
pub(super) struct Recommendations {
    pub(super) recommender: Option<Arc<Recommender>>,
    hidden: Option<Arc<HiddenUsers>>,
    learning: Option<Learning>,
}

impl Recommendations {
    /// Reads who is not to be recommended: a node that does not know it must not recommend anybody.
    pub(super) async fn new(
        config: &Config,
        stores: &Stores,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let section = &config.recommendations;
        if !section.enabled {
            return Ok(Self { recommender: None, hidden: None, learning: None });
        }
        let hidden = Arc::new(HiddenUsers::new(stores.store()));
        hidden.load().await.context("who is not to be recommended cannot be read")?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let recommender = Recommender::new(
            RecommendationEngine::new(stores.recommended_graph()),
            stores.store(),
            Arc::clone(&hidden),
            Arc::clone(clock),
            RecommenderConfig {
                limit: section.limit,
                least_known: section.least_known,
                discount: ImpressionDiscount {
                    decay: section.impression_decay,
                    floor: section.impression_floor,
                    recovery: DAY * section.impressions_days,
                },
                cache: Duration::from_millis(config.recommendations_cache_ms()),
                cache_bytes: section.cache_bytes,
                concurrency: if section.concurrency == 0 { cores } else { section.concurrency },
                waiting: section.waiting,
            },
        );
        let recommender = Arc::new(recommender);
        let every = HOUR * section.learn_hours;
        let learning = (section.learn_users > 0)
            .then(|| Learning::new(Arc::clone(&recommender), section.learn_users, every));
        Ok(Self { recommender: Some(recommender), hidden: Some(hidden), learning })
    }

    /// Adds what keeps it up to date.
    pub(super) fn add_to(self, supervisor: &mut Supervisor) {
        supervisor.add_if("hidden users", self.hidden, |it, stop| it.run(stop));
        supervisor.add_if("learning", self.learning, |it, stop| it.run(stop));
    }

    /// Drops a follower's lists.
    pub(super) fn follow_listener(&self) -> FollowListener {
        let recommender = self.recommender.clone();
        Arc::new(move |follower| {
            if let Some(recommender) = &recommender {
                recommender.forget_lists(follower);
            }
        })
    }
}
