//! Connections to a push service: how many, how long, and what becomes of those that die.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tidings_core::{
    clock::{Clock, ManualClock},
    delivery::Verdict,
    device::Platform,
    ports::PushProvider,
};
use tidings_delivery::push::ApnsClient;
use tidings_simulators::ListenConfig;
use tokio::time::Instant;

use crate::{
    harness::{Apns, manual_clock, push},
    wire::Wire,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

struct World {
    apns: Apns,
    wire: Wire,
    clock: Arc<ManualClock>,
}

impl World {
    async fn start(streams: u32) -> Self {
        let clock = manual_clock();
        let listen = ListenConfig { max_concurrent_streams: streams, ..ListenConfig::default() };
        let mut apns = Apns::listen(Arc::<ManualClock>::clone(&clock), listen).await;
        let wire = Wire::to(&apns.simulator.url()).await;
        apns.config.endpoint = Some(wire.url());
        apns.config.connection.ping_busy_ms = 100;
        apns.config.connection.ping_timeout_ms = 200;
        Self { apns, wire, clock }
    }

    fn client(&self) -> ApnsClient {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        self.apns.client(clock)
    }

    fn latency(&self, latency: Duration) {
        self.apns.simulator.control().connections().set_latency(latency);
    }
}

async fn deliver(client: &ApnsClient, numbers: std::ops::Range<u64>) {
    let answers = join_all(
        numbers.map(|number| async move { client.send(&push(Platform::Apns, number)).await }),
    );
    for answer in answers.await {
        assert_eq!(answer.verdict, Verdict::Delivered, "{:?}", answer.reason);
    }
}

#[tokio::test]
async fn one_connection_does_until_all_its_streams_are_taken() {
    let world = World::start(10).await;
    world.latency(20 * MILLISECOND);
    let client = world.client();
    for _ in 0..5 {
        deliver(&client, 0..10).await;
    }
    assert_eq!(world.wire.made(), 1);
    deliver(&client, 0..200).await;
    assert!((2..=4).contains(&world.wire.made()), "{}", world.wire.made());
}

#[tokio::test]
async fn there_are_never_more_connections_than_configured() {
    let mut world = World::start(2).await;
    world.apns.config.connection.connections_max = 3;
    world.latency(10 * MILLISECOND);
    deliver(&world.client(), 0..200).await;
    assert_eq!(world.wire.made(), 3);
    let counts = world.apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.duplicates, counts.rejected_total()), (200, 0, 0));
}

#[tokio::test]
async fn a_connection_that_dies_with_pushes_under_way_gives_them_back_in_time() {
    let world = World::start(100).await;
    let client = world.client();
    deliver(&client, 0..1).await;
    world.latency(50 * MILLISECOND);
    let (first, second) = (push(Platform::Apns, 1), push(Platform::Apns, 2));
    let began = Instant::now();
    let (answers, ()) =
        tokio::join!(async { tokio::join!(client.send(&first), client.send(&second)) }, async {
            tokio::time::sleep(10 * MILLISECOND).await;
            world.wire.freeze();
        });
    let lost = Some("connection_lost".to_owned());
    let down = Verdict::Unavailable { after: None };
    for answer in [answers.0, answers.1] {
        assert_eq!((answer.verdict, answer.reason), (down, lost.clone()));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    deliver(&client, 1..3).await;
    assert_eq!(world.wire.made(), 2);
}

#[tokio::test]
async fn a_connection_that_died_while_idle_costs_little_time_and_no_push() {
    let world = World::start(100).await;
    let client = world.client();
    deliver(&client, 0..1).await;
    world.wire.freeze();
    tokio::time::sleep(150 * MILLISECOND).await;
    let began = Instant::now();
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!(answer.verdict, Verdict::Unavailable { after: None });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    deliver(&client, 1..2).await;
}

#[tokio::test]
async fn an_idle_connection_is_asked_whether_it_lives_and_left_if_not() {
    let mut world = World::start(100).await;
    world.apns.config.connection.ping_idle_ms = 100;
    let client = world.client();
    deliver(&client, 0..1).await;
    tokio::time::sleep(500 * MILLISECOND).await;
    deliver(&client, 1..2).await;
    assert_eq!(world.wire.made(), 1, "one that answers is kept");
    world.wire.freeze();
    tokio::time::sleep(Duration::from_secs(1)).await;
    deliver(&client, 2..3).await;
    assert_eq!(world.wire.made(), 2);
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_on_a_connection_that_lives() {
    let world = World::start(100).await;
    world.latency(1_500 * MILLISECOND);
    deliver(&world.client(), 0..1).await;
    assert_eq!(world.wire.made(), 1);
}

#[tokio::test]
async fn no_connection_sees_two_provider_tokens_within_20_minutes_in_a_day_of_pushes() {
    let world = World::start(4).await;
    world.latency(MILLISECOND);
    let client = world.client();
    // Connections come at odd times, and each is told a new token at most every 20 minutes: the
    // simulator refuses more, and tokens older than an hour.
    for step in 0..24 * 20 {
        deliver(&client, 0..(step % 16) + 1).await;
        world.clock.advance(3 * MINUTE);
        if step % 97 == 0 {
            world.apns.simulator.control().connections().go_away_now();
        }
    }
    assert!(world.wire.made() > 1);
    assert_eq!(world.apns.simulator.ledger().counts().rejected_total(), 0);
}
