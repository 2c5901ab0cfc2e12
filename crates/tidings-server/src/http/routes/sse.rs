//! Live notifications for those who cannot use WebSocket.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tidings_delivery::realtime::CloseCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::stream::origin_refused;
use crate::{
    auth::AuthError,
    http::{
        error::Problem,
        extract::{Params, bearer},
        sse::{self, Place, Said, SseSocket},
        state::App,
    },
};

const LAST_EVENT_ID: &str = "last-event-id";
/// When a client that was not let in may try again.
const RETRY: Duration = Duration::from_secs(5);

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(stream_events))
}

// Not Debug: a token must not get into a log.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SseParams {
    /// The user's token, for browsers: an `EventSource` cannot send headers.
    access_token: Option<String>,
    /// Everything up to here is known, as in the hello of a WebSocket. `Last-Event-ID` goes before it.
    last_seq: Option<u64>,
    /// Where the client began: it has what comes after, up to `last_seq`, and nothing before counts as
    /// acknowledged.
    after_seq: Option<u64>,
}

/// Open a live session (server-sent events).
///
/// Events are `welcome`, `notification` (its `id` begins with the `seq`), `update`, `bye` and `close`; their data are
/// the frames of `api/websocket.md`. What a client got is acknowledged when it comes back with
/// `Last-Event-ID`.
#[utoipa::path(
    get, path = "/v1/stream/sse", tag = "stream",
    params(
        SseParams,
        ("Last-Event-ID" = Option<String>, Header, description = "The last `id` that was received"),
    ),
    responses(
        (status = 200, description = "The session is open", content_type = "text/event-stream", body = String),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, description = "The page's origin is not allowed", body = Problem),
        (status = 429, description = "Too many sessions", body = Problem),
        (status = 503, description = "The node is stopping, lets in no more sessions right now, or has no store: come back after Retry-After", body = Problem),
    ),
)]
async fn stream_events(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Params(params): Params<SseParams>,
) -> Result<Response, Problem> {
    if !app.origins.may_stream(headers.get(header::ORIGIN)) {
        return Err(origin_refused());
    }
    if app.readiness.is_stopping() {
        return Err(Problem::unavailable("the node is stopping", Duration::from_secs(1)));
    }
    let token = bearer(&headers)?.or(params.access_token.as_deref()).ok_or(AuthError::Missing)?;
    let asked = params.last_seq.map(|last| Place { last, after: params.after_seq.unwrap_or(0) });
    let from = last_event_id(&headers)?.or(asked);
    let admitted = match app.admission.try_admit() {
        Ok(admitted) => admitted,
        Err(refused) => return Err(Problem::unavailable(refused.to_string(), refused.retry_after)),
    };
    let (socket, mut said) = SseSocket::new(token, from);
    let sessions = Arc::clone(&app.sessions);
    // Not with the other sessions: the HTTP server stops before they do, and waits for its answers.
    let stop = app.readiness.stopping().clone();
    app.session_tasks.spawn(async move { sessions.serve(socket, admitted, stop).await });
    match said.recv().await {
        Some(Said::Event(first)) => {
            let headers = [
                (header::CONTENT_TYPE, "text/event-stream"),
                (header::CACHE_CONTROL, "no-store"),
                // nginx would hold events back otherwise.
                (header::HeaderName::from_static("x-accel-buffering"), "no"),
            ];
            Ok((headers, sse::body(first, said)).into_response())
        }
        Some(Said::Refused(code, reason)) => Err(refused(code, reason)),
        None => Err(Problem::unavailable("the session was not opened", RETRY)),
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Place>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let seq = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let no_seq = || Problem::bad_input("Last-Event-ID", "is not one that this stream gave");
    seq.map(Some).ok_or_else(no_seq)
}

fn refused(code: CloseCode, reason: String) -> Problem {
    match code {
        CloseCode::NotAuthenticated => {
            Problem::new(StatusCode::UNAUTHORIZED, "not-authenticated", "Not authenticated", reason)
        }
        CloseCode::TooManyConnections => Problem::too_busy(reason, RETRY),
        CloseCode::Malformed => Problem::bad_input("", reason),
        _ => Problem::unavailable(reason, RETRY),
    }
}
