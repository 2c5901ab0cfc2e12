//! What only Web Push has.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::service::{self, Service};
use crate::webpush::{SubscribeOptions, WebPushControl, WebPushDeviceState, WebPushFailure};
use crate::{AcceptedPush, ConnectionFaults, Ledger, SimulatorError, WebPushSimulator};

#[derive(Clone)]
struct WebPush {
    control: WebPushControl,
    ledger: Arc<Ledger>,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Device {
    Expired,
    Gone,
    TooLarge,
    TooMany { retry_after_secs: Option<u64> },
    Offline,
}

#[derive(Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
enum Failure {
    Internal,
    Unavailable { retry_after_secs: Option<u64> },
}

pub(super) fn routes(simulator: &WebPushSimulator) -> Router {
    let control = simulator.control().clone();
    let webpush = WebPush { control: control.clone(), ledger: Arc::clone(simulator.ledger()) };
    let own = Router::new().route("/subscriptions", post(subscribe)).with_state(control);
    service::routes(webpush).merge(own)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    application_server_key: Option<String>,
    name: Option<String>,
}

async fn subscribe(
    State(control): State<WebPushControl>,
    Json(wanted): Json<Subscribe>,
) -> Result<(StatusCode, Json<Value>), SimulatorError> {
    let Subscribe { application_server_key, name } = wanted;
    let subscription = control.subscribe(&SubscribeOptions { application_server_key, name })?;
    Ok((StatusCode::CREATED, Json(subscription.to_json())))
}

impl Service for WebPush {
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
            Device::Expired => WebPushDeviceState::Expired,
            Device::Gone => WebPushDeviceState::Gone,
            Device::TooLarge => WebPushDeviceState::TooLarge,
            Device::TooMany { retry_after_secs: None } => WebPushDeviceState::TooMany,
            Device::TooMany { retry_after_secs: Some(secs) } => {
                WebPushDeviceState::TooManyRetryAfter(Duration::from_secs(secs))
            }
            Device::Offline => WebPushDeviceState::Offline,
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

impl From<Failure> for WebPushFailure {
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
