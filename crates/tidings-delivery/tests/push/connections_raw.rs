//! Answers that a service gives when it goes away, is full, or is mute, on connections of a server that
//! is written frame by frame.

use std::time::Duration;

use tidings_core::{
    delivery::{PushAnswer, Verdict},
    device::Platform,
    ports::PushProvider,
};
use tidings_delivery::push::{ApnsClient, ApnsConfig};
use tidings_simulators::ApnsCredentials;
use tokio::time::{Instant, timeout};

use crate::{
    frames::{Asked, RawServer, Reply},
    harness::{KEY, TEAM, manual_clock, push, signing_key},
};

/// The push that the scripts are after.
const UNLUCKY: u64 = 7;

fn is_unlucky(asked: &Asked) -> bool {
    asked.body.contains(&format!("evt_{UNLUCKY}"))
}

fn client(server: &RawServer, request_timeout_ms: u64) -> ApnsClient {
    let credentials = ApnsCredentials::generate(TEAM, KEY).unwrap();
    let mut config = ApnsConfig::new(signing_key(&credentials.p8_pem, KEY));
    config.endpoint = Some(server.url.clone());
    config.ca_pem = Some(server.ca_pem.clone());
    config.connection.request_timeout_ms = request_timeout_ms;
    ApnsClient::new(config, manual_clock()).unwrap()
}

async fn send(client: &ApnsClient, number: u64) -> PushAnswer {
    client.send(&push(Platform::Apns, number)).await
}

fn judged(answer: &PushAnswer) -> (Verdict, Option<&str>) {
    (answer.verdict, answer.reason.as_deref())
}

#[tokio::test]
async fn a_working_connection_that_refuses_each_stream_is_full_and_not_down() {
    let server = RawServer::start(100, || {
        |asked: &Asked| {
            let reply = if is_unlucky(asked) { Reply::Refuse } else { Reply::Accept };
            reply(asked.stream)
        }
    })
    .await;
    let client = client(&server, 15_000);
    assert_eq!(send(&client, 1).await.verdict, Verdict::Delivered);
    let answer = send(&client, UNLUCKY).await;
    assert_eq!(judged(&answer), (Verdict::SlowDown { after: None }, Some("not_taken")));
    assert_eq!(send(&client, 1).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_new_connection_that_refuses_each_stream_is_down() {
    let server = RawServer::start(100, || |asked: &Asked| Reply::Refuse(asked.stream)).await;
    let answer = send(&client(&server, 15_000), UNLUCKY).await;
    assert_eq!(judged(&answer), (Verdict::Unavailable { after: None }, Some("not_taken")));
}

#[tokio::test]
async fn working_connections_that_end_again_and_again_are_accidents() {
    // Goes away under the unlucky one as soon as the client has heard an answer to another: the next
    // other one shows that it has.
    let server = RawServer::start(100, || {
        let (mut held, mut answers) = (None::<u32>, 0);
        move |asked: &Asked| {
            if is_unlucky(asked) {
                held = Some(asked.stream);
                return Reply::Nothing;
            }
            match held {
                Some(unlucky) if answers > 0 => Reply::GoAway(unlucky.saturating_sub(2)),
                _ => {
                    answers += 1;
                    Reply::Accept(asked.stream)
                }
            }
        }
    })
    .await;
    let client = client(&server, 15_000);
    let others = async {
        loop {
            send(&client, 1).await;
        }
    };
    let answer = tokio::select! {
        answer = send(&client, UNLUCKY) => answer,
        () = others => unreachable!("they are sent for ever"),
    };
    assert_eq!(judged(&answer), (Verdict::Interrupted, Some("not_taken")));
}

#[tokio::test]
async fn a_connection_on_which_nothing_may_be_sent_is_silent() {
    let server = RawServer::start(0, || |asked: &Asked| Reply::Refuse(asked.stream)).await;
    let client = client(&server, 500);
    let began = Instant::now();
    let answer = timeout(Duration::from_secs(30), send(&client, UNLUCKY)).await.unwrap();
    assert_eq!(judged(&answer), (Verdict::Unavailable { after: None }, Some("nothing_answered")));
    assert!(began.elapsed() >= Duration::from_millis(500));
}
