//! How the node is doing.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tidings_core::error_chain::ErrorChain;
use tidings_delivery::dispatcher::{BreakerState, LaneHealth, RefusedPart};
use tidings_ingest::kafka::{KafkaHealth, PartitionState, TroubleKind};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{error::Problem, state::App},
};

/// How long a part may take to say that it works: less than probes usually wait.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

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
    /// Why not, in a word that stays the same across versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// What does not work while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<&'static str>,
    /// What exactly is wrong, and what to do. For server keys with `metrics:read`; the log says it too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

/// Why a part is down.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Reason {
    /// The node is stopping.
    Stopping,
    /// The part does not answer, or answers with an error.
    NoAnswer,
    /// The Kafka consumer has ended; the node has to be restarted.
    Ended,
    /// No Kafka broker, or no Redis, is connected.
    NotConnected,
    /// Partitions are read no further until a person has looked.
    PartitionsStopped,
    /// Partitions wait for what they need.
    PartitionsWaiting,
    /// A topic does not exist; it is read when it does.
    TopicNotAvailable,
    /// The broker refuses the topic or the group to this node.
    NotAuthorised,
    /// The broker answers with errors.
    Errors,
    /// Push services fail, or refuse this node's credentials.
    PushServicesDown,
}

impl Part {
    fn new(name: &'static str, costs: &'static str, down: Option<(Reason, Vec<String>)>) -> Self {
        let up = down.is_none();
        let (reason, details) =
            down.map_or((None, Vec::new()), |(reason, details)| (Some(reason), details));
        Self { name, up, reason, costs: Some(costs).filter(|_| !up), details }
    }
}

/// Whether the node takes work: which part is down, and what that costs.
#[utoipa::path(
    get, path = "/readyz", tag = "node", security(()),
    responses(
        (status = 200, description = "It takes work", body = Ready),
        (status = 503, description = "It does not", body = Ready),
    ),
)]
async fn readyz(State(app): State<Arc<App>>, caller: Result<Caller, Problem>) -> Response {
    let store = down("store", app.notifications.check());
    let graph = down("graph", app.graph.check());
    let (store, graph) = tokio::join!(store, graph);
    let stopping = app.readiness.is_stopping().then(|| (Reason::Stopping, Vec::new()));
    let mut parts = vec![
        Part::new("node", "the node is stopping and takes no new work", stopping),
        Part::new("store", "events are answered 503, inboxes cannot be read, pushes wait", store),
        Part::new(
            "graph",
            "events for someone's followers are answered 503, follows, blocks and mutes cannot be \
             read or changed",
            graph,
        ),
    ];
    if let Some(bus) = &app.bus {
        let health = bus.snapshot();
        let details = health.last_error.into_iter().collect();
        let down = (!health.is_up).then_some((Reason::NotConnected, details));
        let costs = "what other nodes store reaches live sessions by polling; users of other nodes \
                     count as absent";
        parts.push(Part::new("bus", costs, down));
    }
    if let Some(cache) = &app.graph_cache {
        let health = cache.snapshot();
        let details = health.last_error.into_iter().collect();
        let down = (!health.is_open).then_some((Reason::NotConnected, details));
        let costs = "every question about the graph goes to its store, and changes may wait";
        parts.push(Part::new("graph-cache", costs, down));
    }
    let lanes = app.lanes.health();
    if !lanes.is_empty() {
        let costs = "pushes to these services, apps or devices wait in the store; others are sent";
        parts.push(Part::new("push", costs, push_down(&lanes)));
    }
    // Pushes wait for their services. Sessions do without the bus, by polling. Without the graph the node still serves everything that names its users, and Kafka waits.
    let spared = ["graph", "graph-cache", "bus", "push"];
    let ready = parts.iter().all(|part| part.up || spared.contains(&part.name));
    if let Some(kafka) = &app.kafka {
        let costs = "records wait in Kafka; nothing is lost";
        parts.push(Part::new("kafka", costs, kafka_down(&kafka.snapshot())));
    }
    // Causes name hosts, files and topics: they are not for everyone who finds the port. Credentials
    // that are not accepted show what none show, so that a probe does not fail for its token.
    if !caller.is_ok_and(|caller| caller.server(Scope::MetricsRead).is_ok()) {
        parts.iter_mut().for_each(|part| part.details.clear());
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, parts })).into_response()
}

/// Says which push services are left alone, and what the others refuse, if any do.
fn push_down(lanes: &[LaneHealth]) -> Option<(Reason, Vec<String>)> {
    let mut details = Vec::new();
    for lane in lanes {
        let name = format!("{} ({})", lane.name, lane.platform.as_str());
        if lane.state != BreakerState::Closed {
            let why = lane.why.as_deref().unwrap_or("no answer");
            details.push(format!("{name} is {}: {why}", lane.state.as_str()));
        }
        for RefusedPart { app, why } in &lane.refused {
            let what = app.as_ref().map_or("some devices".to_owned(), |app| format!("app {app}"));
            details.push(format!("{name} refuses {what}: {why}"));
        }
    }
    (!details.is_empty()).then_some((Reason::PushServicesDown, details))
}

/// Says what is wrong with the consumer, if anything is.
fn kafka_down(health: &KafkaHealth) -> Option<(Reason, Vec<String>)> {
    let mut details: Vec<String> = health.fatal.iter().cloned().collect();
    if !health.connected {
        let cause = health.last_error.as_deref().unwrap_or("no broker has answered yet");
        details.push(format!("not connected: {cause}"));
    }
    let mut stopped = false;
    for it in &health.partitions {
        let (topic, partition) = (&it.topic, it.partition);
        match &it.state {
            PartitionState::Waiting { why } => {
                details.push(format!("{topic}/{partition} waits: {why}"));
            }
            PartitionState::Stopped { why } => {
                stopped = true;
                details.push(format!("{topic}/{partition} is stopped: {why}"));
            }
            _ => {}
        }
    }
    for it in &health.troubles {
        let topics = it.topics.join(", ");
        details.push(format!("{} ({} times; it may be about {topics})", it.error, it.times));
    }
    let reported = |kind| health.troubles.iter().any(|it| it.kind == kind);
    let reason = match () {
        () if health.fatal.is_some() => Reason::Ended,
        () if !health.connected => Reason::NotConnected,
        () if stopped => Reason::PartitionsStopped,
        () if reported(TroubleKind::NotAuthorised) => Reason::NotAuthorised,
        () if reported(TroubleKind::TopicNotAvailable) => Reason::TopicNotAvailable,
        () if !health.troubles.is_empty() => Reason::Errors,
        () => Reason::PartitionsWaiting,
    };
    (!details.is_empty()).then_some((reason, details))
}

/// Asks a part, and says why it is down if it is.
async fn down<E: Error + 'static>(
    part: &'static str,
    check: impl Future<Output = Result<(), E>>,
) -> Option<(Reason, Vec<String>)> {
    let why = match tokio::time::timeout(CHECK_TIMEOUT, check).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => ErrorChain(&error).to_string(),
        Err(_) => format!("no answer within {} s", CHECK_TIMEOUT.as_secs()),
    };
    tracing::warn!(part, error = why, "a part does not answer");
    Some((Reason::NoAnswer, vec![why]))
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
