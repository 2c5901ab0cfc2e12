//! What one push service does to the others, and to itself. Time is the runtime's, and paused.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;
use tidings_core::{
    clock::Clock,
    delivery::{Concerned, Delivery, Outcome, Verdict},
    device::{Environment, Platform, PushToken},
    ports::PushProvider,
    retry::RetryPolicy,
    route::RoutingPolicy,
};
use tidings_delivery::dispatcher::{
    BreakerState, BrowserVendor, DispatcherConfig, Lane, LaneLimits, LaneScope, PushLanes,
    RefusedPart,
};
use tokio::time::{Instant, sleep};

use crate::{
    dispatch::{Running, lane, unread},
    harness::{device, notification},
    scripted::{RuntimeClock, ScriptedProvider},
    store::MemoryDeliveryStore,
};

const SECOND: Duration = Duration::from_secs(1);

/// Two services, and a dispatcher on the runtime's time.
struct World {
    store: Arc<MemoryDeliveryStore>,
    clock: Arc<dyn Clock>,
    apns: Arc<ScriptedProvider>,
    fcm: Arc<ScriptedProvider>,
    lanes: Arc<PushLanes>,
    running: Running,
}

impl World {
    fn start(limits: &LaneLimits) -> Self {
        let apns = ScriptedProvider::new(Platform::Apns, |_| Verdict::Delivered);
        let fcm = ScriptedProvider::new(Platform::Fcm, |_| Verdict::Delivered);
        let (store, clock) = (Arc::<MemoryDeliveryStore>::default(), RuntimeClock::shared());
        let of = |provider: Arc<dyn PushProvider>| lane(provider, limits.clone());
        let lanes = vec![of(Arc::clone(&apns) as _), of(Arc::clone(&fcm) as _)];
        let lanes = Arc::new(PushLanes::new(lanes));
        let config = DispatcherConfig {
            retry: RetryPolicy { max_attempts: 20, base_ms: 1_000, cap_ms: 10_000 },
            ..DispatcherConfig::default()
        };
        let (routing, shared) = (RoutingPolicy::default(), Arc::clone(&clock));
        let running = Running::on_lanes(config, &store, &lanes, routing, shared);
        Self { store, clock, apns, fcm, lanes, running }
    }

    /// Has a push of each number fall due now.
    fn push(&self, platform: Platform, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.store.register(device(platform, number));
            let now = self.clock.now();
            self.store.plan(notification(number, now, json!({})), unread(), now);
        }
        self.running.handle.wake();
    }

    fn state(&self, platform: Platform) -> BreakerState {
        let health = self.lanes.health();
        health.iter().find(|it| it.platform == platform).expect("a lane").state
    }

    fn rows(&self, outcome: Outcome) -> Vec<Delivery> {
        self.store.log().into_iter().filter(|row| row.outcome == outcome).collect()
    }
}

fn small() -> LaneLimits {
    LaneLimits { concurrency: 50, ..LaneLimits::default() }
}

/// Waits until `holds`, at most so long.
async fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_left_alone_and_delays_no_other() {
    let world = World::start(&small());
    world.apns.set(|_| Verdict::Unavailable { after: None });
    world.push(Platform::Apns, 0..2_000);
    world.push(Platform::Fcm, 2_000..4_000);
    let others = || world.fcm.taken().len() == 2_000;
    within(3 * SECOND, "the other service has all of its pushes", others).await;
    assert_eq!(world.state(Platform::Apns), BreakerState::Open);
    sleep(30 * SECOND).await;
    // What was under way when it opened, and a probe now and then.
    assert!(world.apns.sends() <= 50 + 10 + 20, "{}", world.apns.sends());
    assert_eq!(world.rows(Outcome::Failed), []);

    world.apns.set(|_| Verdict::Delivered);
    within(180 * SECOND, "the backlog is gone", || world.store.open() == 0).await;
    let taken = world.apns.taken();
    assert_eq!((taken.len(), taken.values().max()), (2_000, Some(&1)), "each once");
    assert_eq!(world.state(Platform::Apns), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_delays_no_other() {
    let world = World::start(&small());
    world.apns.set_latency(1_000_000 * SECOND);
    world.push(Platform::Apns, 0..5_000);
    world.push(Platform::Fcm, 5_000..6_000);
    let others = || world.fcm.taken().len() == 1_000;
    within(10 * SECOND, "the other service has all of its pushes", others).await;
    assert_eq!(world.apns.sends(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_delays_no_other() {
    let world = World::start(&small());
    world.apns.set_latency(5 * SECOND);
    world.push(Platform::Apns, 0..5_000);
    sleep(20 * SECOND).await;
    world.push(Platform::Fcm, 5_000..5_100);
    let others = || world.fcm.taken().len() == 100;
    within(3 * SECOND, "the other service has all of its pushes", others).await;
    assert!(world.apns.sends() >= 200, "it goes on: {}", world.apns.sends());
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_stops_its_lane_and_fails_nothing() {
    let world = World::start(&small());
    world.apns.set(|_| Verdict::CallAPerson);
    world.push(Platform::Apns, 0..500);
    sleep(300 * SECOND).await;
    assert!(world.apns.sends() <= 50 + 30, "{}", world.apns.sends());
    let health = world.lanes.health();
    assert_eq!(health[0].why.as_deref(), Some("as_told"));
    world.apns.set(|_| Verdict::Delivered);
    within(200 * SECOND, "all are delivered", || world.store.open() == 0).await;
    assert_eq!(world.rows(Outcome::Failed), []);
    assert_eq!(world.apns.taken().len(), 500);
    assert_eq!(world.lanes.health()[0].why, None);
}

/// What is said of an app.
fn refused(app: Option<&str>) -> RefusedPart {
    RefusedPart { app: app.map(str::to_owned), why: "as_told".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_for_one_app_stops_that_app_and_delays_no_other() {
    let world = World::start(&small());
    world.apns.set(|push| match push.device.app.as_str() {
        "other" => Verdict::CallAPersonFor(Concerned::App),
        _ => Verdict::Delivered,
    });
    for number in 0..500 {
        let mut device = device(Platform::Apns, number);
        device.app = if number % 2 == 0 { "other".to_owned() } else { device.app };
        world.store.register(device);
        let now = world.clock.now();
        world.store.plan(notification(number, now, json!({})), unread(), now);
    }
    world.running.handle.wake();
    let others = || world.apns.taken().len() == 250;
    within(3 * SECOND, "the other app has all of its pushes", others).await;
    sleep(300 * SECOND).await;
    assert!(world.apns.sends() <= 250 + 50 + 30, "{}", world.apns.sends());
    let health = world.lanes.health();
    assert_eq!((health[0].state, &health[0].why), (BreakerState::Closed, &None));
    assert_eq!(health[0].refused, [refused(Some("other"))]);
    world.apns.set(|_| Verdict::Delivered);
    within(200 * SECOND, "all are delivered", || world.store.open() == 0).await;
    assert_eq!((world.rows(Outcome::Failed).len(), world.apns.taken().len()), (0, 500));
    assert_eq!(world.lanes.health()[0].refused, []);
}

#[tokio::test(start_paused = true)]
async fn devices_that_a_service_has_no_credential_for_wait_and_stop_nothing() {
    let world = World::start(&small());
    world.fcm.set(|push| match push.device.id.as_str() {
        "fcm-0" => Verdict::CallAPersonFor(Concerned::Devices),
        _ => Verdict::Delivered,
    });
    for round in 0..50 {
        world.push(Platform::Fcm, round..round + 1);
        sleep(SECOND).await;
        assert_eq!(world.state(Platform::Fcm), BreakerState::Closed);
    }
    let health = world.lanes.health();
    let fcm = health.iter().find(|it| it.platform == Platform::Fcm).expect("a lane");
    assert_eq!(fcm.refused, [refused(None)]);
    assert_eq!((world.fcm.taken().len(), world.store.open()), (49, 1));
    world.fcm.set(|_| Verdict::Delivered);
    within(60 * SECOND, "it is delivered, too", || world.store.open() == 0).await;
    assert_eq!(world.rows(Outcome::Failed), []);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_asked_too_much_is_asked_less_and_loses_nothing() {
    let world = World::start(&small());
    let began = Instant::now();
    // A hundred a minute, as services count.
    let allowed = std::sync::Mutex::new((began, 0));
    world.fcm.set(move |_| {
        let mut allowed = allowed.lock().unwrap();
        if allowed.0.elapsed() >= 60 * SECOND {
            *allowed = (Instant::now(), 0);
        }
        allowed.1 += 1;
        if allowed.1 <= 100 {
            Verdict::Delivered
        } else {
            Verdict::SlowDown { after: Some(60 * SECOND) }
        }
    });
    world.push(Platform::Fcm, 0..1_000);
    let took = within(1_800 * SECOND, "all are delivered", || world.store.open() == 0).await;
    assert!(took >= 540 * SECOND, "{took:?}");
    assert_eq!(world.rows(Outcome::Failed), []);
    let refused = world.rows(Outcome::Retrying).len();
    assert!(refused < 1_500, "most sends were taken: {refused} were not");
    assert!(world.store.log().iter().all(|row| row.attempt == 1), "a quota costs no attempt");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_than_the_quota_allows() {
    let limits = LaneLimits { per_s: Some(100), ramp: 60 * SECOND, ..small() };
    let world = World::start(&limits);
    let began = Instant::now();
    world.push(Platform::Fcm, 0..3_000);
    sleep(10 * SECOND).await;
    let first = world.fcm.sends_between(began, began + SECOND);
    assert!(first <= 30, "it begins slowly: {first}");
    within(300 * SECOND, "all are sent", || world.store.open() == 0).await;
    for second in 0..300 {
        let from = began + second * SECOND;
        let sends = world.fcm.sends_between(from, from + SECOND);
        assert!(sends <= 115, "{sends} in second {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_goes_to_the_lane_of_its_app_and_environment() {
    let named = |name: &str, apps: &[&str], environment| {
        let provider = ScriptedProvider::new(Platform::Apns, |_| Verdict::Delivered);
        let apps: BTreeSet<_> = apps.iter().map(|app| (*app).to_owned()).collect();
        let shared: Arc<dyn PushProvider> = Arc::<ScriptedProvider>::clone(&provider);
        let scope = LaneScope { apps, environment, ..LaneScope::all(Platform::Apns) };
        (provider, Arc::new(Lane::new(name, scope, shared, small())))
    };
    let (others, others_lane) = named("others", &[], Environment::Production);
    let (one, one_lane) = named("one", &["one", "one.beta"], Environment::Production);
    let (sandbox, sandbox_lane) = named("sandbox", &[], Environment::Sandbox);
    let lanes = Arc::new(PushLanes::new(vec![others_lane, Arc::clone(&one_lane), sandbox_lane]));
    let (store, clock) = (Arc::<MemoryDeliveryStore>::default(), RuntimeClock::shared());
    let (config, routing) = (DispatcherConfig::default(), RoutingPolicy::default());
    let running = Running::on_lanes(config, &store, &lanes, routing, Arc::clone(&clock));
    let push = |number, app: &str, environment| {
        let mut device = device(Platform::Apns, number);
        app.clone_into(&mut device.app);
        device.environment = environment;
        store.register(device);
        store.plan(notification(number, clock.now(), json!({})), unread(), clock.now());
        running.handle.wake();
    };
    push(1, "one.beta", Environment::Production);
    push(2, "two", Environment::Production);
    push(3, "one", Environment::Sandbox);
    within(SECOND, "all are settled", || store.open() == 0).await;
    let ids = |provider: &ScriptedProvider| provider.taken().into_keys().collect::<Vec<_>>();
    assert_eq!((ids(&one), ids(&others)), (vec!["apns-1".into()], vec!["apns-2".into()]));
    assert_eq!(ids(&sandbox), ["apns-3"]);

    lanes.replace(vec![one_lane]);
    push(4, "two", Environment::Production);
    push(5, "one", Environment::Production);
    within(SECOND, "all are settled", || store.open() == 0).await;
    let log = store.log();
    let of_4 = log.iter().find(|row| row.target == "apns-4").unwrap();
    assert_eq!(of_4.reason.as_deref(), Some("no_provider"));
    assert_eq!(one.taken().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_push_services_of_browsers_have_lanes_of_their_own() {
    let (store, clock) = (Arc::<MemoryDeliveryStore>::default(), RuntimeClock::shared());
    let provider = ScriptedProvider::new(Platform::WebPush, |push| {
        match BrowserVendor::of(&push.device.token) {
            BrowserVendor::Mozilla => Verdict::Unavailable { after: None },
            _ => Verdict::Delivered,
        }
    });
    let lane = |vendor: BrowserVendor| {
        let scope = LaneScope { vendor: Some(vendor), ..LaneScope::all(Platform::WebPush) };
        let shared: Arc<dyn PushProvider> = Arc::<ScriptedProvider>::clone(&provider);
        Arc::new(Lane::new(vendor.as_str(), scope, shared, small()))
    };
    let lanes = Arc::new(PushLanes::new(BrowserVendor::ALL.map(lane).to_vec()));
    let (config, routing) = (DispatcherConfig::default(), RoutingPolicy::default());
    let running = Running::on_lanes(config, &store, &lanes, routing, Arc::clone(&clock));
    for number in 0..200 {
        let mut device = device(Platform::WebPush, number);
        let is_even = number % 2 == 0;
        let host = if is_even { "fcm.googleapis.com" } else { "updates.push.services.mozilla.com" };
        device.token = PushToken::new(format!("https://{host}/{number}")).unwrap();
        store.register(device);
        store.plan(notification(number, clock.now(), json!({})), unread(), clock.now());
    }
    running.handle.wake();
    within(3 * SECOND, "the others have theirs", || provider.taken().len() == 100).await;
    sleep(SECOND).await;
    let health = lanes.health();
    let open = health.iter().filter(|it| it.state == BreakerState::Open);
    assert_eq!(open.map(|it| it.name.as_str()).collect::<Vec<_>>(), ["mozilla"]);
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_one_after_the_other_open_no_breaker_and_lose_nothing() {
    let world = World::start(&small());
    // Every third push is on a connection that breaks, and many of them at once.
    let count = std::sync::atomic::AtomicU64::new(0);
    world.apns.set(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if (n / 30).is_multiple_of(3) { Verdict::Interrupted } else { Verdict::Delivered }
    });
    world.push(Platform::Apns, 0..300);
    within(60 * SECOND, "all are delivered", || {
        assert_eq!(world.state(Platform::Apns), BreakerState::Closed);
        world.store.open() == 0
    })
    .await;
    assert_eq!((world.rows(Outcome::Failed).len(), world.apns.taken().len()), (0, 300));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_refused_credential_is_given_up_after_a_day() {
    let world = World::start(&small());
    world.apns.set(|_| Verdict::CallAPerson);
    world.push(Platform::Apns, 0..200);
    let day = DispatcherConfig::default().longest_wait;
    sleep(day.mul_f64(0.98)).await;
    assert_eq!((world.rows(Outcome::Failed).len(), world.store.open()), (0, 200));
    within(2_000 * SECOND, "all are given up", || world.store.open() == 0).await;
    let failed = world.rows(Outcome::Failed);
    assert_eq!(failed.len(), 200);
    let waited = failed.iter().filter(|row| row.reason.as_deref() == Some("waited_too_long"));
    assert!(waited.count() > 150, "most were never sent: {failed:?}");
}

#[tokio::test(start_paused = true)]
async fn one_long_pause_that_is_asked_for_stops_the_others_for_a_minute_only() {
    let world = World::start(&small());
    let day = DispatcherConfig::default().longest_wait;
    world.fcm.set(move |push| {
        let is_first = push.device.id.as_str().ends_with('0');
        if is_first { Verdict::SlowDown { after: Some(day / 2) } } else { Verdict::Delivered }
    });
    world.push(Platform::Fcm, 0..1);
    sleep(SECOND).await;
    world.push(Platform::Fcm, 1..10);
    within(180 * SECOND, "the others have theirs", || world.fcm.taken().len() == 9).await;
    assert_eq!(world.store.open(), 1, "the one that asked waits as long as it was told to");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_a_user_has_named_stops_no_other() {
    let (store, clock) = (Arc::<MemoryDeliveryStore>::default(), RuntimeClock::shared());
    let provider = ScriptedProvider::new(Platform::WebPush, |push| {
        match push.device.token.expose().split('/').nth(2) {
            Some("refuses.example") => Verdict::CallAPerson,
            Some("fails.example") => Verdict::Unavailable { after: None },
            Some("pauses.example") => {
                Verdict::SlowDown { after: Some(Duration::from_secs(86_400)) }
            }
            _ => Verdict::Delivered,
        }
    });
    let shared: Arc<dyn PushProvider> = Arc::<ScriptedProvider>::clone(&provider);
    let lane = Arc::new(Lane::new("webpush", LaneScope::all(Platform::WebPush), shared, small()));
    let lanes = Arc::new(PushLanes::new(vec![lane]));
    let (config, routing) = (DispatcherConfig::default(), RoutingPolicy::default());
    let running = Running::on_lanes(config, &store, &lanes, routing, Arc::clone(&clock));
    let hosts = ["refuses.example", "fails.example", "pauses.example", "works.example"];
    for number in 0..200 {
        let mut device = device(Platform::WebPush, number);
        let host = hosts[usize::try_from(number).unwrap() % hosts.len()];
        device.token = PushToken::new(format!("https://{host}/{number}")).unwrap();
        store.register(device);
        store.plan(notification(number, clock.now(), json!({})), unread(), clock.now());
    }
    running.handle.wake();
    within(5 * SECOND, "the host that works has its own", || provider.taken().len() == 50).await;
    assert_eq!(lanes.health()[0].state, BreakerState::Closed);
}
