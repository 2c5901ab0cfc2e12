//! What came of each attempt.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use tidings_core::{delivery::Delivery, ids::NotificationId};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{error::Problem, extract::Path, state::App},
};

/// The most attempts that are listed.
const MAX_DELIVERIES: usize = 1000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One attempt to get a notification to one device or session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliverySchema {
    /// The notification's id.
    notification: String,
    /// Whose it is.
    user: String,
    /// `websocket`, `apns` or `fcm`.
    channel: String,
    /// The device or session; empty if the attempt had none.
    target: String,
    /// Number of the attempt for this target, from 1.
    attempt: u32,
    /// When it ended.
    at: String,
    /// How long it took.
    latency_ms: u64,
    /// `delivered`, `retrying`, `failed` or `skipped`.
    outcome: String,
    /// Why.
    reason: Option<String>,
    /// The identity under which the push service knows it.
    provider_id: Option<String>,
}

/// The delivery log of a notification, oldest first.
#[utoipa::path(
    get, path = "/v1/notifications/{id}/deliveries", tag = "deliveries",
    params(("id" = String, Path, description = "A notification's id")),
    responses(
        (status = 200, body = Vec<DeliverySchema>), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Vec<Delivery>>, Problem> {
    caller.server(Scope::DeliveriesRead)?;
    let id: NotificationId =
        id.parse().map_err(|_| Problem::bad_input("id", "is not the id of a notification"))?;
    if app.notifications.find(id).await?.is_none() {
        return Err(Problem::not_found("notification"));
    }
    Ok(Json(app.deliveries.list_deliveries(id, MAX_DELIVERIES).await?))
}
