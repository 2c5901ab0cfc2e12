//! What only APNs has.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;

use super::service::{self, Service};
use crate::apns::{ApnsControl, ApnsDeviceState, ApnsFailure};
use crate::{AcceptedPush, ApnsSimulator, ConnectionFaults, Ledger, SimulatorError};

#[derive(Clone)]
struct Apns {
    control: ApnsControl,
    ledger: Arc<Ledger>,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Device {
    BadDeviceToken,
    OtherTopic,
    Unregistered { since_ms: i64 },
    ExpiredToken { since_ms: i64 },
    UnregisteredLater { since_ms: i64, answered_from_ms: i64 },
    TooManyRequests,
    Offline,
}

#[derive(Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
enum Failure {
    IdleTimeout,
    Forbidden,
    InternalServerError,
    ServiceUnavailable,
    Shutdown,
}

pub(super) fn routes(simulator: &ApnsSimulator) -> Router {
    let control = simulator.control().clone();
    let apns = Apns { control: control.clone(), ledger: Arc::clone(simulator.ledger()) };
    let own = Router::new().route("/provider-tokens/expire", post(expire)).with_state(control);
    service::routes(apns).merge(own)
}

async fn expire(State(control): State<ApnsControl>) -> StatusCode {
    control.expire_provider_tokens();
    StatusCode::NO_CONTENT
}

impl Service for Apns {
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
            Device::BadDeviceToken => ApnsDeviceState::BadDeviceToken,
            Device::OtherTopic => ApnsDeviceState::OtherTopic,
            Device::Unregistered { since_ms } => ApnsDeviceState::Unregistered { since_ms },
            Device::ExpiredToken { since_ms } => ApnsDeviceState::ExpiredToken { since_ms },
            Device::UnregisteredLater { since_ms, answered_from_ms } => {
                ApnsDeviceState::UnregisteredLater { since_ms, answered_from_ms }
            }
            Device::TooManyRequests => ApnsDeviceState::TooManyRequests,
            Device::Offline => ApnsDeviceState::Offline,
        };
        self.control.set_device(token, state)
    }

    fn revive_device(&self, token: &str) {
        self.control.revive_device(token);
    }

    fn kept_for(&self, token: &str) -> Vec<Arc<AcceptedPush>> {
        self.control.kept_for(token)
    }

    fn fail_next(&self, pushes: u64, failure: Failure) {
        self.control.fail_next(pushes, failure.into());
    }

    fn set_failure_shares(&self, shares: Vec<(f64, Failure)>) -> Result<(), SimulatorError> {
        let shares: Vec<_> = shares.into_iter().map(|(share, it)| (share, it.into())).collect();
        self.control.set_failure_shares(&shares)
    }
}

impl From<Failure> for ApnsFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::IdleTimeout => Self::IdleTimeout,
            Failure::Forbidden => Self::Forbidden,
            Failure::InternalServerError => Self::InternalServerError,
            Failure::ServiceUnavailable => Self::ServiceUnavailable,
            Failure::Shutdown => Self::Shutdown,
        }
    }
}
