//! What happens to every request: an id, a log line, a time limit, metrics.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, StatusCode},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use super::{changes, error::Problem, state::App};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) fn with_layers(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    let router = router
        .fallback(async || Problem::not_found("resource").into_response())
        .method_not_allowed_fallback(method_not_allowed);
    let router = match app.origins.cors() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(from_fn_with_state(Arc::clone(app), changes::to_the_end))
        .layer(from_fn_with_state(Arc::clone(app), time_limit))
        .layer(from_fn(observe))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
}

async fn method_not_allowed() -> Response {
    let detail = "this resource does not take this method; see /docs";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
        .into_response()
}

async fn time_limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(app.limits.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took longer than server.request_timeout_ms; what it asked for \
                          may still happen";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "Timed out", detail)
                .into_response()
        }
    }
}

/// Counts and times requests by route, never by path: a path names users.
async fn observe(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let request_id = request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let start = Instant::now();
    let response = next.run(request).await;
    let elapsed = start.elapsed();
    let status = response.status().as_u16();
    metrics::counter!(
        "tidings_http_requests_total",
        "method" => method.to_string(), "route" => route.clone(), "status" => status.to_string(),
    )
    .increment(1);
    metrics::histogram!("tidings_http_request_seconds", "route" => route.clone()).record(elapsed);
    tracing::debug!(%method, route, status, elapsed_ms = elapsed.as_millis(), request_id, "request");
    response
}
