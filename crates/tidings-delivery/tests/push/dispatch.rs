//! `PushDispatcher` from due to settled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tidings_core::{
    clock::{Clock, ManualClock},
    delivery::{Channel, Delivery, Outcome, Push, PushAnswer, Verdict},
    device::{Device, Platform, PushToken},
    ids::Seq,
    inbox::InboxState,
    ports::{DeliveryStore, DeviceStore, PushProvider},
    route::RoutingPolicy,
};
use tidings_delivery::dispatcher::{
    DispatcherConfig, DispatcherHandle, Lane, LaneLimits, LaneScope, PushDispatcher, PushLanes,
};
use tidings_simulators::{apns::ApnsDeviceState, fcm::FcmDeviceState};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    harness::{Apns, Fcm, device, eventually, manual_clock, notification, start, token},
    store::MemoryDeliveryStore,
};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn unread() -> InboxState {
    InboxState { last_seq: Seq(1), unread: 1, ..InboxState::default() }
}

/// A lane for all apps, named after its platform.
pub(crate) fn lane(provider: Arc<dyn PushProvider>, limits: LaneLimits) -> Arc<Lane> {
    let platform = provider.platform();
    Arc::new(Lane::new(platform.as_str(), LaneScope::all(platform), provider, limits))
}

/// A dispatcher that runs until it is stopped, or is cut off when this is dropped.
pub(crate) struct Running {
    pub(crate) handle: DispatcherHandle,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Running {
    pub(crate) fn start(
        config: DispatcherConfig,
        store: &Arc<MemoryDeliveryStore>,
        providers: Vec<Arc<dyn PushProvider>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let lanes = providers.into_iter().map(|it| lane(it, LaneLimits::default())).collect();
        let lanes = Arc::new(PushLanes::new(lanes));
        Self::on_lanes(config, store, &lanes, RoutingPolicy::default(), clock)
    }

    pub(crate) fn on_lanes(
        config: DispatcherConfig,
        store: &Arc<MemoryDeliveryStore>,
        lanes: &Arc<PushLanes>,
        routing: RoutingPolicy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let deliveries: Arc<dyn DeliveryStore> = Arc::<MemoryDeliveryStore>::clone(store);
        let devices: Arc<dyn DeviceStore> = Arc::<MemoryDeliveryStore>::clone(store);
        let (lanes, routing) = (Arc::clone(lanes), Arc::new(routing));
        let (dispatcher, handle) =
            PushDispatcher::new(config, deliveries, devices, lanes, routing, clock);
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(dispatcher.run(stop.clone()));
        Self { handle, stop, task }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = timeout(30 * SECOND, self.task.join_next()).await.expect("it stops");
        ended.unwrap().unwrap();
    }
}

/// A store, both services, and a dispatcher between them, all on one clock that stands still.
struct World {
    store: Arc<MemoryDeliveryStore>,
    clock: Arc<ManualClock>,
    apns: Apns,
    fcm: Fcm,
    running: Running,
}

impl World {
    async fn start() -> Self {
        let (clock, store) = (manual_clock(), Arc::<MemoryDeliveryStore>::default());
        let shared = || -> Arc<dyn Clock> { Arc::<ManualClock>::clone(&clock) };
        let (apns, fcm) = (Apns::start(shared()).await, Fcm::start(shared()).await);
        let providers: Vec<Arc<dyn PushProvider>> =
            vec![Arc::new(apns.client(shared())), Arc::new(fcm.client(shared()))];
        let running = Running::start(DispatcherConfig::default(), &store, providers, shared());
        Self { store, clock, apns, fcm, running }
    }

    fn push(&self, number: u64, inbox: InboxState, fields: Value) {
        self.store.plan(notification(number, self.clock.now(), fields), inbox, self.clock.now());
        self.running.handle.wake();
    }

    async fn settled(&self, rows: usize) -> Vec<Delivery> {
        eventually("all is logged", || self.store.log().len() >= rows).await;
        self.store.log()
    }

    fn next_wait(&self) -> Duration {
        self.store.next().expect("a push waits").since(self.clock.now())
    }
}

/// What a log row says, without the times.
fn says(row: &Delivery) -> (Channel, &str, u32, Outcome, Option<&str>) {
    (row.channel, &row.target, row.attempt, row.outcome, row.reason.as_deref())
}

#[tokio::test]
async fn each_device_of_a_user_gets_the_push_once_under_its_identity() {
    let world = World::start().await;
    for number in 0..300 {
        world.store.register(device(Platform::Apns, number));
        world.store.register(device(Platform::Fcm, number));
        world.push(number, unread(), json!({}));
    }
    let log = world.settled(600).await;
    assert_eq!(world.store.open(), 0);
    assert!(log.iter().all(|row| row.outcome == Outcome::Delivered && row.attempt == 1));
    for ledger in [world.apns.simulator.ledger(), world.fcm.simulator.ledger()] {
        let counts = ledger.counts();
        assert_eq!((counts.accepted, counts.distinct_identities), (300, 300));
    }
    let arrived = world.apns.simulator.ledger().recent();
    let expected: Vec<_> = (0..300)
        .map(|number| {
            let id = notification(number, start(), json!({})).id;
            id.push_identity(&device(Platform::Apns, number).id).to_string()
        })
        .collect();
    assert!(arrived.iter().all(|it| expected.contains(it.identity.as_ref().unwrap())));
    world.running.stop().await;
}

#[tokio::test]
async fn what_routing_keeps_in_the_inbox_is_logged_and_not_sent() {
    let world = World::start().await;
    for number in 0..3 {
        world.store.register(device(Platform::Apns, number));
    }
    world.push(0, InboxState { acked_seq: Seq(1), ..unread() }, json!({}));
    world.push(3, unread(), json!({}));
    world.settled(2).await;
    let expired = notification(1, start().before(60 * SECOND), json!({"ttl_seconds": 60}));
    world.store.plan(expired, unread(), start());
    world.running.handle.wake();
    let mut log = world.settled(3).await;
    log.sort_by_key(|row| row.reason.clone());
    assert_eq!(
        log.iter().map(says).collect::<Vec<_>>(),
        [
            (Channel::Apns, "apns-0", 1, Outcome::Skipped, Some("acknowledged")),
            (Channel::Apns, "apns-1", 1, Outcome::Skipped, Some("expired")),
            (Channel::WebSocket, "", 1, Outcome::Skipped, Some("no_device")),
        ]
    );
    assert_eq!(world.apns.simulator.ledger().counts().accepted, 0);
    assert_eq!(world.store.open(), 0);
}

#[tokio::test]
async fn a_device_of_a_service_that_is_not_configured_is_skipped() {
    let store = Arc::<MemoryDeliveryStore>::default();
    let _running = Running::start(DispatcherConfig::default(), &store, Vec::new(), manual_clock());
    store.register(device(Platform::Fcm, 1));
    store.plan(notification(1, start(), json!({})), unread(), start());
    eventually("it is settled", || store.open() == 0).await;
    let log = store.log();
    assert_eq!(says(&log[0]), (Channel::Fcm, "fcm-1", 1, Outcome::Skipped, Some("no_provider")));
}

#[tokio::test]
async fn a_dead_token_is_pruned_unless_it_was_registered_after_it_died() {
    let world = World::start().await;
    let registered_ms = start().as_millis();
    let table = [(1, registered_ms - 1), (2, registered_ms + 1)];
    for (number, since_ms) in table {
        world.store.register(device(Platform::Apns, number));
        let state = ApnsDeviceState::Unregistered { since_ms };
        let control = world.apns.simulator.control();
        control.set_device(&token(Platform::Apns, number), state).unwrap();
        world.push(number, unread(), json!({}));
    }
    world.store.register(device(Platform::Fcm, 3));
    let control = world.fcm.simulator.control();
    control.set_device(&token(Platform::Fcm, 3), FcmDeviceState::Unregistered).unwrap();
    world.push(3, unread(), json!({}));
    let log = world.settled(3).await;
    assert!(log.iter().all(|row| row.outcome == Outcome::Failed), "{log:?}");
    let left: Vec<_> = world.store.devices().into_iter().map(|device| device.id).collect();
    assert_eq!(left, [device(Platform::Apns, 1).id]);
    assert_eq!(world.store.open(), 0);
}

/// The device with this number, registered anew with another token.
fn renewed(platform: Platform, number: u64) -> Device {
    let token = PushToken::new(token(platform, number + 1_000)).unwrap();
    Device { token, registered_at: start().after(SECOND), ..device(platform, number) }
}

#[tokio::test]
async fn a_push_that_meets_a_dead_token_goes_to_the_one_that_came_meanwhile() {
    let world = World::start().await;
    let since_ms = start().as_millis() + 1;
    let dead = ApnsDeviceState::Unregistered { since_ms };
    world.apns.simulator.control().set_device(&token(Platform::Apns, 1), dead).unwrap();
    let control = world.fcm.simulator.control();
    control.set_device(&token(Platform::Fcm, 1), FcmDeviceState::Unregistered).unwrap();
    for faults in [world.apns.simulator.control().connections(), control.connections()] {
        faults.set_latency(Duration::from_millis(500));
    }
    let platforms = [Platform::Apns, Platform::Fcm];
    for platform in platforms {
        world.store.register(device(platform, 1));
    }
    world.push(1, unread(), json!({}));
    eventually("it is under way", || world.store.next() > Some(start())).await;
    for platform in platforms {
        world.store.put_device(renewed(platform, 1)).await.unwrap();
    }
    let mut log = world.settled(4).await;
    eventually("nothing is left", || world.store.open() == 0).await;
    log.sort_by_key(|row| (row.channel, row.attempt));
    let row = |channel, target, attempt| match attempt {
        1 => (channel, target, 1, Outcome::Retrying, true),
        _ => (channel, target, 2, Outcome::Delivered, false),
    };
    let said = log.iter().map(says).map(|(a, b, c, d, reason)| (a, b, c, d, reason.is_some()));
    let expected = [
        row(Channel::Apns, "apns-1", 1),
        row(Channel::Apns, "apns-1", 2),
        row(Channel::Fcm, "fcm-1", 1),
        row(Channel::Fcm, "fcm-1", 2),
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected);
    assert_eq!(world.store.devices().len(), 2, "both live");
    let arrived = world.apns.simulator.ledger().recent();
    assert_eq!(arrived[0].token, token(Platform::Apns, 1_001));
    let id = notification(1, start(), json!({})).id;
    let identity = id.push_identity(&device(Platform::Apns, 1).id).to_string();
    assert_eq!(arrived[0].identity, Some(identity));
}

#[tokio::test]
async fn a_dead_token_that_is_registered_again_is_not_tried_again() {
    let world = World::start().await;
    let dead = ApnsDeviceState::Unregistered { since_ms: start().as_millis() };
    world.apns.simulator.control().set_device(&token(Platform::Apns, 1), dead).unwrap();
    world.apns.simulator.control().connections().set_latency(Duration::from_millis(300));
    world.store.register(device(Platform::Apns, 1));
    world.push(1, unread(), json!({}));
    eventually("it is under way", || world.store.next() > Some(start())).await;
    let again = Device { registered_at: start().after(SECOND), ..device(Platform::Apns, 1) };
    world.store.put_device(again.clone()).await.unwrap();
    let log = world.settled(1).await;
    let expected = (Channel::Apns, "apns-1", 1, Outcome::Failed, Some("Unregistered"));
    assert_eq!(says(&log[0]), expected);
    eventually("nothing is left", || world.store.open() == 0).await;
    assert_eq!(world.store.devices(), [again]);
}

#[tokio::test]
async fn retry_after_is_honoured_and_the_retry_goes_to_that_device_only() {
    let world = World::start().await;
    world.store.register(device(Platform::Apns, 1));
    world.store.register(device(Platform::Fcm, 1));
    let control = world.fcm.simulator.control();
    let busy = FcmDeviceState::QuotaExceeded { retry_after_secs: Some(120) };
    control.set_device(&token(Platform::Fcm, 1), busy).unwrap();
    world.push(1, unread(), json!({}));
    let log = world.settled(2).await;
    let retried = log.iter().find(|row| row.channel == Channel::Fcm).unwrap();
    assert_eq!(
        says(retried),
        (Channel::Fcm, "fcm-1", 1, Outcome::Retrying, Some("QUOTA_EXCEEDED"))
    );
    eventually("the lease is over", || world.next_wait() >= 120 * SECOND).await;
    assert!(world.next_wait() <= 121 * SECOND);
    control.revive_device(&token(Platform::Fcm, 1));
    world.clock.advance(121 * SECOND);
    world.running.handle.wake();
    let log = world.settled(3).await;
    assert_eq!(says(&log[2]), (Channel::Fcm, "fcm-1", 2, Outcome::Delivered, None));
    assert_eq!(world.apns.simulator.ledger().counts().accepted, 1);
    assert_eq!(world.store.open(), 0);
}

#[tokio::test]
async fn a_refused_key_keeps_the_push_until_a_person_has_mended_it() {
    let (clock, store) = (manual_clock(), Arc::<MemoryDeliveryStore>::default());
    let shared = || -> Arc<dyn Clock> { Arc::<ManualClock>::clone(&clock) };
    let apns = Apns::start(shared()).await;
    let wrong = apns.config_with_another_key_id();
    let wrong = tidings_delivery::push::ApnsClient::new(wrong, shared()).unwrap();
    let config = DispatcherConfig::default;
    let running = Running::start(config(), &store, vec![Arc::new(wrong)], shared());
    store.register(device(Platform::Apns, 1));
    store.plan(notification(1, start(), json!({})), unread(), start());
    eventually("it is refused", || !store.log().is_empty()).await;
    let log = store.log();
    let refused = Some("InvalidProviderToken");
    assert_eq!(says(&log[0]), (Channel::Apns, "apns-1", 1, Outcome::Retrying, refused));
    running.stop().await;
    assert_eq!(store.open(), 1);
    clock.advance(Duration::from_millis(config().retry.cap_ms));
    let mended: Arc<dyn PushProvider> = Arc::new(apns.client(shared()));
    let _running = Running::start(config(), &store, vec![mended], shared());
    eventually("it is delivered", || store.open() == 0).await;
    assert_eq!(store.log()[1].outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_push_is_sent_when_it_falls_due_or_at_once_when_woken() {
    let (clock, store) = (manual_clock(), Arc::<MemoryDeliveryStore>::default());
    let provider = Arc::new(FakeProvider::default());
    let providers: Vec<Arc<dyn PushProvider>> = vec![Arc::<FakeProvider>::clone(&provider)];
    let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let running = Running::start(DispatcherConfig::default(), &store, providers, shared);
    store.register(device(Platform::Fcm, 1));
    store.register(device(Platform::Fcm, 2));
    store.plan(notification(1, start(), json!({})), unread(), start().after(5 * SECOND));
    store.plan(notification(2, start(), json!({})), unread(), start());
    running.handle.wake();
    eventually("the one that is due is sent", || store.open() == 1).await;
    assert_eq!(provider.sent.load(Ordering::SeqCst), 1);
    clock.advance(5 * SECOND);
    eventually("the other is sent without a call", || store.open() == 0).await;
}

/// Takes everything, slowly, and notes how many sends are under way.
#[derive(Default)]
pub(crate) struct FakeProvider {
    pub(crate) sent: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl PushProvider for FakeProvider {
    fn platform(&self) -> Platform {
        Platform::Fcm
    }

    async fn send(&self, _: &Push) -> PushAnswer {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.sent.fetch_add(1, Ordering::SeqCst);
        PushAnswer { verdict: Verdict::Delivered, reason: None, provider_id: None }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_sends_are_under_way_than_configured_however_many_devices_a_user_has() {
    let store = Arc::<MemoryDeliveryStore>::default();
    for number in 0..100 {
        let mut device = device(Platform::Fcm, number);
        device.user = crate::harness::user(1);
        store.register(device);
    }
    for number in 1..50 {
        store.plan(notification(number, start(), json!({})), unread(), start());
    }
    let provider = Arc::new(FakeProvider::default());
    let providers: Vec<Arc<dyn PushProvider>> = vec![Arc::<FakeProvider>::clone(&provider)];
    let limits = LaneLimits { concurrency: 8, ..LaneLimits::default() };
    let lanes = providers.into_iter().map(|it| lane(it, limits.clone())).collect();
    let lanes = Arc::new(PushLanes::new(lanes));
    let (config, routing) = (DispatcherConfig::default(), RoutingPolicy::default());
    let running = Running::on_lanes(config, &store, &lanes, routing, manual_clock());
    eventually("all is settled", || store.open() == 0).await;
    running.stop().await;
    assert_eq!(provider.sent.load(Ordering::SeqCst), 100);
    assert_eq!(provider.most.load(Ordering::SeqCst), 8);
}

/// Never answers.
struct SilentProvider;

#[async_trait]
impl PushProvider for SilentProvider {
    fn platform(&self) -> Platform {
        Platform::Fcm
    }

    async fn send(&self, _: &Push) -> PushAnswer {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_is_left_before_the_lease_ends() {
    let store = Arc::<MemoryDeliveryStore>::default();
    store.register(device(Platform::Fcm, 1));
    store.plan(notification(1, start(), json!({})), unread(), start());
    let clock: Arc<dyn Clock> = manual_clock();
    let providers: Vec<Arc<dyn PushProvider>> = vec![Arc::new(SilentProvider)];
    let config = DispatcherConfig::default();
    let began = tokio::time::Instant::now();
    let _running = Running::start(config.clone(), &store, providers, clock);
    loop {
        if let [row, ..] = &store.log()[..] {
            let reason = Some("not_answered_in_time");
            assert_eq!(says(row), (Channel::Fcm, "fcm-1", 1, Outcome::Retrying, reason));
            assert!(began.elapsed() < config.lease);
            return;
        }
        assert!(began.elapsed() < 2 * config.lease);
        tokio::time::sleep(SECOND).await;
    }
}
