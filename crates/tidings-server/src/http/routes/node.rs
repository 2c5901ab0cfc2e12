//! How the node is doing.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tidings_core::error_chain::ErrorChain;
use tidings_ingest::kafka::{KafkaHealth, PartitionState};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{error::Problem, state::App},
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Whether the process lives. Says nothing about its parts: a restart would not mend them.
#[utoipa::path(
    get, path = "/healthz", tag = "node", security(()),
    responses((status = 200, description = "It lives", body = String)),
)]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the node takes work, part by part.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    /// False when load balancers should look elsewhere.
    ready: bool,
    /// The parts.
    parts: Vec<Part>,
}

/// A part of the node.
#[derive(Debug, Serialize, ToSchema)]
struct Part {
    /// Its name.
    name: &'static str,
    /// Whether it works.
    up: bool,
    /// What does not work while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<&'static str>,
    /// What exactly is wrong, and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

/// Whether the node takes work: which part is down, and what that costs.
#[utoipa::path(
    get, path = "/readyz", tag = "node", security(()),
    responses(
        (status = 200, description = "It takes work", body = Ready),
        (status = 503, description = "It does not", body = Ready),
    ),
)]
async fn readyz(State(app): State<Arc<App>>) -> Response {
    let (store, graph) = tokio::join!(app.notifications.check(), app.graph.check());
    let store_up = is_up("store", &store);
    let graph_up = is_up("graph", &graph);
    let running = !app.readiness.is_stopping();
    let part = |name, up: bool, costs| {
        let costs = Some(costs).filter(|_| !up);
        Part { name, up, costs, details: Vec::new() }
    };
    let mut parts = vec![
        part("node", running, "the node is stopping and takes no new work"),
        part("store", store_up, "events are answered 503, inboxes cannot be read, pushes wait"),
        part("graph", graph_up, "events for someone's followers are answered 503"),
    ];
    if let Some(kafka) = &app.kafka {
        let details = kafka_details(&kafka.snapshot());
        let costs = "records wait in Kafka; nothing is lost";
        parts.push(Part { details: details.clone(), ..part("kafka", details.is_empty(), costs) });
    }
    // Without the graph the node still serves everything that names its users.
    let ready = running && store_up;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, parts })).into_response()
}

/// Says what is wrong with the consumer, if anything is.
fn kafka_details(health: &KafkaHealth) -> Vec<String> {
    let mut details: Vec<String> = health.fatal.iter().cloned().collect();
    if !health.connected {
        let cause = health.last_error.as_deref().unwrap_or("no broker has answered yet");
        details.push(format!("not connected: {cause}"));
    }
    for it in &health.partitions {
        let (topic, partition) = (&it.topic, it.partition);
        match &it.state {
            PartitionState::Waiting { why } => {
                details.push(format!("{topic}/{partition} waits: {why}"));
            }
            PartitionState::Stopped { why } => {
                details.push(format!("{topic}/{partition} is stopped: {why}"));
            }
            _ => {}
        }
    }
    details
}

fn is_up<E: std::error::Error + 'static>(part: &'static str, result: &Result<(), E>) -> bool {
    if let Err(error) = result {
        tracing::warn!(part, error = %ErrorChain(error), "a part does not answer");
    }
    result.is_ok()
}

/// Metrics in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "node",
    responses(
        (status = 200, description = "The metrics", body = String),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn metrics(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    caller.server(Scope::MetricsRead)?;
    app.metrics.run_upkeep();
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, app.metrics.render()).into_response())
}
