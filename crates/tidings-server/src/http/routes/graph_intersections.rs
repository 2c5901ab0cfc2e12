//! What two users have in common.

use std::sync::Arc;

use axum::{Json, extract::State};
use tidings_core::ids::UserId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::graph::{FollowPage, cursor};
use crate::{
    auth::{Caller, Scope},
    http::{
        error::Problem,
        extract::{PageParams, Params, Path},
        state::App,
    },
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(common)).routes(routes!(followers_you_know))
}

fn pair(caller: &Caller, user: &str, other: &str) -> Result<(UserId, UserId), Problem> {
    let user = caller.for_user(Scope::GraphRead, user)?;
    let other =
        UserId::new(other).map_err(|error| Problem::bad_input("other", error.to_string()))?;
    Ok((user, other))
}

/// Whether the caller is a user who is to see nothing of `other`, because either has blocked the other;
/// or muted, if both have. A server's key sees everything.
async fn is_kept_from(
    app: &App,
    caller: &Caller,
    user: &UserId,
    other: &UserId,
) -> Result<bool, Problem> {
    if !matches!(caller, Caller::User(_)) {
        return Ok(false);
    }
    // A block hides in both directions, and a mute in one.
    for (actor, from) in [(user, other), (other, user)] {
        let hidden = app.graph.hidden_from(actor, std::slice::from_ref(from)).await?;
        if !hidden.contains(0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whom both a user and another follow, in the order in which the user followed them, newest first.
///
/// A page may hold fewer than `limit`, even none, with more to come: `next` tells. With a user's token it
/// is empty while either of the two has blocked the other, or both have muted each other.
#[utoipa::path(
    get, path = "/v1/users/{user}/common/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "A user id, or `me`"),
        ("other" = String, Path, description = "The other user"),
        PageParams,
    ),
    responses(
        (status = 200, body = FollowPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn common(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
    Params(page): Params<PageParams>,
) -> Result<Json<FollowPage>, Problem> {
    let (user, other) = pair(&caller, &user, &other)?;
    let (cursor, limit) = (cursor(&page)?, page.limit()?);
    if is_kept_from(&app, &caller, &user, &other).await? {
        return Ok(FollowPage::empty());
    }
    let page = app.graph.get_common_follows(&user, &other, cursor.as_ref(), limit).await?;
    Ok(FollowPage::new(page, |user| (user, None)))
}

/// Whom a user follows and who follow another: the other's followers whom the user knows, in the order
/// in which the user followed them, newest first.
///
/// A page may hold fewer than `limit`, even none, with more to come: `next` tells. With a user's token it
/// is empty while either of the two has blocked the other, or both have muted each other.
#[utoipa::path(
    get, path = "/v1/users/{user}/followers-you-know/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "Who knows them: a user id, or `me`"),
        ("other" = String, Path, description = "Whose followers"),
        PageParams,
    ),
    responses(
        (status = 200, body = FollowPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn followers_you_know(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
    Params(page): Params<PageParams>,
) -> Result<Json<FollowPage>, Problem> {
    let (user, other) = pair(&caller, &user, &other)?;
    let (cursor, limit) = (cursor(&page)?, page.limit()?);
    if is_kept_from(&app, &caller, &user, &other).await? {
        return Ok(FollowPage::empty());
    }
    let page = app.graph.get_followers_you_know(&user, &other, cursor.as_ref(), limit).await?;
    Ok(FollowPage::new(page, |user| (user, None)))
}
