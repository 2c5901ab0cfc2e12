//! Connections to a push service: how many, how long, and what becomes of those that die.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tidings_core::{
    clock::{Clock, ManualClock},
    delivery::Verdict,
    device::{Platform, PushToken},
    ports::PushProvider,
};
use tidings_delivery::push::ApnsClient;
use tidings_simulators::{GoAwayForm, ListenConfig, RequestFault, apns::ApnsDeviceState};
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
        Self { apns, wire, clock }
    }

    /// As [`start`](Self::start), with a client that soon asks whether a connection lives. It waits
    /// for the answer so long that a busy machine does not look like a dead one.
    async fn start_impatient() -> Self {
        let mut world = Self::start(100).await;
        world.apns.config.connection.ping_busy_ms = 100;
        world.apns.config.connection.ping_timeout_ms = 1_000;
        world
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
    let world = World::start_impatient().await;
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
    // The service has been answering: that says nothing of it, and opens no breaker.
    let again = Verdict::Interrupted;
    for answer in [answers.0, answers.1] {
        assert_eq!((answer.verdict, answer.reason), (again, lost.clone()));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    deliver(&client, 1..3).await;
    assert_eq!(world.wire.made(), 2);
}

#[tokio::test]
async fn a_connection_that_died_while_idle_costs_little_time_and_no_push() {
    let world = World::start_impatient().await;
    let client = world.client();
    deliver(&client, 0..1).await;
    world.wire.freeze();
    tokio::time::sleep(150 * MILLISECOND).await;
    let began = Instant::now();
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!(answer.verdict, Verdict::Interrupted);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    deliver(&client, 1..2).await;
}

#[tokio::test]
async fn an_idle_connection_is_asked_whether_it_lives_and_left_if_not() {
    let mut world = World::start_impatient().await;
    world.apns.config.connection.ping_idle_ms = 100;
    let client = world.client();
    deliver(&client, 0..1).await;
    tokio::time::sleep(500 * MILLISECOND).await;
    deliver(&client, 1..2).await;
    assert_eq!(world.wire.made(), 1, "one that answers is kept");
    world.wire.freeze();
    // Asked after 100 ms, given up a second later.
    tokio::time::sleep(Duration::from_secs(3)).await;
    deliver(&client, 2..3).await;
    assert_eq!(world.wire.made(), 2);
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_on_a_connection_that_lives() {
    let world = World::start_impatient().await;
    world.latency(2_500 * MILLISECOND);
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

#[tokio::test]
async fn the_servers_limit_is_followed_as_it_moves_between_one_and_many() {
    let world = World::start(50).await;
    world.latency(2 * MILLISECOND);
    let client = world.client();
    let control = world.apns.simulator.control();
    control.set_device(&format!("{:0>62}*", "f"), ApnsDeviceState::BadDeviceToken).unwrap();
    for round in 0..5 {
        deliver(&client, 100 * round..100 * (round + 1)).await;
        // Errors in a row cost the connection its trust: down to one stream, and what is above that
        // at the time is refused, with nobody the worse for it.
        let bad = join_all((0..15).map(|number| {
            let mut push = push(Platform::Apns, 10_000 + number);
            push.device.token = PushToken::new(format!("{:0>62}{number:02x}", "f")).unwrap();
            let client = &client;
            async move { client.send(&push).await.verdict }
        }));
        let pruned = Verdict::PruneToken { dead_since: None };
        assert!(bad.await.into_iter().all(|verdict| verdict == pruned));
    }
    let counts = world.apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (500, 500, 0));
}

#[tokio::test]
async fn what_came_after_the_last_stream_of_a_goaway_is_sent_again_and_nothing_twice() {
    let world = World::start(100).await;
    world.latency(5 * MILLISECOND);
    let client = world.client();
    world.apns.simulator.control().connections().set_go_away_after(60, GoAwayForm::LastStream);
    deliver(&client, 0..1_000).await;
    let counts = world.apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (1_000, 1_000, 0));
}

#[tokio::test]
async fn a_connection_that_the_server_closes_for_being_idle_costs_no_push() {
    let world = World::start(100).await;
    let client = world.client();
    world.apns.simulator.control().connections().set_idle_timeout(50 * MILLISECOND);
    for number in 0..20 {
        deliver(&client, number..number + 1).await;
        // Now before, now after, and now just when it is closed.
        tokio::time::sleep(u32::try_from(40 + number).unwrap() * MILLISECOND).await;
    }
    assert!(world.wire.made() > 1);
    assert_eq!(world.apns.simulator.ledger().counts().duplicates, 0);
}

#[tokio::test]
async fn one_push_that_is_reset_or_never_answered_does_not_cost_the_others_their_connection() {
    let mut world = World::start(100).await;
    world.apns.config.connection.request_timeout_ms = 1_500;
    let client = world.client();
    deliver(&client, 0..1).await;
    let faults = world.apns.simulator.control().connections();
    let down = Verdict::Unavailable { after: None };
    for (fault, reason) in
        [(RequestFault::Reset, "connection_lost"), (RequestFault::Stall, "not_answered_in_time")]
    {
        faults.fault_next(1, fault);
        let unlucky = push(Platform::Apns, 1);
        let (answer, ()) = tokio::join!(client.send(&unlucky), async {
            for number in 2..20 {
                tokio::time::sleep(40 * MILLISECOND).await;
                deliver(&client, number..number + 1).await;
            }
        });
        assert_eq!((answer.verdict, answer.reason.as_deref()), (down, Some(reason)));
    }
    assert_eq!(world.wire.made(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_after_its_head_is_an_answer() {
    let world = World::start(100).await;
    let client = world.client();
    world.apns.simulator.control().connections().fault_next(1, RequestFault::ResetAfterHeaders);
    deliver(&client, 0..1).await;
    assert_eq!(world.apns.simulator.ledger().counts().accepted, 1);
}

#[tokio::test]
async fn provider_tokens_that_apns_calls_expired_are_replaced_on_new_connections() {
    let world = World::start(4).await;
    world.latency(5 * MILLISECOND);
    let client = world.client();
    deliver(&client, 0..100).await;
    let made = world.wire.made();
    world.clock.advance(20 * MINUTE);
    world.apns.simulator.control().expire_provider_tokens();
    world.clock.advance(MINUTE / 60);
    deliver(&client, 0..100).await;
    assert!(world.wire.made() > made, "a connection keeps to one token for 20 minutes");
    let rejected = world.apns.simulator.ledger().counts().rejected;
    assert_eq!(rejected.keys().collect::<Vec<_>>(), [&"ExpiredProviderToken"]);
}

#[tokio::test]
async fn a_service_that_takes_connections_and_answers_nothing_is_down_and_not_busy() {
    let mut world = World::start(100).await;
    world.apns.config.connection.request_timeout_ms = 1_500;
    let faults = world.apns.simulator.control().connections();
    faults.set_fault_shares(&[(1.0, RequestFault::Stall)]).unwrap();
    let client = world.client();
    // One is sent, as a connection takes one until it has answered; the others wait for that.
    let pushes: Vec<_> = (0..20).map(|number| push(Platform::Apns, number)).collect();
    let answers = join_all(pushes.iter().map(|push| client.send(push))).await;
    let down = Verdict::Unavailable { after: None };
    for answer in &answers {
        assert_eq!(answer.verdict, down, "{:?}", answer.reason);
    }
    let unanswered = Some("not_answered_in_time");
    assert!(answers.iter().any(|it| it.reason.as_deref() == unanswered), "{answers:?}");
}
