//! Who has blocked and muted whom.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use tidings_core::follow::{Block, Mute};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::graph::{Changed, FollowPage, cursor, edge};
use crate::{
    auth::{Caller, Scope},
    http::{
        error::Problem,
        extract::{PageParams, Params, Path},
        state::App,
    },
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(block, unblock))
        .routes(routes!(blocks))
        .routes(routes!(mute, unmute))
        .routes(routes!(mutes))
}

/// Block someone. Neither follows the other from now on, nor is told what the other does.
///
/// Blocking twice is blocking once. Unblocking does not bring the follows back.
#[utoipa::path(
    put, path = "/v1/users/{user}/blocks/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "Who blocks: a user id, or `me`"),
        ("other" = String, Path, description = "Who is blocked"),
    ),
    responses(
        (status = 200, body = Changed), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn block(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
) -> Result<Json<Changed>, Problem> {
    let (user, other) = edge(&caller, &user, &other)?;
    // Neither is recommended to the other.
    let _lists = app.changing([&user, &other]);
    let changed = app.graph.add_block(&user, &other, app.clock.now()).await?;
    Ok(Json(Changed { changed }))
}

/// Unblock someone; fine if it was not so. A block in the other direction stands.
#[utoipa::path(
    delete, path = "/v1/users/{user}/blocks/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "Who has blocked: a user id, or `me`"),
        ("other" = String, Path, description = "Who is blocked"),
    ),
    responses(
        (status = 204, description = "The user does not block the other any more"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn unblock(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (user, other) = edge(&caller, &user, &other)?;
    let _lists = app.changing([&user, &other]);
    app.graph.remove_block(&user, &other).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whom a user has blocked, newest first.
#[utoipa::path(
    get, path = "/v1/users/{user}/blocks", tag = "graph",
    params(("user" = String, Path, description = "A user id, or `me`"), PageParams),
    responses(
        (status = 200, body = FollowPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn blocks(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<FollowPage>, Problem> {
    let user = caller.for_user(Scope::GraphRead, &user)?;
    let page = app.graph.list_blocks(&user, cursor(&page)?.as_ref(), page.limit()?).await?;
    Ok(FollowPage::new(page, |Block { blocked, at, .. }| (blocked, Some(at))))
}

/// Mute someone: not to be told what they do. Follows stay, and the other is not concerned.
///
/// Muting twice is muting once.
#[utoipa::path(
    put, path = "/v1/users/{user}/mutes/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "Who mutes: a user id, or `me`"),
        ("other" = String, Path, description = "Who is muted"),
    ),
    responses(
        (status = 200, body = Changed), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn mute(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
) -> Result<Json<Changed>, Problem> {
    let (user, other) = edge(&caller, &user, &other)?;
    let _lists = app.changing([&user]);
    let changed = app.graph.add_mute(&user, &other, app.clock.now()).await?;
    Ok(Json(Changed { changed }))
}

/// Unmute someone; fine if it was not so.
#[utoipa::path(
    delete, path = "/v1/users/{user}/mutes/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "Who has muted: a user id, or `me`"),
        ("other" = String, Path, description = "Who is muted"),
    ),
    responses(
        (status = 204, description = "The user does not mute the other any more"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn unmute(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (user, other) = edge(&caller, &user, &other)?;
    let _lists = app.changing([&user]);
    app.graph.remove_mute(&user, &other).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whom a user has muted, newest first.
#[utoipa::path(
    get, path = "/v1/users/{user}/mutes", tag = "graph",
    params(("user" = String, Path, description = "A user id, or `me`"), PageParams),
    responses(
        (status = 200, body = FollowPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn mutes(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<FollowPage>, Problem> {
    let user = caller.for_user(Scope::GraphRead, &user)?;
    let page = app.graph.list_mutes(&user, cursor(&page)?.as_ref(), page.limit()?).await?;
    Ok(FollowPage::new(page, |Mute { muted, at, .. }| (muted, Some(at))))
}
