//! Live notifications.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    http::{error::Problem, state::App},
    websocket::{BadHandshake, Handshake},
};

/// The subprotocol that this node speaks.
const SUBPROTOCOL: &str = "tidings.v1";

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
        (status = 426, description = "Another version of WebSocket than 13", body = Problem),
        (status = 503, description = "The node is stopping, or lets in no more sessions right now: \
            come back after Retry-After", body = Problem),
    ),
)]
async fn stream(State(app): State<Arc<App>>, request: Request) -> Result<Response, Response> {
    let (mut parts, _no_body) = request.into_parts();
    let handshake = Handshake::new(&mut parts, SUBPROTOCOL).map_err(handshake_refused)?;
    if !app.origins.may_stream(parts.headers.get(header::ORIGIN)) {
        return Err(origin_refused().into_response());
    }
    if app.readiness.is_stopping() {
        metrics::counter!("tidings_realtime_refusals_total", "reason" => "stopping").increment(1);
        return Err(Problem::unavailable("the node is stopping", STOPPING_RETRY).into_response());
    }
    // Before the WebSocket is made, which would cost more than all that comes before it.
    let admitted = app.admission.try_admit().map_err(|refused| {
        Problem::unavailable(refused.to_string(), refused.retry_after).into_response()
    })?;
    let (response, opening) = handshake.accept();
    let sessions = Arc::clone(&app.sessions);
    let (stop, frame_bytes) = (app.drain.token(), app.limits.frame_bytes);
    // From here on a stopping node waits for this session too.
    app.session_tasks.spawn(async move {
        if let Some(connection) = opening.connection(frame_bytes).await {
            sessions.serve(connection, admitted, stop).await;
        }
    });
    Ok(response)
}

fn handshake_refused(error: BadHandshake) -> Response {
    match error {
        BadHandshake::Malformed(problem) => Problem::bad_input("", problem).into_response(),
        BadHandshake::OtherVersion => {
            let status = StatusCode::UPGRADE_REQUIRED;
            let title = "Another version of WebSocket";
            let problem = Problem::new(status, "websocket-version", title, error.to_string());
            let mut response = problem.into_response();
            let version = HeaderValue::from_static("13");
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
            response
        }
    }
}

pub(super) fn origin_refused() -> Problem {
    let detail = "this page's origin is not in server.allowed_origins";
    Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed", "Origin not allowed", detail)
}
