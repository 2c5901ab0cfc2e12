//! APNs: how many streams a connection has, and how it ends.

use std::time::Duration;

use tidings_simulators::{ExcessStreams, GoAwayForm, RequestFault};

use crate::apns::{DEVICE, Fixture, PAYLOAD};
use crate::raw::{GO_AWAY, HEADERS, RST_STREAM, Raw, SETTINGS};

const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
const MAX_STREAM: u32 = u32::MAX >> 1;

#[tokio::test]
async fn one_stream_until_the_first_valid_token_and_then_as_many_as_configured() {
    let apns = Fixture::start().await;
    let mut raw = Raw::connect(&apns).await;
    let first = raw.wait_for(|frame| frame.kind == SETTINGS && !frame.is_ack()).await;
    assert_eq!(first.stream_limit(), Some(1));
    raw.acknowledge_settings().await;
    // Neither of these has a valid token.
    for authorization in ["", "bearer x"] {
        let stream = raw.send(&apns.push(&[("authorization", authorization)]), PAYLOAD).await;
        let answer = raw.next_answer().await;
        assert_eq!((answer.kind, answer.stream), (HEADERS, stream));
    }
    raw.send(&apns.push(&[("apns-priority", "7")]), PAYLOAD).await;
    let raised = raw.wait_for(|frame| frame.stream_limit().is_some()).await;
    assert_eq!(raised.stream_limit(), Some(1_000), "the push was wrong, its token was not");
    raw.acknowledge_settings().await;
    for _ in 0..3 {
        // The library would take an acknowledgement that it did not ask for as an error.
        let stream = raw.send(&apns.push(&[]), PAYLOAD).await;
        raw.wait_for(|frame| frame.kind == HEADERS && frame.stream == stream).await;
    }
}

#[tokio::test]
async fn streams_above_the_limit_are_refused_and_never_processed() {
    let apns = Fixture::start().await;
    apns.simulator.control().connections().set_latency(Duration::from_millis(100));
    let mut raw = Raw::connect(&apns).await;
    let first = raw.send(&apns.push(&[]), PAYLOAD).await;
    let excess = raw.send(&apns.push(&[]), PAYLOAD).await;
    let refused = raw.wait_for(|frame| frame.kind == RST_STREAM).await;
    assert_eq!((refused.stream, &refused.payload[..]), (excess, &REFUSED_STREAM[..]));
    let answer = raw.next_answer().await;
    assert_eq!((answer.kind, answer.stream), (HEADERS, first));
    assert_eq!(apns.simulator.ledger().counts().accepted, 1);
}

#[tokio::test]
async fn a_run_of_errors_takes_the_streams_back_and_a_success_restores_them() {
    let apns = Fixture::start_with(|config| config.trust.errors_in_row = 3).await;
    let mut raw = Raw::connect(&apns).await;
    raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.wait_for(|frame| frame.stream_limit() == Some(1_000)).await;
    // A success in between begins a new run; 410 is no error.
    let gone = tidings_simulators::apns::ApnsDeviceState::Unregistered { since_ms: 1 };
    apns.simulator.control().set_device(&format!("{DEVICE}00"), gone).unwrap();
    let mut unregistered = apns.push(&[]);
    *unregistered.uri_mut() = format!("https://localhost/3/device/{DEVICE}00").parse().unwrap();
    let wrong = apns.push(&[("apns-priority", "7")]);
    for request in [&wrong, &wrong, &apns.push(&[]), &wrong, &wrong, &unregistered, &wrong, &wrong]
    {
        raw.send(request, PAYLOAD).await;
        let answer = raw.next().await.unwrap();
        assert_ne!(answer.stream_limit(), Some(1), "too early");
        raw.drain_answer(answer).await;
    }
    raw.send(&wrong, PAYLOAD).await;
    raw.wait_for(|frame| frame.stream_limit() == Some(1)).await;
    raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.wait_for(|frame| frame.stream_limit() == Some(1_000)).await;
}

#[tokio::test]
async fn a_refused_token_takes_the_streams_back() {
    let apns = Fixture::start().await;
    let mut raw = Raw::connect(&apns).await;
    raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.wait_for(|frame| frame.stream_limit() == Some(1_000)).await;
    apns.simulator.control().expire_provider_tokens();
    raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.wait_for(|frame| frame.stream_limit() == Some(1)).await;
    assert_eq!(apns.simulator.ledger().counts().rejected["ExpiredProviderToken"], 1);
}

#[tokio::test]
async fn the_graceful_go_away_comes_twice_with_its_reason() {
    let apns = Fixture::start().await;
    let connections = apns.simulator.control().connections();
    connections.set_go_away_after(1, GoAwayForm::Graceful);
    let mut raw = Raw::connect(&apns).await;
    let stream = raw.send(&apns.push(&[]), PAYLOAD).await;
    let first = raw.wait_for(|frame| frame.kind == GO_AWAY).await;
    assert_eq!(first.go_away(), (MAX_STREAM, 0, r#"{"reason":"Shutdown"}"#.into()));
    let ping = raw.wait_for(|frame| frame.kind == 6).await;
    raw.answer_ping(&ping).await;
    let second = raw.wait_for(|frame| frame.kind == GO_AWAY).await;
    assert_eq!(second.go_away(), (stream, 0, r#"{"reason":"Shutdown"}"#.into()));
    assert!(raw.ends().await);
}

#[tokio::test]
async fn go_away_with_a_last_stream_below_what_is_in_flight_leaves_the_rest_unprocessed() {
    let apns = Fixture::start().await;
    let mut raw = Raw::connect(&apns).await;
    raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.wait_for(|frame| frame.stream_limit() == Some(1_000)).await;
    let connections = apns.simulator.control().connections();
    connections.set_latency(Duration::from_millis(100));
    connections.set_go_away_after(3, GoAwayForm::LastStream);
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(raw.send(&apns.push(&[]), PAYLOAD).await);
    }
    let go_away = raw.wait_for(|frame| frame.kind == GO_AWAY).await;
    assert_eq!(go_away.go_away(), (sent[1], 0, r#"{"reason":"Shutdown"}"#.into()));
    let mut answered = Vec::new();
    while let Some(frame) = raw.next().await {
        match frame.kind {
            HEADERS => answered.push(frame.stream),
            GO_AWAY => assert_eq!(frame.go_away().0, sent[1], "it may not rise"),
            _ => {}
        }
    }
    assert_eq!(answered, sent[..2]);
    assert_eq!(apns.simulator.ledger().counts().accepted, 3);
}

#[tokio::test]
async fn an_idle_connection_is_told_why_it_ends() {
    let apns = Fixture::start().await;
    let mut raw = Raw::connect(&apns).await;
    let stream = raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.wait_for(|frame| frame.kind == HEADERS).await;
    apns.simulator.control().connections().set_idle_timeout(Duration::from_millis(50));
    let go_away = raw.wait_for(|frame| frame.kind == GO_AWAY).await;
    assert_eq!(go_away.go_away(), (stream, 0, r#"{"reason":"IdleTimeout"}"#.into()));
    assert!(raw.ends().await);
}

#[tokio::test]
async fn a_test_may_name_the_reason_of_go_away() {
    let apns = Fixture::start().await;
    let mut raw = Raw::connect(&apns).await;
    raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.wait_for(|frame| frame.kind == HEADERS).await;
    let connections = apns.simulator.control().connections();
    connections.go_away_now_with(GoAwayForm::Abrupt, "BadDeviceToken");
    let go_away = raw.wait_for(|frame| frame.kind == GO_AWAY).await;
    assert_eq!(go_away.go_away().2, r#"{"reason":"BadDeviceToken"}"#);
    assert!(raw.ends().await);
}

#[tokio::test]
async fn fcm_may_end_a_connection_that_opens_too_many_streams() {
    let fcm =
        crate::fcm::Fixture::start_with(|config| config.listen.max_concurrent_streams = 2).await;
    let connections = fcm.simulator.control().connections();
    connections.set_excess_streams(ExcessStreams::GoAway);
    connections.set_latency(Duration::from_millis(100));
    let mut raw = Raw::connect_to(fcm.simulator.address(), fcm.simulator.ca_pem()).await;
    let request = http::Request::post(fcm.simulator.token_uri()).body(()).unwrap();
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(raw.send(&request, "x").await);
    }
    let go_away = raw.wait_for(|frame| frame.kind == GO_AWAY).await;
    assert_eq!(go_away.go_away(), (sent[1], 1, "exceeded_max_concurrent_streams".into()));
    let mut answered = Vec::new();
    while let Some(frame) = raw.next().await {
        if frame.kind == HEADERS {
            answered.push(frame.stream);
        }
    }
    assert_eq!(answered, sent[..2]);
}

#[tokio::test]
async fn each_ambiguous_fault_leaves_the_push_in_the_ledger() {
    let apns = Fixture::start().await;
    let connections = apns.simulator.control().connections();
    let mut raw = Raw::connect(&apns).await;
    raw.send(&apns.push(&[]), PAYLOAD).await;
    raw.next_answer().await;

    connections.fault_next(1, RequestFault::Stall);
    let mut accepted = apns.simulator.ledger().subscribe();
    let stalled = raw.send(&apns.push(&[]), PAYLOAD).await;
    accepted.recv().await.unwrap();

    connections.fault_next(1, RequestFault::Reset);
    let reset = raw.send(&apns.push(&[]), PAYLOAD).await;
    let frame = raw.next_answer().await;
    assert_eq!((frame.kind, frame.stream), (RST_STREAM, reset), "and none for {stalled}");
    assert_eq!(frame.payload[..], INTERNAL_ERROR);

    connections.fault_next(1, RequestFault::ResetAfterHeaders);
    let cut = raw.send(&apns.push(&[]), PAYLOAD).await;
    let head = raw.next_answer().await;
    assert_eq!((head.kind, head.stream, head.flags & 1), (HEADERS, cut, 0), "not its end");
    let frame = raw.next_answer().await;
    assert_eq!((frame.kind, frame.stream), (RST_STREAM, cut));

    connections.fault_next(1, RequestFault::Kill);
    raw.send(&apns.push(&[]), PAYLOAD).await;
    assert!(raw.ends().await);
    assert_eq!(apns.simulator.ledger().counts().accepted, 5);
}
