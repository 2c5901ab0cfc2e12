//! Live notifications.

use std::sync::Arc;

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
        (status = 503, description = "The node is stopping", body = Problem),
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
        let retry = std::time::Duration::from_secs(1);
        return Err(Problem::unavailable("the node is stopping", retry));
    }
    // Counted while the request is answered, so that a stopping node waits for this session too.
    let counted = app.session_tasks.token();
    let response = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(app.frame_bytes)
        .max_frame_size(app.frame_bytes)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .on_upgrade(move |socket| async move {
            let stop = app.stop_sessions.clone();
            app.sessions.serve(AxumSocket::new(socket), stop).await;
            drop(counted);
        });
    Ok(response.into_response())
}

pub(super) fn origin_refused() -> Problem {
    let detail = "this page's origin is not in server.allowed_origins";
    Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed", "Origin not allowed", detail)
}
