//! FCM: how many messages it takes, how old a token may be, how often it fails.

use serde_json::json;
use tidings_simulators::fcm::{FcmDeviceState, FcmFailure, FcmQuota};

use crate::fcm::{DEVICE, Fixture, assert_error, fcm_error, message};

#[tokio::test]
async fn a_project_has_so_many_messages_a_minute_from_its_first_on() {
    let fcm = Fixture::start_with(|config| config.quota.project_per_minute = Some(3)).await;
    let token = fcm.access_token().await;
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
    fcm.clock.advance_secs(20);
    assert_eq!(fcm.send(&token, &json!({})).await.status, 400, "a refusal counts, too");
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
    for _ in 0..2 {
        let reply = fcm.send(&token, &message()).await;
        assert_error(&reply, 429, "RESOURCE_EXHAUSTED", &fcm_error("QUOTA_EXCEEDED"));
        assert_eq!(reply.header("retry-after"), Some("40"));
    }
    fcm.clock.advance_secs(40);
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
    fcm.simulator.control().set_quota(FcmQuota::UNLIMITED);
    for _ in 0..5 {
        assert_eq!(fcm.send(&token, &message()).await.status, 200);
    }
}

#[tokio::test]
async fn a_device_has_so_many_messages_a_minute_and_an_hour() {
    let fcm = Fixture::start_with(|config| {
        config.quota.device_per_minute = Some(2);
        config.quota.device_per_hour = Some(3);
    })
    .await;
    let mut statuses = Vec::new();
    for wait_secs in [0, 0, 0, 60, 0, 3_480, 60] {
        fcm.clock.advance_secs(wait_secs);
        statuses.push(fcm.send(&fcm.access_token().await, &message()).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 429, 429, 200]);
    let other = json!({ "message": { "token": "other-device" } });
    assert_eq!(fcm.send(&fcm.access_token().await, &other).await.status, 200);
}

#[tokio::test]
async fn a_token_expires_after_270_days_of_inactivity() {
    let fcm = Fixture::start().await;
    let seen_ms = fcm.clock.now_secs() * 1_000 - 270 * 86_400_000 + 1_000;
    let control = fcm.simulator.control();
    control.set_device(DEVICE, FcmDeviceState::Inactive { since_ms: seen_ms }).unwrap();
    let token = fcm.access_token().await;
    assert_eq!(fcm.send(&token, &message()).await.status, 200);
    fcm.clock.advance_secs(1);
    let reply = fcm.send(&token, &message()).await;
    assert_error(&reply, 404, "NOT_FOUND", &fcm_error("UNREGISTERED"));
}

#[tokio::test]
async fn a_share_of_the_messages_fails() {
    let fcm = Fixture::start().await;
    fcm.simulator.control().set_quota(FcmQuota::UNLIMITED);
    let shares =
        [(0.2, FcmFailure::Internal), (0.2, FcmFailure::Unavailable { retry_after_secs: None })];
    fcm.simulator.control().set_failure_shares(&shares).unwrap();
    let token = fcm.access_token().await;
    let mut count = [0; 3];
    for _ in 0..500 {
        match fcm.send(&token, &message()).await.status {
            200 => count[0] += 1,
            500 => count[1] += 1,
            503 => count[2] += 1,
            other => panic!("{other}"),
        }
    }
    // Fewer than one run in 10^9 is outside of these.
    assert!((225..375).contains(&count[0]), "{count:?}");
    assert!(count[1] > 40 && count[2] > 40, "{count:?}");
    assert!(fcm.simulator.control().set_failure_shares(&[(1.1, FcmFailure::Internal)]).is_err());
}
