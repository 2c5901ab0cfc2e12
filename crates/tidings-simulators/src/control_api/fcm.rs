//! What only FCM has.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{post, put};
use axum::{Json, Router};
use serde::Deserialize;

use super::service::{self, Control};
use crate::fcm::{FcmControl, FcmDeviceState, FcmFailure, FcmQuota};
use crate::{AcceptedPush, ConnectionFaults, FcmSimulator, SimulatorError};

pub(super) fn routes(simulator: &FcmSimulator) -> Router {
    let control = simulator.control().clone();
    let own = Router::new()
        .route("/access-tokens/revoke", post(revoke))
        .route("/token-requests/fail", post(fail_token_requests))
        .route("/quota", put(quota))
        .with_state(control.clone());
    service::routes(control, simulator.ledger()).merge(own)
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

impl Control for FcmControl {
    type Device = FcmDeviceState;
    type Failure = FcmFailure;

    fn connections(&self) -> &ConnectionFaults {
        self.connections()
    }

    fn set_device(&self, token: &str, state: FcmDeviceState) -> Result<(), SimulatorError> {
        self.set_device(token, state)
    }

    fn revive_device(&self, token: &str) {
        self.revive_device(token);
    }

    /// FCM keeps what it accepts out of everyone's sight.
    fn kept_for(&self, _token: &str) -> Vec<Arc<AcceptedPush>> {
        Vec::new()
    }

    fn fail_next(&self, pushes: u64, failure: FcmFailure) {
        self.fail_next(pushes, failure);
    }

    fn set_failure_shares(&self, shares: &[(f64, FcmFailure)]) -> Result<(), SimulatorError> {
        self.set_failure_shares(shares)
    }
}
