//! Forgets what is too old, a little at a time.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    ports::{Cutoffs, RetentionStore},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::RetentionSection;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// After everything was looked at.
const REST: Duration = Duration::from_secs(600);
/// After a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// A round that takes longer is behind, and goes on without a pause.
const BEHIND: Duration = Duration::from_secs(3_600);

/// The task that keeps a store from growing for ever.
pub struct Retention {
    store: Arc<dyn RetentionStore>,
    clock: Arc<dyn Clock>,
    section: RetentionSection,
    /// How long it is remembered who was shown to whom.
    impressions_days: u32,
}

impl Retention {
    /// Forgets in `store` what `section` says, and impressions of recommendations after so many days.
    pub fn new(
        store: Arc<dyn RetentionStore>,
        clock: Arc<dyn Clock>,
        section: RetentionSection,
        impressions_days: u32,
    ) -> Self {
        Self { store, clock, section, impressions_days }
    }

    /// Forgets until `stop`. A step that is cut off is made again later.
    pub async fn run(self, stop: CancellationToken) {
        describe_metrics();
        let mut round_began = Instant::now();
        loop {
            let rest = self.step(&mut round_began).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Makes one step and says how long to rest.
    async fn step(&self, round_began: &mut Instant) -> Duration {
        let cutoffs = Cutoffs {
            impressions: Some(self.clock.now().before(DAY * self.impressions_days)),
            ..cutoffs(&self.section, self.clock.now())
        };
        match self.store.forget(cutoffs, self.section.step_rows).await {
            Ok(forgotten) => {
                for (what, count) in [
                    ("notifications", forgotten.notifications),
                    ("events", forgotten.events),
                    ("deliveries", forgotten.deliveries),
                    ("devices", forgotten.devices),
                    ("impressions", forgotten.impressions),
                ] {
                    metrics::counter!("tidings_forgotten_rows_total", "what" => what)
                        .increment(count);
                }
                let round = round_began.elapsed();
                metrics::gauge!("tidings_forgetting_round_seconds").set(round.as_secs_f64());
                if forgotten.complete {
                    *round_began = Instant::now() + REST;
                    return REST;
                }
                let pause = Duration::from_millis(self.section.pause_ms);
                if round > BEHIND { Duration::ZERO } else { pause }
            }
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "nothing could be forgotten");
                AFTER_FAILURE
            }
        }
    }
}

fn cutoffs(section: &RetentionSection, now: Timestamp) -> Cutoffs {
    let before = |days: u32| Some(now.before(DAY * days)).filter(|_| days > 0);
    Cutoffs {
        notifications: before(section.notifications_days),
        expired: before(section.expired_days),
        deliveries: before(section.deliveries_days),
        answers: Some(now.before(HOUR * section.answers_hours)),
        devices: before(section.devices_days),
        ..Cutoffs::default()
    }
}

fn describe_metrics() {
    metrics::describe_counter!(
        "tidings_forgotten_rows_total",
        "Rows that retention has removed, by what they were"
    );
    metrics::describe_gauge!(
        "tidings_forgetting_round_seconds",
        metrics::Unit::Seconds,
        "How long retention has been looking since it had last seen everything"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tidings_core::{
        clock::ManualClock,
        ports::{Forgotten, StoreError},
    };

    use super::*;

    /// Says what it was told to forget, and is done after three steps.
    #[derive(Default)]
    struct Steps(Mutex<Vec<(Cutoffs, usize)>>);

    #[async_trait]
    impl RetentionStore for Steps {
        async fn forget(&self, cutoffs: Cutoffs, limit: usize) -> Result<Forgotten, StoreError> {
            let mut steps = self.0.lock().unwrap();
            steps.push((cutoffs, limit));
            Ok(Forgotten { complete: steps.len().is_multiple_of(3), ..Forgotten::default() })
        }
    }

    /// Never done; knows when it was asked.
    #[derive(Default)]
    struct Endless(Mutex<Vec<Instant>>);

    /// How long it takes to forget a step there.
    const STEP: Duration = Duration::from_secs(1);

    #[async_trait]
    impl RetentionStore for Endless {
        async fn forget(&self, _: Cutoffs, _: usize) -> Result<Forgotten, StoreError> {
            self.0.lock().unwrap().push(Instant::now());
            tokio::time::sleep(STEP).await;
            Ok(Forgotten::default())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_is_behind_goes_on_without_a_pause() {
        let store = Arc::new(Endless::default());
        let now = Timestamp::from_millis(1_790_000_000_000);
        let pause = Duration::from_secs(59);
        let section = RetentionSection { pause_ms: 59_000, ..section() };
        let shared: Arc<dyn RetentionStore> = Arc::<Endless>::clone(&store);
        let retention = Retention::new(shared, ManualClock::new(now), section, 5);
        let start = Instant::now();
        tokio::select! {
            () = retention.run(CancellationToken::new()) => {}
            () = tokio::time::sleep(BEHIND + Duration::from_secs(120)) => {}
        }
        let asked = store.0.lock().unwrap();
        let mut steps = [0, 0];
        for pair in asked.windows(2) {
            let gap = pair[1] - pair[0];
            // A timer is late by a few milliseconds, and each adds to those before it.
            let is_behind = pair[0] + STEP - start > BEHIND;
            assert!(is_behind == (gap < STEP + pause), "{gap:?} after {:?}", pair[0] - start);
            steps[usize::from(is_behind)] += 1;
        }
        assert!(steps[0] >= 59 && steps[1] >= 59, "{steps:?}");
    }

    fn section() -> RetentionSection {
        RetentionSection {
            notifications_days: 2,
            expired_days: 0,
            deliveries_days: 1,
            answers_hours: 3,
            devices_days: 4,
            revocations_days: 1,
            step_rows: 7,
            pause_ms: 50,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steps_follow_each_other_until_all_is_done_and_zero_days_keep_all() {
        let store = Arc::new(Steps::default());
        let now = Timestamp::from_millis(1_790_000_000_000);
        let section = section();
        let clock = ManualClock::new(now);
        let shared: Arc<dyn RetentionStore> = Arc::<Steps>::clone(&store);
        let retention = Retention::new(shared, clock, section, 5);
        let stop = CancellationToken::new();
        let all_but_the_last_rest = REST + Duration::from_millis(230);
        tokio::select! {
            () = retention.run(stop.clone()) => {}
            () = tokio::time::sleep(all_but_the_last_rest) => {}
        }
        let steps = store.0.lock().unwrap();
        let cutoffs = Cutoffs {
            notifications: Some(now.before(DAY * 2)),
            expired: None,
            deliveries: Some(now.before(DAY)),
            answers: Some(now.before(HOUR * 3)),
            devices: Some(now.before(DAY * 4)),
            impressions: Some(now.before(DAY * 5)),
        };
        assert_eq!(*steps, vec![(cutoffs, 7); 6]);
    }
}
