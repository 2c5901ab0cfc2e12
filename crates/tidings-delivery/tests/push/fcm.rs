//! `FcmClient` against the simulator.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use tidings_core::{
    clock::{Clock, ManualClock},
    delivery::{Concerned, PushAnswer, Verdict},
    device::Platform,
    ports::PushProvider,
};
use tidings_delivery::push::{FcmClient, SecretText};
use tidings_simulators::{
    FcmCredentials, GoAwayForm,
    fcm::{FcmDeviceState, FcmFailure, FcmQuota},
};

use crate::{
    harness::{Fcm, eventually, manual_clock, push, push_with, token},
    secrets::{log_everything, logged},
};

const SECOND: Duration = Duration::from_secs(1);

async fn world() -> (Fcm, FcmClient, Arc<ManualClock>) {
    let clock = manual_clock();
    let fcm = Fcm::start(Arc::<ManualClock>::clone(&clock)).await;
    let client = fcm.client(Arc::<ManualClock>::clone(&clock));
    (fcm, client, clock)
}

async fn send(client: &FcmClient) -> PushAnswer {
    client.send(&push(Platform::Fcm, 1)).await
}

async fn send_many(client: &FcmClient, count: u64) {
    let answers = join_all(
        (0..count).map(|number| async move { client.send(&push(Platform::Fcm, number)).await }),
    );
    for answer in answers.await {
        assert_eq!(answer.verdict, Verdict::Delivered, "{:?}", answer.reason);
    }
}

#[tokio::test]
async fn a_push_arrives_under_its_identity() {
    let (fcm, client, _) = world().await;
    let push = push(Platform::Fcm, 7);
    let answer = client.send(&push).await;
    assert_eq!((answer.verdict, answer.reason), (Verdict::Delivered, None));
    assert!(answer.provider_id.unwrap().starts_with("projects/a-project/messages/"));
    let arrived = fcm.simulator.ledger().recent();
    assert_eq!(arrived[0].identity, Some(push.identity.to_string()));
    assert_eq!(arrived[0].token, token(Platform::Fcm, 7));
    let payload: Value = serde_json::from_slice(&arrived[0].payload).unwrap();
    assert_eq!(payload["message"]["data"]["event_id"], "evt_7");
}

#[tokio::test]
async fn a_push_that_had_to_be_cut_says_so() {
    let (fcm, client, _) = world().await;
    let fields = serde_json::json!({"body": "word ".repeat(800), "data": {"n": 1}});
    let answer = client.send(&push_with(Platform::Fcm, 7, fields)).await;
    assert_eq!(answer.verdict, Verdict::Delivered);
    assert_eq!(answer.reason.as_deref(), Some("truncated_body"));
    let arrived = fcm.simulator.ledger().recent();
    let payload: Value = serde_json::from_slice(&arrived[0].payload).unwrap();
    assert_eq!(payload["message"]["data"]["truncated"], "true");
}

#[tokio::test]
async fn what_fcm_says_of_a_token_is_passed_on() {
    let (fcm, client, _) = world().await;
    let prune = Verdict::PruneToken { dead_since: None };
    // The quota of a device, so nothing that concerns the others.
    let after = |secs| Verdict::Retry { after: Some(secs * SECOND) };
    let table = [
        (FcmDeviceState::Unregistered, prune),
        (FcmDeviceState::InvalidArgument, prune),
        (FcmDeviceState::SenderIdMismatch, Verdict::Reject),
        (FcmDeviceState::QuotaExceeded { retry_after_secs: None }, after(60)),
        (FcmDeviceState::QuotaExceeded { retry_after_secs: Some(120) }, after(120)),
        (FcmDeviceState::ThirdPartyAuthError, Verdict::CallAPersonFor(Concerned::Devices)),
    ];
    for (state, expected) in table {
        fcm.simulator.control().set_device(&token(Platform::Fcm, 1), state).unwrap();
        assert_eq!(send(&client).await.verdict, expected, "{state:?}");
    }
    assert_eq!(client.send(&push(Platform::Fcm, 2)).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn the_quota_of_a_project_slows_down_all_of_its_pushes() {
    let (fcm, client, _) = world().await;
    let quota = FcmQuota { project_per_minute: Some(1), ..FcmQuota::UNLIMITED };
    fcm.simulator.control().set_quota(quota);
    assert_eq!(send(&client).await.verdict, Verdict::Delivered);
    let verdict = client.send(&push(Platform::Fcm, 2)).await.verdict;
    assert!(matches!(verdict, Verdict::SlowDown { after: Some(_) }), "{verdict:?}");
}

#[tokio::test]
async fn googles_own_failures_are_waited_out_as_long_as_google_says() {
    let (fcm, client, _) = world().await;
    let after = |secs| Verdict::Unavailable { after: Some(secs * SECOND) };
    for (failure, expected) in [
        (FcmFailure::Internal, after(10)),
        (FcmFailure::Unavailable { retry_after_secs: None }, after(10)),
        (FcmFailure::Unavailable { retry_after_secs: Some(90) }, after(90)),
    ] {
        fcm.simulator.control().fail_next(1, failure);
        assert_eq!(send(&client).await.verdict, expected, "{failure:?}");
    }
}

#[tokio::test]
async fn however_many_pushes_need_an_access_token_one_is_fetched() {
    let (fcm, client, _) = world().await;
    send_many(&client, 200).await;
    assert_eq!(fcm.simulator.control().access_tokens_issued(), 1);
}

#[tokio::test]
async fn however_many_pushes_meet_a_refused_access_token_one_is_fetched() {
    let (fcm, client, _) = world().await;
    send_many(&client, 1).await;
    fcm.simulator.control().revoke_access_tokens();
    send_many(&client, 200).await;
    assert_eq!(fcm.simulator.control().access_tokens_issued(), 2);
    assert_eq!(fcm.simulator.ledger().counts().accepted, 201);
}

#[tokio::test]
async fn an_access_token_is_renewed_before_it_ends() {
    let (fcm, client, clock) = world().await;
    send_many(&client, 1).await;
    clock.advance(3_599 * SECOND - 300 * SECOND);
    send_many(&client, 100).await;
    assert_eq!(fcm.simulator.control().access_tokens_issued(), 2);
    // None was sent with a token that had ended.
    assert_eq!(fcm.simulator.ledger().counts().rejected_total(), 0);
}

#[tokio::test]
async fn while_a_renewal_fails_the_old_access_token_serves() {
    let (fcm, client, clock) = world().await;
    send_many(&client, 1).await;
    clock.advance(3_400 * SECOND);
    fcm.simulator.control().fail_next_token_requests(1_000);
    send_many(&client, 100).await;
    assert_eq!(fcm.simulator.control().access_tokens_issued(), 1);
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_a_reason_to_wait() {
    let (fcm, client, _) = world().await;
    fcm.simulator.control().fail_next_token_requests(1);
    let answer = send(&client).await;
    assert_eq!(answer.verdict, Verdict::Unavailable { after: None });
    assert_eq!(answer.reason.as_deref(), Some("oauth_unavailable"));
    let mut later = tokio::task::JoinSet::new();
    later.spawn(async move {
        while send(&client).await.verdict != Verdict::Delivered {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    eventually("the push is taken", || fcm.simulator.ledger().counts().accepted == 1).await;
    later.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_withdrawn_key_calls_a_person() {
    let clock: Arc<dyn Clock> = manual_clock();
    let mut fcm = Fcm::start(Arc::clone(&clock)).await;
    let other = FcmCredentials::generate("a-project").unwrap();
    let account =
        FcmCredentials { private_key_pem: other.private_key_pem, ..fcm.credentials.clone() };
    let account = account.service_account_json(&fcm.simulator.token_uri());
    fcm.config.service_account_json = SecretText::new(account);
    let answer = send(&fcm.client(clock)).await;
    assert_eq!(answer.verdict, Verdict::CallAPerson);
    assert_eq!(answer.reason.as_deref(), Some("oauth_invalid_grant"));
}

#[tokio::test]
async fn a_clock_that_is_ahead_or_an_hour_behind_calls_a_person_and_google_says_why() {
    log_everything();
    for (ahead, behind) in [(120 * SECOND, Duration::ZERO), (Duration::ZERO, 3_600 * SECOND)] {
        let (ours, theirs) = (manual_clock(), manual_clock());
        let fcm = Fcm::start(Arc::<ManualClock>::clone(&theirs)).await;
        ours.advance(ahead);
        theirs.advance(behind);
        let client = fcm.client(Arc::<ManualClock>::clone(&ours));
        let answer = send(&client).await;
        assert_eq!(answer.verdict, Verdict::CallAPerson);
        assert_eq!(answer.reason.as_deref(), Some("oauth_invalid_grant"));
        assert!(logged().contains("Check your iat and exp values in the JWT claim"));
    }
    // A little behind is no harm: an assertion lives for an hour.
    let (ours, theirs) = (manual_clock(), manual_clock());
    let fcm = Fcm::start(Arc::<ManualClock>::clone(&theirs)).await;
    theirs.advance(120 * SECOND);
    let answer = send(&fcm.client(Arc::<ManualClock>::clone(&ours))).await;
    assert_eq!(answer.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_project_that_is_not_ours_calls_a_person() {
    let clock: Arc<dyn Clock> = manual_clock();
    let mut fcm = Fcm::start(Arc::clone(&clock)).await;
    let account = FcmCredentials { project_id: "another".into(), ..fcm.credentials.clone() };
    let account = account.service_account_json(&fcm.simulator.token_uri());
    fcm.config.service_account_json = SecretText::new(account);
    let answer = send(&fcm.client(clock)).await;
    assert_eq!(answer.verdict, Verdict::CallAPerson);
    assert_eq!(answer.reason.as_deref(), Some("PERMISSION_DENIED"));
}

#[tokio::test]
async fn what_a_server_going_away_did_not_take_is_sent_again_once() {
    let (fcm, client, _) = world().await;
    fcm.simulator.control().connections().set_go_away_after(50, GoAwayForm::Graceful);
    send_many(&client, 500).await;
    let counts = fcm.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.distinct_identities, counts.duplicates), (500, 500, 0));
}
