//! `ApnsClient` against the simulator.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tidings_core::{
    clock::{Clock, Timestamp},
    delivery::{Concerned, Push, PushAnswer, Verdict},
    device::{Platform, PushToken},
    ports::PushProvider,
};
use tidings_delivery::push::ApnsClient;
use tidings_simulators::{
    GoAwayForm, ListenConfig,
    apns::{ApnsDeviceState, ApnsFailure},
};

use crate::{
    harness::{APP, Apns, manual_clock, push, push_with, token},
    secrets::{log_everything, logged},
};

const RETRY: Verdict = Verdict::Retry { after: None };
const DOWN: Verdict = Verdict::Unavailable { after: None };
const MINUTE: Duration = Duration::from_secs(60);

async fn world() -> (Apns, ApnsClient) {
    let clock: Arc<dyn Clock> = manual_clock();
    let apns = Apns::start(Arc::clone(&clock)).await;
    let client = apns.client(clock);
    (apns, client)
}

/// Sends all, `at_a_time` of them, again and again until APNs has answered that it took each.
async fn send_all(client: &ApnsClient, pushes: &[Push], at_a_time: usize) -> u64 {
    let mut waiting: VecDeque<_> = pushes.iter().collect();
    let mut sends = FuturesUnordered::new();
    let mut attempts = 0;
    loop {
        let room = (at_a_time - sends.len()).min(waiting.len());
        sends.extend(waiting.drain(..room).map(|push| attempt(client, push)));
        let Some((push, answer)) = sends.next().await else { return attempts };
        attempts += 1;
        assert!(attempts < 100 * pushes.len() as u64, "no progress");
        match answer.verdict {
            Verdict::Delivered => {}
            // Only ever with the same identity.
            RETRY | DOWN | Verdict::Interrupted => waiting.push_back(push),
            other => panic!("{other:?} {:?}", answer.reason),
        }
    }
}

async fn attempt<'a>(client: &ApnsClient, push: &'a Push) -> (&'a Push, PushAnswer) {
    (push, client.send(push).await)
}

fn pushes(count: u64) -> Vec<Push> {
    (0..count).map(|number| push(Platform::Apns, number)).collect()
}

#[tokio::test]
async fn a_push_arrives_under_its_identity() {
    let (apns, client) = world().await;
    let push = push(Platform::Apns, 7);
    let answer = client.send(&push).await;
    assert_eq!(answer.verdict, Verdict::Delivered);
    assert_eq!(answer.provider_id, Some(push.identity.to_string()));
    let arrived = apns.simulator.ledger().recent();
    assert_eq!(arrived[0].identity, Some(push.identity.to_string()));
    assert_eq!(arrived[0].token, token(Platform::Apns, 7));
    let payload: serde_json::Value = serde_json::from_slice(&arrived[0].payload).unwrap();
    assert_eq!(payload["tidings"]["event_id"], "evt_7");
}

#[tokio::test]
async fn what_apns_says_of_a_token_is_passed_on() {
    let (apns, client) = world().await;
    let since_ms = 1_795_000_000_123;
    let since = Some(Timestamp::from_millis(since_ms));
    let table = [
        (ApnsDeviceState::BadDeviceToken, Verdict::PruneToken { dead_since: None }),
        (ApnsDeviceState::OtherTopic, Verdict::PruneToken { dead_since: None }),
        (ApnsDeviceState::Unregistered { since_ms }, Verdict::PruneToken { dead_since: since }),
        (ApnsDeviceState::ExpiredToken { since_ms }, Verdict::PruneToken { dead_since: since }),
        (ApnsDeviceState::TooManyRequests, RETRY),
    ];
    for (state, expected) in table {
        apns.simulator.control().set_device(&token(Platform::Apns, 1), state).unwrap();
        assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, expected, "{state:?}");
    }
    // Others are not concerned.
    assert_eq!(client.send(&push(Platform::Apns, 2)).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn what_apns_says_of_itself_of_a_connection_and_of_us_has_its_verdict() {
    let (apns, client) = world().await;
    let later = Verdict::Unavailable { after: Some(15 * MINUTE) };
    for (failure, expected) in [
        (ApnsFailure::InternalServerError, later),
        (ApnsFailure::ServiceUnavailable, later),
        (ApnsFailure::Shutdown, RETRY),
        (ApnsFailure::IdleTimeout, RETRY),
        (ApnsFailure::Forbidden, Verdict::CallAPerson),
    ] {
        apns.simulator.control().fail_next(1, failure);
        assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, expected, "{failure:?}");
        assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
    }
}

#[tokio::test]
async fn texts_that_are_cut_are_told_for_their_type_and_not_for_each_push() {
    log_everything();
    let (apns, client) = world().await;
    for number in 1..4 {
        let fields = serde_json::json!({"type": "essay", "body": "word ".repeat(800)});
        let essay = push_with(Platform::Apns, number, fields);
        let answer = client.send(&essay).await;
        assert_eq!(answer.verdict, Verdict::Delivered);
        assert_eq!(answer.reason.as_deref(), Some("truncated_body"));
    }
    let log = logged();
    let told: Vec<_> = log.lines().filter(|line| line.contains("essay")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("WARN") && told[0].contains("\"body\""), "{told:?}");
    assert_eq!(apns.simulator.ledger().counts().accepted, 3);
}

#[tokio::test]
async fn a_token_that_is_no_token_or_an_app_that_is_no_topic_is_not_sent() {
    let (apns, client) = world().await;
    let mut bad = push(Platform::Apns, 1);
    bad.device.token = PushToken::new("../../4/broadcasts".into()).unwrap();
    let answer = client.send(&bad).await;
    assert_eq!(
        (answer.verdict, answer.reason.unwrap().as_str()),
        (Verdict::Reject, "malformed_token")
    );
    let mut bad = push(Platform::Apns, 1);
    bad.device.app = "a\r\nb".into();
    let answer = client.send(&bad).await;
    assert_eq!(
        (answer.verdict, answer.reason.unwrap().as_str()),
        (Verdict::Reject, "malformed_app")
    );
    let counts = apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.rejected_total()), (0, 0));
}

#[tokio::test]
async fn the_provider_token_is_renewed_before_it_is_an_hour_old() {
    let clock = manual_clock();
    let apns = Apns::start(Arc::<tidings_core::clock::ManualClock>::clone(&clock)).await;
    let client = apns.client(Arc::<tidings_core::clock::ManualClock>::clone(&clock));
    for _ in 0..6 {
        assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
        clock.advance(21 * MINUTE);
    }
    assert_eq!(apns.simulator.ledger().counts().rejected_total(), 0);
}

#[tokio::test]
async fn an_expired_provider_token_is_replaced_once_if_it_is_20_minutes_old() {
    let (ours, theirs) = (manual_clock(), manual_clock());
    let apns = Apns::start(Arc::<tidings_core::clock::ManualClock>::clone(&theirs)).await;
    let client = apns.client(Arc::<tidings_core::clock::ManualClock>::clone(&ours));
    assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
    // Their clock is ahead: our token is expired there before we would renew it.
    theirs.advance(61 * MINUTE);
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!(answer.verdict, Verdict::CallAPerson);
    assert_eq!(answer.reason.as_deref(), Some("ExpiredProviderToken"));
    ours.advance(20 * MINUTE);
    assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
    assert_eq!(apns.simulator.ledger().counts().rejected["ExpiredProviderToken"], 2);
}

#[tokio::test]
async fn a_key_that_apns_does_not_know_calls_a_person() {
    let clock: Arc<dyn Clock> = manual_clock();
    let apns = Apns::start(Arc::clone(&clock)).await;
    let client = ApnsClient::new(apns.config_with_another_key_id(), clock).unwrap();
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!(answer.verdict, Verdict::CallAPerson);
    assert_eq!(answer.reason.as_deref(), Some("InvalidProviderToken"));
}

#[tokio::test]
async fn a_clock_that_is_ahead_calls_a_person_until_it_is_right() {
    let (ours, theirs) = (manual_clock(), manual_clock());
    let apns = Apns::start(Arc::<tidings_core::clock::ManualClock>::clone(&theirs)).await;
    ours.advance(2 * MINUTE);
    let client = apns.client(Arc::<tidings_core::clock::ManualClock>::clone(&ours));
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!(answer.verdict, Verdict::CallAPerson);
    assert_eq!(answer.reason.as_deref(), Some("InvalidProviderToken"));
    theirs.advance(2 * MINUTE);
    assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn an_app_that_the_team_does_not_have_fails_its_own_pushes_only() {
    let (apns, client) = world().await;
    let mut strange = push(Platform::Apns, 1);
    strange.device.app = "com.example.other".into();
    let answer = client.send(&strange).await;
    assert_eq!(answer.verdict, Verdict::Reject);
    assert_eq!(answer.reason.as_deref(), Some("TopicDisallowed"));
    assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
    assert_eq!(apns.simulator.ledger().counts().accepted, 1);
}

#[tokio::test]
async fn a_key_that_is_for_another_app_calls_a_person_for_this_app_only() {
    let clock: Arc<dyn Clock> = manual_clock();
    let (other, key) = ("com.example.other", APP.to_owned());
    let apns = Apns::start_with(Arc::clone(&clock), |config| {
        config.topics.push(other.into());
        config.keys[0].topics.push(key);
    });
    let apns = apns.await;
    let client = apns.client(clock);
    let mut strange = push(Platform::Apns, 1);
    strange.device.app = other.into();
    let answer = client.send(&strange).await;
    assert_eq!(answer.verdict, Verdict::CallAPersonFor(Concerned::App));
    assert_eq!(answer.reason.as_deref(), Some("UnrelatedKeyIdInToken"));
    // Tried once more on a connection of its own, in case it was the connection's fault.
    assert_eq!(apns.simulator.ledger().counts().rejected["UnrelatedKeyIdInToken"], 2);
    assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn what_a_server_going_away_did_not_take_is_sent_again_once() {
    let (apns, client) = world().await;
    apns.simulator.control().connections().set_go_away_after(50, GoAwayForm::Graceful);
    let attempts = send_all(&client, &pushes(1_000), 1_000).await;
    let counts = apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (1_000, 1_000, 0));
    assert_eq!(attempts, 1_000, "replayed by the client itself");
}

#[tokio::test]
async fn connections_that_break_in_mid_stream_lose_nothing_and_make_no_new_identities() {
    let (apns, client) = world().await;
    let faults = apns.simulator.control().connections();
    faults.set_go_away_after(100, GoAwayForm::Abrupt);
    faults.kill_before_answer(5);
    // Fewer at a time than a connection takes: the simulator drops all answers that it owes.
    send_all(&client, &pushes(1_000), 40).await;
    let counts = apns.simulator.ledger().counts();
    assert_eq!(counts.distinct_identities, 1_000);
    assert!(counts.accepted >= 1_000 + 5, "{counts:?}");
    assert_eq!(counts.accepted, counts.distinct_identities + counts.duplicates);
}

#[tokio::test]
async fn a_push_that_may_have_been_taken_is_not_repeated_by_the_client() {
    let (apns, client) = world().await;
    apns.simulator.control().connections().kill_before_answer(1);
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!((answer.verdict, answer.reason.as_deref()), (DOWN, Some("connection_lost")));
    assert_eq!(apns.simulator.ledger().counts().accepted, 1);
    assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
    let counts = apns.simulator.ledger().counts();
    assert_eq!((counts.distinct_identities, counts.duplicates), (1, 1));
}

#[tokio::test]
async fn one_stream_is_enough_when_the_server_allows_no_more() {
    let clock: Arc<dyn Clock> = manual_clock();
    let listen = ListenConfig { max_concurrent_streams: 1, ..ListenConfig::default() };
    let apns = Apns::listen(Arc::clone(&clock), listen).await;
    assert_eq!(send_all(&apns.client(clock), &pushes(100), 100).await, 100);
    assert_eq!(apns.simulator.ledger().counts().accepted, 100);
}

#[tokio::test]
async fn a_push_that_is_not_answered_in_time_is_given_back() {
    let clock: Arc<dyn Clock> = manual_clock();
    let mut apns = Apns::start(Arc::clone(&clock)).await;
    apns.config.connection.request_timeout_ms = 1_000;
    let client = apns.client(clock);
    let faults = apns.simulator.control().connections();
    faults.set_latency(Duration::from_secs(60));
    let answer = client.send(&push(Platform::Apns, 1)).await;
    assert_eq!((answer.verdict, answer.reason.as_deref()), (DOWN, Some("not_answered_in_time")));
    faults.set_latency(Duration::ZERO);
    assert_eq!(client.send(&push(Platform::Apns, 1)).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_host_that_is_not_there_or_not_trusted_gets_nothing() {
    let clock: Arc<dyn Clock> = manual_clock();
    let (apns, other) =
        (Apns::start(Arc::clone(&clock)).await, Apns::start(Arc::clone(&clock)).await);
    let mut config = apns.config.clone();
    config.ca_pem = other.config.ca_pem;
    let distrustful = ApnsClient::new(config, Arc::clone(&clock)).unwrap();
    let client = apns.client(clock);
    let answer = distrustful.send(&push(Platform::Apns, 1)).await;
    assert_eq!((answer.verdict, answer.reason.as_deref()), (DOWN, Some("no_connection")));
    apns.simulator.stop().await;
    for _ in 0..2 {
        let answer = client.send(&push(Platform::Apns, 1)).await;
        assert_eq!((answer.verdict, answer.reason.as_deref()), (DOWN, Some("no_connection")));
    }
}
