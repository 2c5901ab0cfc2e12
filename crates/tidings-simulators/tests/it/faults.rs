//! Ordered faults of the transport.

use std::time::{Duration, Instant};

use tidings_simulators::GoAwayForm;

use crate::apns::Fixture;

#[tokio::test]
async fn go_away_after_n_requests_answers_what_was_taken() {
    let apns = Fixture::start().await;
    apns.simulator.control().connections().set_go_away_after(3, GoAwayForm::Graceful);
    for _ in 0..3 {
        assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    }
    let Fixture { simulator, client, .. } = apns;
    client.closed().await.unwrap();
    assert_eq!(simulator.ledger().counts().accepted, 3);
}

#[tokio::test]
async fn an_abrupt_go_away_leaves_requests_unanswered() {
    let apns = Fixture::start().await;
    apns.simulator.control().connections().set_go_away_after(2, GoAwayForm::Abrupt);
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    let unanswered = apns.client.send(apns.push(&[]), crate::apns::PAYLOAD.into()).await;
    assert!(unanswered.is_err());
}

#[tokio::test]
async fn go_away_now_reaches_idle_connections() {
    let apns = Fixture::start().await;
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    apns.simulator.control().connections().go_away_now();
    let next = apns.push(&[]);
    let Fixture { simulator, client, .. } = apns;
    client.closed().await.unwrap();
    let fresh = crate::client::Client::connect(simulator.address(), simulator.ca_pem()).await;
    assert_eq!(fresh.send(next, crate::apns::PAYLOAD.into()).await.unwrap().status, 200);
}

#[tokio::test]
async fn killed_connections_end_without_an_answer() {
    let apns = Fixture::start().await;
    let connections = apns.simulator.control().connections();
    connections.set_latency(Duration::from_mins(1));
    let sending = apns.client.send(apns.push(&[]), crate::apns::PAYLOAD.into());
    let mut accepted = apns.simulator.ledger().subscribe();
    let killing = async {
        accepted.recv().await.unwrap();
        connections.kill_connections();
    };
    let (answer, ()) = tokio::join!(sending, killing);
    assert!(answer.is_err());
}

#[tokio::test]
async fn kill_before_answer_makes_delivery_ambiguous_and_the_replay_a_duplicate() {
    let apns = Fixture::start().await;
    let id = [("apns-id", "123e4567-e89b-12d3-a456-426655440000")];
    apns.simulator.control().connections().kill_before_answer(1);
    let lost = apns.client.send(apns.push(&id), crate::apns::PAYLOAD.into()).await;
    assert!(lost.is_err());
    let replay = apns.connect().await;
    let reply = replay.send(apns.push(&id), crate::apns::PAYLOAD.into()).await.unwrap();
    assert_eq!(reply.status, 200);
    let counts = apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (2, 1, 1));
}

#[tokio::test]
async fn latency_holds_answers_back_side_by_side() {
    let apns = Fixture::start().await;
    let latency = Duration::from_millis(100);
    // Before its first token a connection has one stream.
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    apns.simulator.control().connections().set_latency(latency);
    let started = Instant::now();
    let sends = (0..20).map(|_| apns.send(apns.push(&[])));
    let replies = futures_util::future::join_all(sends).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    // A lower bound only: how long it takes at most depends on the machine.
    assert!(started.elapsed() >= latency);
}
