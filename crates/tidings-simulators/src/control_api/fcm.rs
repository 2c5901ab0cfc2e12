//! What only FCM has.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{post, put};
use axum::{Json, Router};
use serde::Deserialize;

use super::service::{self, Service};
use crate::fcm::{FcmControl, FcmDeviceState, FcmFailure, FcmQuota};
use crate::{AcceptedPush, ConnectionFaults, FcmSimulator, Ledger, SimulatorError};

#[derive(Clone)]
struct Fcm {
    control: FcmControl,
    ledger: Arc<Ledger>,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Device {
    Unregistered,
    SenderIdMismatch,
    QuotaExceeded { retry_after_secs: Option<u64> },
    InvalidArgument,
    ThirdPartyAuthError,
    Inactive { since_ms: i64 },
}

#[derive(Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
enum Failure {
    Internal,
    Unavailable { retry_after_secs: Option<u64> },
}

pub(super) fn routes(simulator: &FcmSimulator) -> Router {
    let control = simulator.control().clone();
    let fcm = Fcm { control: control.clone(), ledger: Arc::clone(simulator.ledger()) };
    let own = Router::new()
        .route("/access-tokens/revoke", post(revoke))
        .route("/token-requests/fail", post(fail_token_requests))
        .route("/quota", put(quota))
        .with_state(control);
    service::routes(fcm).merge(own)
}

async fn revoke(State(control): State<FcmControl>) -> StatusCode {
    control.revoke_access_tokens();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Next {
    next: u64,
}

async fn fail_token_requests(
    State(control): State<FcmControl>,
    Json(Next { next }): Json<Next>,
) -> StatusCode {
    control.fail_next_token_requests(next);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quota {
    project_per_minute: Option<u32>,
    device_per_minute: Option<u32>,
    device_per_hour: Option<u32>,
}

async fn quota(State(control): State<FcmControl>, Json(quota): Json<Quota>) -> StatusCode {
    let Quota { project_per_minute, device_per_minute, device_per_hour } = quota;
    control.set_quota(FcmQuota { project_per_minute, device_per_minute, device_per_hour });
    StatusCode::NO_CONTENT
}

impl Service for Fcm {
    type Device = Device;
    type Failure = Failure;

    fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn connections(&self) -> &ConnectionFaults {
        self.control.connections()
    }

    fn set_device(&self, token: &str, device: Device) -> Result<(), SimulatorError> {
        let state = match device {
            Device::Unregistered => FcmDeviceState::Unregistered,
            Device::SenderIdMismatch => FcmDeviceState::SenderIdMismatch,
            Device::QuotaExceeded { retry_after_secs: None } => FcmDeviceState::QuotaExceeded,
            Device::QuotaExceeded { retry_after_secs: Some(secs) } => {
                FcmDeviceState::QuotaExceededRetryAfter(Duration::from_secs(secs))
            }
            Device::InvalidArgument => FcmDeviceState::InvalidArgument,
            Device::ThirdPartyAuthError => FcmDeviceState::ThirdPartyAuthError,
            Device::Inactive { since_ms } => FcmDeviceState::InactiveSince(since_ms),
        };
        self.control.set_device(token, state)
    }

    fn revive_device(&self, token: &str) {
        self.control.revive_device(token);
    }

    /// FCM keeps what it accepts out of everyone's sight.
    fn kept_for(&self, _token: &str) -> Vec<Arc<AcceptedPush>> {
        Vec::new()
    }

    fn fail_next(&self, pushes: u64, failure: Failure) {
        self.control.fail_next(pushes, failure.into());
    }

    fn set_failure_shares(&self, shares: Vec<(f64, Failure)>) -> Result<(), SimulatorError> {
        let shares: Vec<_> = shares.into_iter().map(|(share, it)| (share, it.into())).collect();
        self.control.set_failure_shares(&shares)
    }
}

impl From<Failure> for FcmFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Internal => Self::Internal,
            Failure::Unavailable { retry_after_secs: None } => Self::Unavailable,
            Failure::Unavailable { retry_after_secs: Some(secs) } => {
                Self::UnavailableRetryAfter(Duration::from_secs(secs))
            }
        }
    }
}
