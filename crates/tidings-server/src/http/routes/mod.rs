//! The routes, one file per noun.

mod dead_letters;
mod deliveries;
mod devices;
mod events;
mod graph;
mod graph_export;
mod graph_import;
mod graph_intersections;
mod inbox;
mod node;
mod offsets;
mod recommendations;
mod relations;
mod sessions;
mod sse;
mod stream;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use super::state::App;

/// All routes with their descriptions.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(events::router())
        .merge(inbox::router())
        .merge(devices::router())
        .merge(graph::router())
        .merge(graph_intersections::router())
        .merge(graph_import::router())
        .merge(graph_export::router())
        .merge(relations::router())
        .merge(recommendations::router())
        .merge(deliveries::router())
        .merge(dead_letters::router())
        .merge(offsets::router())
        .merge(stream::router())
        .merge(sse::router())
        .merge(sessions::router())
        .merge(node::router())
}
