//! Who is signed in.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use serde::{Deserialize, Serialize};
use tidings_core::clock::Timestamp;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{body, error::Problem, extract::Path, state::App},
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(revoke_sessions))
}

/// What to revoke. An empty body revokes all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Revoke {
    /// Tokens that were issued before this are refused; not in the future. Now, unless told.
    #[schema(value_type = Option<String>, format = DateTime)]
    before: Option<Timestamp>,
}

/// What is revoked.
#[derive(Debug, Serialize, ToSchema)]
struct Revoked {
    /// Tokens of the user that were issued before this are refused.
    #[schema(value_type = String, format = DateTime)]
    before: Timestamp,
}

/// Sign a user out everywhere.
///
/// The user's tokens that were issued (`iat`) before `before` are refused from now on; those that do not say
/// when they were issued as well. Live sessions with such tokens are closed with 4401, on other nodes within
/// about a second. `iat` has whole seconds: a token that was issued in the same second is refused too.
#[utoipa::path(
    post, path = "/v1/users/{user}/sessions/revoke", tag = "stream",
    params(("user" = String, Path, description = "A user id, or `me`")),
    request_body(content = Option<Revoke>),
    responses(
        (status = 200, description = "What is refused", body = Revoked),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 503, description = "The store is not available: nothing is revoked", body = Problem),
    ),
)]
async fn revoke_sessions(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    body: Body,
) -> Result<Json<Revoked>, Problem> {
    let user = caller.for_user(Scope::SessionsRevoke, &user)?;
    let body = body::read_short(body, &app.limits.bodies).await?;
    let Revoke { before } = if body.is_empty() {
        Revoke::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| Problem::bad_input("", error.to_string()))?
    };
    let now = app.clock.now();
    let before = before.unwrap_or(now);
    if before > now {
        return Err(Problem::bad_input("before", "is in the future"));
    }
    Ok(Json(Revoked { before: app.revocations.revoke(&user, before).await? }))
}
