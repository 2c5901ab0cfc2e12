//! `PushDispatcher` while things break.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidings_core::{
    clock::{Clock, ManualClock, SystemClock},
    delivery::Outcome,
    device::Platform,
    ports::PushProvider,
    retry::RetryPolicy,
};
use tidings_delivery::dispatcher::DispatcherConfig;
use tidings_simulators::GoAwayForm;

use crate::{
    dispatch::{Running, unread},
    harness::{Apns, device, eventually, manual_clock, notification, start},
    store::MemoryDeliveryStore,
};

/// Retries soon, and without end.
fn impatient() -> DispatcherConfig {
    DispatcherConfig {
        retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 5, cap_ms: 20 },
        store_retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 5, cap_ms: 20 },
        ..DispatcherConfig::default()
    }
}

fn plan(store: &MemoryDeliveryStore, numbers: std::ops::Range<u64>, clock: &dyn Clock) {
    for number in numbers {
        store.register(device(Platform::Apns, number));
        store.plan(notification(number, clock.now(), json!({})), unread(), clock.now());
    }
}

fn delivered(store: &MemoryDeliveryStore) -> usize {
    store.log().iter().filter(|row| row.outcome == Outcome::Delivered).count()
}

#[tokio::test]
async fn a_dispatcher_that_dies_before_it_settles_sends_again_under_the_same_identity() {
    let (clock, store) = (manual_clock(), Arc::<MemoryDeliveryStore>::default());
    let shared = || -> Arc<dyn Clock> { Arc::<ManualClock>::clone(&clock) };
    let apns = Apns::start(shared()).await;
    let ledger = apns.simulator.ledger();
    let provider: Arc<dyn PushProvider> = Arc::new(apns.client(shared()));
    plan(&store, 0..20, &*clock);
    store.set_settling_stuck(true);
    let config = DispatcherConfig::default();
    let first = Running::start(config.clone(), &store, vec![Arc::clone(&provider)], shared());
    eventually("all are sent", || ledger.counts().accepted == 20).await;
    drop(first);
    store.set_settling_stuck(false);
    assert_eq!((store.open(), store.log().len()), (20, 0));
    clock.advance(config.lease);
    let _second = Running::start(config, &store, vec![provider], shared());
    eventually("all are settled", || store.open() == 0).await;
    let counts = ledger.counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (40, 20, 20));
    assert_eq!(delivered(&store), 20);
}

#[tokio::test]
async fn a_store_out_of_reach_is_waited_for_and_nothing_is_lost_or_doubled() {
    let (clock, store) = (manual_clock(), Arc::<MemoryDeliveryStore>::default());
    let shared = || -> Arc<dyn Clock> { Arc::<ManualClock>::clone(&clock) };
    let apns = Apns::start(shared()).await;
    let ledger = apns.simulator.ledger();
    plan(&store, 0..20, &*clock);
    store.fail_next(5);
    let provider: Arc<dyn PushProvider> = Arc::new(apns.client(shared()));
    let running = Running::start(impatient(), &store, vec![provider], shared());
    eventually("all are settled", || store.open() == 0).await;
    // The next outage comes while pushes are under way, and holds up their settlements as well.
    apns.simulator.control().connections().set_latency(Duration::from_millis(50));
    plan(&store, 20..40, &*clock);
    running.handle.wake();
    eventually("all are sent", || ledger.counts().accepted == 40).await;
    store.fail_next(20);
    eventually("all are settled", || store.open() == 0).await;
    let counts = ledger.counts();
    assert_eq!((counts.accepted, counts.distinct_identities), (40, 40));
    assert_eq!((delivered(&store), store.log().len()), (40, 40));
}

#[tokio::test]
async fn stopping_claims_no_more_and_finishes_what_is_under_way() {
    let (clock, store) = (manual_clock(), Arc::<MemoryDeliveryStore>::default());
    let shared = || -> Arc<dyn Clock> { Arc::<ManualClock>::clone(&clock) };
    let apns = Apns::start(shared()).await;
    apns.simulator.control().connections().set_latency(Duration::from_millis(200));
    plan(&store, 0..20, &*clock);
    let provider: Arc<dyn PushProvider> = Arc::new(apns.client(shared()));
    let running = Running::start(DispatcherConfig::default(), &store, vec![provider], shared());
    eventually("some are under way", || apns.simulator.ledger().counts().accepted > 0).await;
    let late = notification(99, start(), json!({}));
    store.plan(late, unread(), start().after(Duration::from_secs(1)));
    running.stop().await;
    assert_eq!((delivered(&store), store.open()), (20, 1));
}

#[tokio::test]
async fn whatever_happens_to_connections_every_push_arrives_under_one_identity() {
    let store = Arc::<MemoryDeliveryStore>::default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let apns = Apns::start(Arc::clone(&clock)).await;
    let faults = apns.simulator.control().connections();
    faults.set_latency(Duration::from_millis(5));
    faults.set_go_away_after(200, GoAwayForm::Abrupt);
    faults.kill_before_answer(20);
    plan(&store, 0..2_000, &*clock);
    let provider: Arc<dyn PushProvider> = Arc::new(apns.client(Arc::clone(&clock)));
    let running = Running::start(impatient(), &store, vec![provider], clock);
    for third in 1..3 {
        eventually("a third has arrived", || delivered(&store) >= third * 600).await;
        faults.kill_connections();
        faults.set_go_away_after(150, GoAwayForm::Graceful);
    }
    eventually("all are settled", || store.open() == 0).await;
    running.stop().await;
    let counts = apns.simulator.ledger().counts();
    assert_eq!((delivered(&store), counts.distinct_identities), (2_000, 2_000));
    assert_eq!(counts.accepted, counts.distinct_identities + counts.duplicates);
}
