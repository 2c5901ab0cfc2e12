//! Live notifications.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{error::Problem, socket::AxumSocket, state::App};

/// The subprotocol that this node speaks.
const SUBPROTOCOL: &str = "tidings.v1";
/// Per connection. The library's default of 128 KiB is what an idle connection would cost.
const READ_BUFFER_BYTES: usize = 512;

/// Long enough for a load balancer to see that the node is going away.
const STOPPING_RETRY: Duration = Duration::from_secs(1);

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Open a live session (WebSocket, subprotocol `tidings.v1`).
///
/// The frames are described in `api/websocket.md`. The token goes into the first frame.
#[utoipa::path(
    get, path = "/v1/stream", tag = "stream", security(()),
    responses(
        (status = 101, description = "The session is open: say hello"),
        (status = 400, description = "Not a WebSocket request", body = Problem),
        (status = 403, description = "The page's origin is not allowed", body = Problem),
        (status = 503, description = "The node is stopping, or lets in no more sessions right now: \
            come back after Retry-After", body = Problem),
    ),
)]
async fn stream(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|error| Problem::bad_input("", error.body_text()))?;
    if !app.origins.may_stream(headers.get(header::ORIGIN)) {
        return Err(origin_refused());
    }
    if app.readiness.is_stopping() {
        metrics::counter!("tidings_realtime_refusals_total", "reason" => "stopping").increment(1);
        return Err(Problem::unavailable("the node is stopping", STOPPING_RETRY));
    }
    // Before the WebSocket is made, which would cost more than all that comes before it.
    let admitted = match app.admission.try_admit() {
        Ok(admitted) => admitted,
        Err(refused) => return Err(Problem::unavailable(refused.to_string(), refused.retry_after)),
    };
    // Counted while the request is answered, so that a stopping node waits for this session too.
    let counted = app.session_tasks.token();
    let response = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(app.frame_bytes)
        .max_frame_size(app.frame_bytes)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .on_upgrade(move |socket| async move {
            let stop = app.drain.token();
            app.sessions.serve(AxumSocket::new(socket), admitted, stop).await;
            drop(counted);
        });
    Ok(response.into_response())
}

pub(super) fn origin_refused() -> Problem {
    let detail = "this page's origin is not in server.allowed_origins";
    Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed", "Origin not allowed", detail)
}
