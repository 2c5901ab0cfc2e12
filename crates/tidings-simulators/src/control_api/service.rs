//! The routes that all simulators have.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::stream;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::{
    AcceptedPush, ConnectionFaults, ExcessStreams, GoAwayForm, Ledger, RequestFault, SimulatorError,
};

type Done = Result<StatusCode, SimulatorError>;

/// A simulator, as its control sees it.
pub(super) trait Service: Clone + Send + Sync + 'static {
    /// A device state as JSON has it.
    type Device: DeserializeOwned + Send + 'static;
    /// A failure as JSON has it.
    type Failure: DeserializeOwned + Send + 'static;

    fn ledger(&self) -> &Arc<Ledger>;
    fn connections(&self) -> &ConnectionFaults;
    fn set_device(&self, token: &str, device: Self::Device) -> Result<(), SimulatorError>;
    fn revive_device(&self, token: &str);
    fn kept_for(&self, token: &str) -> Vec<Arc<AcceptedPush>>;
    fn fail_next(&self, pushes: u64, failure: Self::Failure);
    fn set_failure_shares(&self, shares: Vec<(f64, Self::Failure)>) -> Result<(), SimulatorError>;
}

pub(super) fn routes<S: Service>(service: S) -> Router {
    Router::new()
        .route("/ledger", get(counts::<S>))
        .route("/ledger/recent", get(recent::<S>))
        .route("/ledger/stream", get(accepted::<S>))
        .route("/devices", put(set_device::<S>).delete(revive_device::<S>))
        .route("/devices/kept", get(kept::<S>))
        .route("/failures", post(fail_next::<S>).put(failure_shares::<S>))
        .route("/faults", post(fault_next::<S>).put(fault_shares::<S>))
        .route("/connections", put(connections::<S>))
        .route("/connections/kill", post(kill::<S>))
        .route("/connections/go-away", post(go_away::<S>))
        .with_state(service)
}

async fn counts<S: Service>(State(service): State<S>) -> Json<Value> {
    let counts = service.ledger().counts();
    Json(json!({
        "accepted": counts.accepted,
        "distinct_identities": counts.distinct_identities,
        "duplicates": counts.duplicates,
        "unidentified": counts.unidentified,
        "untracked": counts.untracked,
        "exact": counts.is_exact(),
        "rejected": counts.rejected,
    }))
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

async fn recent<S: Service>(
    State(service): State<S>,
    Query(Limit { limit }): Query<Limit>,
) -> Json<Value> {
    let recent = service.ledger().recent();
    let from = recent.len().saturating_sub(limit.unwrap_or(usize::MAX));
    Json(recent[from..].iter().map(|push| as_json(push)).collect())
}

fn as_json(push: &AcceptedPush) -> Value {
    json!({
        "sequence": push.sequence,
        "identity": push.identity,
        "token": push.token,
        "collapse_id": push.collapse_id,
        "received_at_ms": push.received_at_ms,
        "payload": String::from_utf8_lossy(&push.payload),
    })
}

async fn accepted<S: Service>(State(service): State<S>) -> Response {
    let lines = stream::unfold(service.ledger().subscribe(), next_line);
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (headers, Body::from_stream(lines)).into_response()
}

type Line = Result<Bytes, std::convert::Infallible>;
type Pushes = Receiver<Arc<AcceptedPush>>;

async fn next_line(mut pushes: Pushes) -> Option<(Line, Pushes)> {
    let line = match pushes.recv().await {
        Ok(push) => as_json(&push),
        Err(RecvError::Lagged(missed)) => json!({ "missed": missed }),
        Err(RecvError::Closed) => return None,
    };
    Some((Ok(format!("{line}\n").into()), pushes))
}

#[derive(Deserialize)]
struct Device<D> {
    token: String,
    #[serde(flatten)]
    state: D,
}

async fn set_device<S: Service>(
    State(service): State<S>,
    Json(Device { token, state }): Json<Device<S::Device>>,
) -> Done {
    service.set_device(&token, state).map(|()| StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

async fn revive_device<S: Service>(
    State(service): State<S>,
    Query(Token { token }): Query<Token>,
) -> StatusCode {
    service.revive_device(&token);
    StatusCode::NO_CONTENT
}

async fn kept<S: Service>(
    State(service): State<S>,
    Query(Token { token }): Query<Token>,
) -> Json<Value> {
    Json(service.kept_for(&token).iter().map(|push| as_json(push)).collect())
}

/// What is done to the next so many pushes.
#[derive(Deserialize)]
struct Next<F> {
    next: u64,
    #[serde(flatten)]
    what: F,
}

/// What is done to a share of them.
#[derive(Deserialize)]
struct Share<F> {
    share: f64,
    #[serde(flatten)]
    what: F,
}

#[derive(Deserialize)]
struct Fault {
    fault: RequestFault,
}

async fn fail_next<S: Service>(
    State(service): State<S>,
    Json(Next { next, what }): Json<Next<S::Failure>>,
) -> StatusCode {
    service.fail_next(next, what);
    StatusCode::NO_CONTENT
}

async fn failure_shares<S: Service>(
    State(service): State<S>,
    Json(shares): Json<Vec<Share<S::Failure>>>,
) -> Done {
    let shares = shares.into_iter().map(|it| (it.share, it.what)).collect();
    service.set_failure_shares(shares).map(|()| StatusCode::NO_CONTENT)
}

async fn fault_next<S: Service>(
    State(service): State<S>,
    Json(Next { next, what }): Json<Next<Fault>>,
) -> StatusCode {
    service.connections().fault_next(next, what.fault);
    StatusCode::NO_CONTENT
}

async fn fault_shares<S: Service>(
    State(service): State<S>,
    Json(shares): Json<Vec<Share<Fault>>>,
) -> Done {
    let shares: Vec<_> = shares.into_iter().map(|it| (it.share, it.what.fault)).collect();
    service.connections().set_fault_shares(&shares).map(|()| StatusCode::NO_CONTENT)
}

/// What is named is set; the rest stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connections {
    latency_ms: Option<u64>,
    latency_sigma: Option<f64>,
    go_away_after: Option<u64>,
    go_away_form: Option<GoAwayForm>,
    idle_timeout_ms: Option<u64>,
    kill_every_ms: Option<u64>,
    excess_streams: Option<ExcessStreams>,
}

async fn connections<S: Service>(
    State(service): State<S>,
    Json(wanted): Json<Connections>,
) -> StatusCode {
    let faults = service.connections();
    if let Some(millis) = wanted.latency_ms {
        let sigma = wanted.latency_sigma.unwrap_or_default();
        faults.set_latency_spread(Duration::from_millis(millis), sigma);
    }
    if let Some(requests) = wanted.go_away_after {
        let form = wanted.go_away_form.unwrap_or(GoAwayForm::Graceful);
        faults.set_go_away_after(requests, form);
    }
    if let Some(millis) = wanted.idle_timeout_ms {
        faults.set_idle_timeout(Duration::from_millis(millis));
    }
    if let Some(millis) = wanted.kill_every_ms {
        faults.set_kill_every(Duration::from_millis(millis));
    }
    if let Some(answer) = wanted.excess_streams {
        faults.set_excess_streams(answer);
    }
    StatusCode::NO_CONTENT
}

async fn kill<S: Service>(State(service): State<S>) -> StatusCode {
    service.connections().kill_connections();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct GoAway {
    form: GoAwayForm,
    reason: Option<String>,
}

async fn go_away<S: Service>(
    State(service): State<S>,
    Json(GoAway { form, reason }): Json<GoAway>,
) -> StatusCode {
    service.connections().go_away_now_with(form, reason.as_deref().unwrap_or("Shutdown"));
    StatusCode::NO_CONTENT
}
