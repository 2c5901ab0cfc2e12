//! The ledger: what is counted, kept, told, and where it ends.

use tokio::sync::broadcast::error::RecvError;

use crate::apns::{DEVICE, Fixture, PAYLOAD};

const FIRST: &str = "123e4567-e89b-12d3-a456-426655440001";
const SECOND: &str = "123e4567-e89b-12d3-a456-426655440002";
const THIRD: &str = "123e4567-e89b-12d3-a456-426655440003";

#[tokio::test]
async fn a_duplicate_is_the_same_identity_for_the_same_token() {
    let apns = Fixture::start().await;
    for id in [FIRST, SECOND, FIRST, FIRST] {
        assert_eq!(apns.send(apns.push(&[("apns-id", id)])).await.status, 200);
    }
    let mut elsewhere = apns.push(&[("apns-id", FIRST)]);
    *elsewhere.uri_mut() = format!("https://localhost/3/device/{DEVICE}00").parse().unwrap();
    assert_eq!(apns.send(elsewhere).await.status, 200);
    let counts = apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (5, 2, 2));
    assert!(counts.is_exact());
}

#[tokio::test]
async fn a_full_ledger_says_that_it_no_longer_knows() {
    let apns = Fixture::start_with(|config| config.ledger.max_identities = 2).await;
    for id in [FIRST, SECOND, THIRD, FIRST, THIRD] {
        assert_eq!(apns.send(apns.push(&[("apns-id", id)])).await.status, 200);
    }
    let counts = apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (5, 2, 1));
    assert_eq!(counts.untracked, 2);
    assert!(!counts.is_exact());
}

#[tokio::test]
async fn the_last_pushes_are_kept_whole() {
    let apns = Fixture::start_with(|config| config.ledger.keep_recent = 2).await;
    for id in [FIRST, SECOND, THIRD] {
        let headers = [("apns-id", id), ("apns-collapse-id", "like:p_9")];
        assert_eq!(apns.send(apns.push(&headers)).await.status, 200);
    }
    let recent = apns.simulator.ledger().recent();
    let known: Vec<_> =
        recent.iter().map(|push| (push.sequence, push.identity.as_deref().unwrap())).collect();
    assert_eq!(known, [(2, SECOND), (3, THIRD)]);
    assert_eq!(recent[1].token, DEVICE);
    assert_eq!(recent[1].collapse_id.as_deref(), Some("like:p_9"));
    assert_eq!(recent[1].payload, PAYLOAD);
    assert_eq!(recent[1].received_at_ms, crate::clock::START_SECS * 1_000);
}

#[tokio::test]
async fn a_subscriber_sees_every_accepted_push_in_order() {
    let apns = Fixture::start().await;
    let mut accepted = apns.simulator.ledger().subscribe();
    for id in [FIRST, SECOND] {
        assert_eq!(apns.send(apns.push(&[("apns-id", id)])).await.status, 200);
        assert_eq!(apns.send(apns.push(&[("apns-priority", "7")])).await.status, 400);
    }
    for (sequence, id) in [(1, FIRST), (2, SECOND)] {
        let push = accepted.recv().await.unwrap();
        assert_eq!((push.sequence, push.identity.as_deref()), (sequence, Some(id)));
    }
}

#[tokio::test]
async fn a_subscriber_that_lags_is_told_how_many_it_lost() {
    let apns = Fixture::start_with(|config| config.ledger.subscription_capacity = 4).await;
    let mut accepted = apns.simulator.ledger().subscribe();
    for _ in 0..10 {
        assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    }
    assert_eq!(accepted.recv().await.unwrap_err(), RecvError::Lagged(6));
    assert_eq!(accepted.recv().await.unwrap().sequence, 7);
}
