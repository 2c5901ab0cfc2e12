//! What only Web Push has.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::service::{self, Control};
use crate::webpush::{SubscribeOptions, WebPushControl, WebPushDeviceState, WebPushFailure};
use crate::{AcceptedPush, ConnectionFaults, SimulatorError, WebPushSimulator};

pub(super) fn routes(simulator: &WebPushSimulator) -> Router {
    let control = simulator.control().clone();
    let own = Router::new().route("/subscriptions", post(subscribe)).with_state(control.clone());
    service::routes(control, simulator.ledger()).merge(own)
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

impl Control for WebPushControl {
    type Device = WebPushDeviceState;
    type Failure = WebPushFailure;

    fn connections(&self) -> &ConnectionFaults {
        self.connections()
    }

    fn set_device(&self, token: &str, state: WebPushDeviceState) -> Result<(), SimulatorError> {
        self.set_device(token, state)
    }

    fn revive_device(&self, token: &str) {
        self.revive_device(token);
    }

    fn kept_for(&self, token: &str) -> Vec<Arc<AcceptedPush>> {
        self.kept_for(token)
    }

    fn fail_next(&self, pushes: u64, failure: WebPushFailure) {
        self.fail_next(pushes, failure);
    }

    fn set_failure_shares(&self, shares: &[(f64, WebPushFailure)]) -> Result<(), SimulatorError> {
        self.set_failure_shares(shares)
    }
}
