//! One device after the other: what is tried when a device does not take a push.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidings_core::{
    clock::Clock,
    delivery::{Channel, Concerned, Outcome, PushStyle, Verdict},
    device::{Device, Platform, PushToken},
    ports::{DeviceStore, PushProvider},
    route::{PushTo, Routing, RoutingPolicy},
};
use tidings_delivery::dispatcher::{DispatcherConfig, LaneLimits, PushLanes};
use tokio::time::sleep;

use crate::{
    dispatch::{Running, lane, unread},
    harness::{device, notification, user},
    scripted::{RuntimeClock, ScriptedProvider},
    store::MemoryDeliveryStore,
};

/// A user with a phone on APNs and one on FCM, of which APNs is preferred.
struct World {
    store: Arc<MemoryDeliveryStore>,
    clock: Arc<dyn Clock>,
    apns: Arc<ScriptedProvider>,
    fcm: Arc<ScriptedProvider>,
    running: Running,
}

impl World {
    fn start() -> Self {
        Self::start_with(DispatcherConfig::default())
    }

    fn start_with(config: DispatcherConfig) -> Self {
        let apns = ScriptedProvider::new(Platform::Apns, |_| Verdict::Delivered);
        let fcm = ScriptedProvider::new(Platform::Fcm, |_| Verdict::Delivered);
        let (store, clock) = (Arc::<MemoryDeliveryStore>::default(), RuntimeClock::shared());
        let of = |provider: Arc<dyn PushProvider>| lane(provider, LaneLimits::default());
        let lanes = vec![of(Arc::clone(&apns) as _), of(Arc::clone(&fcm) as _)];
        let lanes = Arc::new(PushLanes::new(lanes));
        let default = Routing { to: PushTo::First, ..Routing::default() };
        let routing = RoutingPolicy { default, rules: Vec::new() };
        let running = Running::on_lanes(config, &store, &lanes, routing, Arc::clone(&clock));
        for platform in [Platform::Fcm, Platform::Apns] {
            let mut device = device(platform, 1);
            device.user = user(1);
            store.register(device);
        }
        Self { store, clock, apns, fcm, running }
    }

    async fn push(&self) -> Vec<(Channel, Outcome, Option<String>)> {
        let now = self.clock.now();
        self.store.plan(notification(1, now, json!({})), unread(), now);
        self.running.handle.wake();
        while self.store.open() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        let log = self.store.log().into_iter();
        log.map(|row| (row.channel, row.outcome, row.reason)).collect()
    }
}

fn told() -> Option<String> {
    Some("as_told".to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_preferred_device_has_it_and_no_other() {
    let world = World::start();
    assert_eq!(world.push().await, [(Channel::Apns, Outcome::Delivered, None)]);
    assert_eq!(world.fcm.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_next_device_has_it_when_the_first_does_not_take_it() {
    let world = World::start();
    world.apns.set(|_| Verdict::Reject);
    assert_eq!(
        world.push().await,
        [(Channel::Apns, Outcome::Failed, told()), (Channel::Fcm, Outcome::Delivered, None)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_device_has_it_when_the_first_gives_up_after_retries() {
    let world = World::start();
    world.apns.set(|_| Verdict::Retry { after: None });
    let log = world.push().await;
    let attempts = DispatcherConfig::default().retry.max_attempts as usize;
    assert_eq!(world.apns.sends(), attempts);
    assert_eq!(log.len(), attempts + 1);
    assert_eq!(log[attempts - 1], (Channel::Apns, Outcome::Failed, told()));
    assert_eq!(log[attempts], (Channel::Fcm, Outcome::Delivered, None));
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_is_pruned_and_the_next_device_has_it() {
    let world = World::start();
    world.apns.set(|_| Verdict::PruneToken { dead_since: None });
    world.push().await;
    assert_eq!(world.store.devices().len(), 1);
    assert_eq!(world.fcm.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_comes_back_with_another_token_is_not_passed_over() {
    let world = World::start();
    let phones = world.store.devices();
    let phone = phones.iter().find(|it| it.platform == Platform::Apns).expect("a phone").clone();
    let dead = phone.token.clone();
    world.apns.set(move |push| {
        let is_dead = push.device.token == dead;
        if is_dead { Verdict::PruneToken { dead_since: None } } else { Verdict::Delivered }
    });
    world.apns.set_latency(Duration::from_secs(1));
    let renewed = async {
        sleep(Duration::from_millis(500)).await;
        let token = PushToken::new("cd".repeat(32)).unwrap();
        let registered_at = world.clock.now();
        world.store.put_device(Device { token, registered_at, ..phone }).await.unwrap();
    };
    let (log, ()) = tokio::join!(world.push(), renewed);
    assert_eq!(
        log,
        [(Channel::Apns, Outcome::Retrying, told()), (Channel::Apns, Outcome::Delivered, None)]
    );
    assert_eq!((world.fcm.sends(), world.store.devices().len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn the_other_device_has_it_at_once_when_the_service_of_the_first_is_down() {
    let world = World::start();
    world.apns.set(|_| Verdict::CallAPerson);
    // Somebody else's push finds out.
    let mut other = device(Platform::Apns, 9);
    other.user = user(9);
    world.store.register(other);
    let now = world.clock.now();
    world.store.plan(notification(9, now, json!({})), unread(), now);
    world.running.handle.wake();
    sleep(Duration::from_secs(1)).await;
    world.store.plan(notification(1, now, json!({})), unread(), world.clock.now());
    world.running.handle.wake();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.fcm.taken().len(), 1);
    assert_eq!((world.apns.sends(), world.store.open()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_next_device_has_it_when_the_first_waits_for_a_person() {
    let world = World::start();
    world.apns.set(|_| Verdict::CallAPersonFor(Concerned::Devices));
    assert_eq!(
        world.push().await,
        [(Channel::Apns, Outcome::Retrying, told()), (Channel::Fcm, Outcome::Delivered, None)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_no_time_left_for_an_answer_is_put_back_and_costs_no_attempt() {
    let second = Duration::from_secs(1);
    let world = World::start_with(DispatcherConfig {
        lease: 20 * second,
        send_timeout: 10 * second,
        ..DispatcherConfig::default()
    });
    world.apns.set(|_| Verdict::Reject);
    world.apns.set_latency(9 * second);
    world.fcm.set_latency(9 * second);
    assert_eq!(
        world.push().await,
        [(Channel::Apns, Outcome::Failed, told()), (Channel::Fcm, Outcome::Delivered, None)]
    );
    assert!(world.store.log().iter().all(|row| row.attempt == 1));
    assert_eq!(world.fcm.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_device_takes_is_left_to_the_inbox_and_the_log_says_so() {
    let world = World::start();
    world.apns.set(|_| Verdict::Reject);
    world.fcm.set(|_| Verdict::Reject);
    let failed = Some("devices_failed".to_owned());
    assert_eq!(
        world.push().await,
        [
            (Channel::Apns, Outcome::Failed, told()),
            (Channel::Fcm, Outcome::Failed, told()),
            (Channel::WebSocket, Outcome::Skipped, failed),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_routing_sends_silent_pushes() {
    let world = World::start();
    let default = Routing { push: Some(PushStyle::Silent), ..Routing::default() };
    let routing = RoutingPolicy { default, rules: Vec::new() };
    let apns = ScriptedProvider::new(Platform::Apns, |push| match push.style {
        PushStyle::Silent => Verdict::Delivered,
        PushStyle::Alert => Verdict::Reject,
    });
    let lanes = vec![lane(Arc::clone(&apns) as _, LaneLimits::default())];
    let (lanes, clock) = (Arc::new(PushLanes::new(lanes)), Arc::clone(&world.clock));
    let store = Arc::<MemoryDeliveryStore>::default();
    let config = DispatcherConfig::default();
    let _running = Running::on_lanes(config, &store, &lanes, routing, clock);
    store.register(device(Platform::Apns, 1));
    let now = world.clock.now();
    store.plan(notification(1, now, json!({})), unread(), now);
    while store.open() > 0 {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(apns.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_device_has_it_when_the_one_that_it_waits_for_is_gone() {
    let world = World::start();
    world.apns.set(|_| Verdict::Unavailable { after: Some(Duration::from_secs(900)) });
    let now = world.clock.now();
    world.store.plan(notification(1, now, json!({})), unread(), now);
    world.running.handle.wake();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((world.apns.sends(), world.fcm.sends(), world.store.open()), (1, 0, 1));
    let phones = world.store.devices();
    let phone = phones.iter().find(|it| it.platform == Platform::Apns).expect("a phone");
    world.store.remove_device(&phone.user, &phone.id).await.unwrap();
    while world.store.open() > 0 {
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!((world.apns.sends(), world.fcm.taken().len()), (1, 1));
    // Without any device it is the inbox's.
    world.fcm.set(|_| Verdict::Unavailable { after: Some(Duration::from_secs(900)) });
    let now = world.clock.now();
    world.store.plan(notification(1, now, json!({})), unread(), now);
    world.running.handle.wake();
    sleep(Duration::from_secs(1)).await;
    for device in world.store.devices() {
        world.store.remove_device(&device.user, &device.id).await.unwrap();
    }
    while world.store.open() > 0 {
        sleep(Duration::from_secs(10)).await;
    }
    let last = world.store.log().pop().expect("a row");
    assert_eq!((last.outcome, last.reason.as_deref()), (Outcome::Skipped, Some("no_device")));
}
