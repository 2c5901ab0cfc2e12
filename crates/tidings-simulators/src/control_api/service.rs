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

/// What a test can do to a simulator: each method is what its control has under that name.
pub(super) trait Control: Clone + Send + Sync + 'static {
    type Device: DeserializeOwned + Send + 'static;
    type Failure: DeserializeOwned + Send + 'static;

    fn connections(&self) -> &ConnectionFaults;
    fn set_device(&self, token: &str, state: Self::Device) -> Result<(), SimulatorError>;
    fn revive_device(&self, token: &str);
    fn kept_for(&self, token: &str) -> Vec<Arc<AcceptedPush>>;
    fn fail_next(&self, pushes: u64, failure: Self::Failure);
    fn set_failure_shares(&self, shares: &[(f64, Self::Failure)]) -> Result<(), SimulatorError>;
}

pub(super) fn routes<C: Control>(control: C, ledger: &Arc<Ledger>) -> Router {
    let of_ledger = Router::new()
        .route("/ledger", get(counts))
        .route("/ledger/recent", get(recent))
        .route("/ledger/stream", get(accepted))
        .with_state(Arc::clone(ledger));
    Router::new()
        .route("/devices", put(set_device::<C>).delete(revive_device::<C>))
        .route("/devices/kept", get(kept::<C>))
        .route("/failures", post(fail_next::<C>).put(failure_shares::<C>))
        .route("/faults", post(fault_next::<C>).put(fault_shares::<C>))
        .route("/connections", put(connections::<C>))
        .route("/connections/kill", post(kill::<C>))
        .route("/connections/go-away", post(go_away::<C>))
        .with_state(control)
        .merge(of_ledger)
}

async fn counts(State(ledger): State<Arc<Ledger>>) -> Json<Value> {
    let counts = ledger.counts();
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

async fn recent(
    State(ledger): State<Arc<Ledger>>,
    Query(Limit { limit }): Query<Limit>,
) -> Json<Value> {
    let recent = ledger.recent();
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

async fn accepted(State(ledger): State<Arc<Ledger>>) -> Response {
    let lines = stream::unfold(ledger.subscribe(), next_line);
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

async fn set_device<C: Control>(
    State(control): State<C>,
    Json(Device { token, state }): Json<Device<C::Device>>,
) -> Done {
    control.set_device(&token, state).map(|()| StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

async fn revive_device<C: Control>(
    State(control): State<C>,
    Query(Token { token }): Query<Token>,
) -> StatusCode {
    control.revive_device(&token);
    StatusCode::NO_CONTENT
}

async fn kept<C: Control>(
    State(control): State<C>,
    Query(Token { token }): Query<Token>,
) -> Json<Value> {
    Json(control.kept_for(&token).iter().map(|push| as_json(push)).collect())
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

async fn fail_next<C: Control>(
    State(control): State<C>,
    Json(Next { next, what }): Json<Next<C::Failure>>,
) -> StatusCode {
    control.fail_next(next, what);
    StatusCode::NO_CONTENT
}

async fn failure_shares<C: Control>(
    State(control): State<C>,
    Json(shares): Json<Vec<Share<C::Failure>>>,
) -> Done {
    let shares: Vec<_> = shares.into_iter().map(|it| (it.share, it.what)).collect();
    control.set_failure_shares(&shares).map(|()| StatusCode::NO_CONTENT)
}

async fn fault_next<C: Control>(
    State(control): State<C>,
    Json(Next { next, what }): Json<Next<Fault>>,
) -> StatusCode {
    control.connections().fault_next(next, what.fault);
    StatusCode::NO_CONTENT
}

async fn fault_shares<C: Control>(
    State(control): State<C>,
    Json(shares): Json<Vec<Share<Fault>>>,
) -> Done {
    let shares: Vec<_> = shares.into_iter().map(|it| (it.share, it.what.fault)).collect();
    control.connections().set_fault_shares(&shares).map(|()| StatusCode::NO_CONTENT)
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

async fn connections<C: Control>(
    State(control): State<C>,
    Json(wanted): Json<Connections>,
) -> StatusCode {
    let faults = control.connections();
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

async fn kill<C: Control>(State(control): State<C>) -> StatusCode {
    control.connections().kill_connections();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct GoAway {
    form: GoAwayForm,
    reason: Option<String>,
}

async fn go_away<C: Control>(
    State(control): State<C>,
    Json(GoAway { form, reason }): Json<GoAway>,
) -> StatusCode {
    control.connections().go_away_now_with(form, reason.as_deref().unwrap_or("Shutdown"));
    StatusCode::NO_CONTENT
}
