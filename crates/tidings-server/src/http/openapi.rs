//! OpenAPI 3.1, made from the routes, and a page to browse it.

use std::sync::Arc;

use axum::Router;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use super::{error::Problem, routes, schema, state::App};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidings",
        description = "Tells people what happened: events in, notifications kept, screens reached.",
        license(name = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem, schema::EventSchema, schema::NotificationSchema)),
    modifiers(&Bearer),
    security(("bearer" = [])),
    tags(
        (name = "events", description = "Something happened"),
        (name = "inbox", description = "What a user was told"),
        (name = "devices", description = "Where a user can be pushed to"),
        (name = "graph", description = "Who follows whom"),
        (name = "recommendations", description = "Whom to follow"),
        (name = "deliveries", description = "What came of each attempt"),
        (name = "dead letters", description = "What could not become an event"),
        (name = "kafka", description = "How far Kafka was read"),
        (name = "stream", description = "Live notifications"),
        (name = "node", description = "How the node is doing"),
    ),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A server key (tdk_…) or a user's token (JWT)."))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Completes the document of `routes` and serves it under `/openapi.json` and `/docs`.
pub(super) fn with_docs(routes: OpenApiRouter<Arc<App>>) -> Router<Arc<App>> {
    let (router, document) = complete(routes).split_for_parts();
    router.merge(SwaggerUi::new("/docs").url("/openapi.json", document))
}

fn complete(routes: OpenApiRouter<Arc<App>>) -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi()).merge(routes)
}

/// The document as it is kept in `api/openapi.json`.
///
/// # Errors
///
/// None in practice: the document is made of types that JSON can show.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let (_, document) = complete(routes::router()).split_for_parts();
    let mut json = serde_json::to_string_pretty(&document)?;
    json.push('\n');
    Ok(json)
}
