//! The HTTP API: REST under `/v1`, the WebSocket stream, health, metrics, OpenAPI.

mod body;
mod changes;
mod error;
mod extract;
mod idempotency;
mod layers;
mod measure;
mod openapi;
mod origins;
mod routes;
pub mod schema;
mod serve;
mod sse;
mod state;
mod unpack;

pub use changes::Changes;
pub use error::Problem;
pub use idempotency::RequestsUnderWay;
pub use measure::EventCounts;
pub use openapi::openapi_json;
pub use origins::{AllowedOrigins, BadOrigin};
pub(crate) use serve::serve;
pub use state::{App, LetterDecoder, Limits, Readiness};

use std::sync::Arc;

use axum::Router;

/// The whole API over `app`.
pub fn router(app: Arc<App>) -> Router {
    layers::with_layers(openapi::with_docs(routes::router()), &app).with_state(app)
}
