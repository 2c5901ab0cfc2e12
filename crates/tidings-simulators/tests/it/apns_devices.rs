//! APNs: device states and ordered failures.

use serde_json::json;
use tidings_simulators::SimulatorError;
use tidings_simulators::apns::{ApnsDeviceState, ApnsFailure};

use crate::apns::{DEVICE, Fixture, assert_refused};

#[tokio::test]
async fn each_device_state_has_its_answer() {
    let apns = Fixture::start().await;
    let control = apns.simulator.control();
    for (state, status, reason) in [
        (ApnsDeviceState::BadDeviceToken, 400, "BadDeviceToken"),
        (ApnsDeviceState::OtherTopic, 400, "DeviceTokenNotForTopic"),
        (ApnsDeviceState::TooManyRequests, 429, "TooManyRequests"),
    ] {
        control.set_device(DEVICE, state).unwrap();
        assert_refused(&apns.send(apns.push(&[])).await, status, reason);
    }
    let since_ms = 1_795_420_800_123;
    for (state, reason) in [
        (ApnsDeviceState::Unregistered { since_ms }, "Unregistered"),
        (ApnsDeviceState::ExpiredToken { since_ms }, "ExpiredToken"),
    ] {
        control.set_device(DEVICE, state).unwrap();
        let reply = apns.send(apns.push(&[])).await;
        assert_eq!(reply.status, 410);
        assert_eq!(reply.json(), json!({ "reason": reason, "timestamp": since_ms }));
    }
    control.revive_device(&DEVICE.to_uppercase());
    assert_eq!(apns.send(apns.push(&[])).await.status, 200);
}

#[tokio::test]
async fn a_token_that_is_not_hex_of_whole_bytes_is_bad() {
    let apns = Fixture::start().await;
    let longest = "ab".repeat(100);
    for (token, status) in [
        (&DEVICE[..62], 400),
        (&DEVICE[..63], 400),
        (&format!("{DEVICE}0"), 400),
        (&format!("{}zz", &DEVICE[..62]), 400),
        (&format!("{longest}ab"), 400),
        (DEVICE, 200),
        (&DEVICE.to_uppercase(), 200),
        (&format!("{DEVICE}00"), 200),
        (&longest, 200),
    ] {
        let mut request = apns.push(&[]);
        *request.uri_mut() = format!("https://localhost/3/device/{token}").parse().unwrap();
        let reply = apns.send(request).await;
        assert_eq!(reply.status, status, "for {token}");
        if status == 400 {
            assert_refused(&reply, 400, "BadDeviceToken");
        }
    }
}

#[tokio::test]
async fn the_next_pushes_fail_as_ordered_and_no_more() {
    let apns = Fixture::start().await;
    for (failure, status, reason) in [
        (ApnsFailure::InternalServerError, 500, "InternalServerError"),
        (ApnsFailure::ServiceUnavailable, 503, "ServiceUnavailable"),
        (ApnsFailure::Shutdown, 503, "Shutdown"),
        (ApnsFailure::Forbidden, 403, "Forbidden"),
        (ApnsFailure::IdleTimeout, 400, "IdleTimeout"),
    ] {
        apns.simulator.control().fail_next(2, failure);
        let wrong = apns.send(apns.push(&[("apns-priority", "7")])).await;
        assert_refused(&wrong, 400, "BadPriority");
        for _ in 0..2 {
            assert_refused(&apns.send(apns.push(&[])).await, status, reason);
        }
        assert_eq!(apns.send(apns.push(&[])).await.status, 200);
    }
    let counts = apns.simulator.ledger().counts();
    assert_eq!((counts.accepted, counts.rejected["ServiceUnavailable"]), (5, 2));
    assert_eq!(counts.rejected_total(), 15);
}

#[tokio::test]
async fn the_table_of_states_is_bounded() {
    let apns = Fixture::start_with(|config| config.max_device_states = 1).await;
    let control = apns.simulator.control();
    control.set_device(DEVICE, ApnsDeviceState::OtherTopic).unwrap();
    control.set_device(DEVICE, ApnsDeviceState::TooManyRequests).unwrap();
    let refused = control.set_device("ab", ApnsDeviceState::OtherTopic);
    assert!(matches!(refused, Err(SimulatorError::TooManyDeviceStates { limit: 1 })));
}
