//! What only APNs has.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;

use super::service::{self, Control};
use crate::apns::{ApnsControl, ApnsDeviceState, ApnsFailure};
use crate::{AcceptedPush, ApnsSimulator, ConnectionFaults, SimulatorError};

pub(super) fn routes(simulator: &ApnsSimulator) -> Router {
    let control = simulator.control().clone();
    let own =
        Router::new().route("/provider-tokens/expire", post(expire)).with_state(control.clone());
    service::routes(control, simulator.ledger()).merge(own)
}

async fn expire(State(control): State<ApnsControl>) -> StatusCode {
    control.expire_provider_tokens();
    StatusCode::NO_CONTENT
}

impl Control for ApnsControl {
    type Device = ApnsDeviceState;
    type Failure = ApnsFailure;

    fn connections(&self) -> &ConnectionFaults {
        self.connections()
    }

    fn set_device(&self, token: &str, state: ApnsDeviceState) -> Result<(), SimulatorError> {
        self.set_device(token, state)
    }

    fn revive_device(&self, token: &str) {
        self.revive_device(token);
    }

    fn kept_for(&self, token: &str) -> Vec<Arc<AcceptedPush>> {
        self.kept_for(token)
    }

    fn fail_next(&self, pushes: u64, failure: ApnsFailure) {
        self.fail_next(pushes, failure);
    }

    fn set_failure_shares(&self, shares: &[(f64, ApnsFailure)]) -> Result<(), SimulatorError> {
        self.set_failure_shares(shares)
    }
}
