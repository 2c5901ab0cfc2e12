//! The simulators' control over plain HTTP, for tests in any language.
//!
//! Everything acts at once. Bodies are JSON; what is wrong gets 400 or 422 and a sentence. It has no
//! authentication: listen on loopback.
//!
//! | request | what it does |
//! | --- | --- |
//! | `GET /` | this table, and what runs where |
//! | `GET /credentials/NAME` | `ca.pem`, `apns.p8`, `apns.json`, `apns-certificate.pem`, `fcm-service-account.json` |
//! | `GET /SERVICE/ledger` | counts of what was accepted and refused |
//! | `GET /SERVICE/ledger/recent?limit=N` | the last accepted pushes, oldest first |
//! | `GET /SERVICE/ledger/stream` | each push as it is accepted, a line of JSON each |
//! | `PUT /SERVICE/devices` | `{"token":"…","state":"…"}`; `*` in a token makes it a pattern |
//! | `DELETE /SERVICE/devices?token=…` | makes a device live again |
//! | `GET /SERVICE/devices/kept?token=…` | what is kept for a device that is `offline` |
//! | `POST /SERVICE/failures` | `{"next":3,"failure":"unavailable","retry_after_secs":5}` |
//! | `PUT /SERVICE/failures` | `[{"share":0.1,"failure":"internal"}]` of all pushes, at random |
//! | `POST /SERVICE/faults` | `{"next":1,"fault":"kill"}`, `stall`, `reset` or `reset_after_headers` |
//! | `PUT /SERVICE/faults` | `[{"share":0.01,"fault":"stall"}]` of all accepted pushes, at random |
//! | `PUT /SERVICE/connections` | `latency_ms`, `latency_sigma`, `go_away_after`, `go_away_form`, `idle_timeout_ms`, `kill_every_ms`, `excess_streams` |
//! | `POST /SERVICE/connections/kill` | closes all connections without a word |
//! | `POST /SERVICE/connections/go-away` | `{"form":"graceful","reason":"…"}`, `abrupt` or `last_stream` |
//! | `POST /apns/provider-tokens/expire` | expires all provider tokens issued so far |
//! | `POST /fcm/access-tokens/revoke` | ends all access tokens |
//! | `POST /fcm/token-requests/fail` | `{"next":2}`: the token endpoint answers 503 |
//! | `PUT /fcm/quota` | `project_per_minute`, `device_per_minute`, `device_per_hour`; absent is unlimited |
//! | `POST /webpush/subscriptions` | `{"application_server_key":"…","name":"…"}`, both optional; gives the `PushSubscription` |
//!
//! `SERVICE` is `apns`, `fcm` or `webpush`. States of devices, with `retry_after_secs`, `since_ms` and
//! `answered_from_ms` beside them where they have one:
//! APNs `bad_device_token`, `other_topic`, `unregistered`, `expired_token`, `unregistered_later`,
//! `too_many_requests`, `offline`; FCM `unregistered`, `sender_id_mismatch`, `quota_exceeded`,
//! `invalid_argument`, `third_party_auth_error`, `inactive`; Web Push `expired`, `gone`, `too_large`,
//! `too_many`, `offline`. Failures: APNs `idle_timeout`, `forbidden`, `internal_server_error`,
//! `service_unavailable`, `shutdown`; the others `internal`, `unavailable`.

mod apns;
mod fcm;
mod service;
mod webpush;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{ApnsSimulator, FcmSimulator, SimulatorError, WebPushSimulator};

/// How long open streams of a ledger may take to end.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// The routes, as `GET /` and `--help` show them.
pub const ROUTES: &str = "\
GET    /                                this, and what runs where
GET    /credentials/NAME                ca.pem apns.p8 apns.json apns-certificate.pem fcm-service-account.json
GET    /SERVICE/ledger                  counts of what was accepted and refused
GET    /SERVICE/ledger/recent?limit=N   the last accepted pushes, oldest first
GET    /SERVICE/ledger/stream           each push as it is accepted, a line of JSON each
PUT    /SERVICE/devices                 {\"token\":\"…\",\"state\":\"unregistered\",\"since_ms\":0}; * in a token: a pattern
DELETE /SERVICE/devices?token=…         makes a device live again
GET    /SERVICE/devices/kept?token=…    what is kept for a device that is offline
POST   /SERVICE/failures                {\"next\":3,\"failure\":\"unavailable\",\"retry_after_secs\":5}
PUT    /SERVICE/failures                [{\"share\":0.1,\"failure\":\"internal\"}]
POST   /SERVICE/faults                  {\"next\":1,\"fault\":\"kill\"}; stall, reset, reset_after_headers
PUT    /SERVICE/faults                  [{\"share\":0.01,\"fault\":\"stall\"}]
PUT    /SERVICE/connections             latency_ms latency_sigma go_away_after go_away_form idle_timeout_ms
                                        kill_every_ms excess_streams
POST   /SERVICE/connections/kill        closes all connections without a word
POST   /SERVICE/connections/go-away     {\"form\":\"graceful\",\"reason\":\"…\"}; abrupt, last_stream
POST   /apns/provider-tokens/expire     expires all provider tokens issued so far
POST   /fcm/access-tokens/revoke        ends all access tokens
POST   /fcm/token-requests/fail         {\"next\":2}
PUT    /fcm/quota                       project_per_minute device_per_minute device_per_hour
POST   /webpush/subscriptions           {\"application_server_key\":\"…\",\"name\":\"…\"}
";

/// What is controlled, and the files that are handed out.
#[derive(Default)]
pub struct ControlTargets<'a> {
    /// The APNs simulator, if there is one.
    pub apns: Option<&'a ApnsSimulator>,
    /// The FCM simulator, if there is one.
    pub fcm: Option<&'a FcmSimulator>,
    /// The Web Push simulator, if there is one.
    pub webpush: Option<&'a WebPushSimulator>,
    /// Files under `/credentials`, by name.
    pub credentials: BTreeMap<String, String>,
}

/// A running control server; dropping it without [`stop`](Self::stop) aborts its task.
pub struct ControlApi {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<std::io::Result<()>>,
}

impl ControlApi {
    /// Listens and serves until it is stopped or dropped.
    ///
    /// # Errors
    ///
    /// [`SimulatorError::Listen`] if the address is taken.
    pub async fn start(
        address: SocketAddr,
        targets: ControlTargets<'_>,
    ) -> Result<Self, SimulatorError> {
        let failed = |source| SimulatorError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let serving = axum::serve(listener, router(targets))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let mut tasks = JoinSet::new();
        tasks.spawn(serving.into_future());
        Ok(Self { address, stop, tasks })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://<address>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers what is under way and ends; streams of a ledger are cut.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if timeout(STOP_GRACE, self.tasks.join_next()).await.is_err() {
            tracing::debug!("connections of the control server were cut");
        }
    }
}

fn router(targets: ControlTargets<'_>) -> Router {
    let mut urls = String::new();
    let mut router = Router::new();
    if let Some(apns) = targets.apns {
        urls.push_str(&format_url("apns", &apns.url()));
        router = router.nest("/apns", apns::routes(apns));
    }
    if let Some(fcm) = targets.fcm {
        urls.push_str(&format_url("fcm", &fcm.url()));
        router = router.nest("/fcm", fcm::routes(fcm));
    }
    if let Some(webpush) = targets.webpush {
        urls.push_str(&format_url("webpush", &webpush.url()));
        router = router.nest("/webpush", webpush::routes(webpush));
    }
    let index = format!("{urls}\n{ROUTES}");
    let credentials = Router::new()
        .route("/credentials/{name}", get(credential))
        .with_state(std::sync::Arc::new(targets.credentials));
    router.merge(credentials).route("/", get(|| async { index }))
}

fn format_url(name: &str, url: &str) -> String {
    format!("{name:<8} {url}\n")
}

async fn credential(
    State(files): State<std::sync::Arc<BTreeMap<String, String>>>,
    Path(name): Path<String>,
) -> Response {
    match files.get(&name) {
        Some(text) => text.clone().into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    }
}

impl IntoResponse for SimulatorError {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{self}\n")).into_response()
    }
}
