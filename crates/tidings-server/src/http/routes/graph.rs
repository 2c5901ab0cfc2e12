//! Who follows whom.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use tidings_core::{
    clock::Timestamp,
    follow::Follow,
    ids::UserId,
    ports::{Cursor, Page},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{
        error::Problem,
        extract::{PageParams, Params, Path},
        schema::Counts,
        state::App,
    },
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(follow, unfollow))
        .routes(routes!(followers))
        .routes(routes!(following))
        .routes(routes!(friends))
        .routes(routes!(counts))
}

/// A user in a list, and since when.
#[derive(Debug, Serialize, ToSchema)]
struct Followed {
    /// The user.
    user: String,
    /// When the follow, block or mute was made; not said in a list of friends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    at: Option<Timestamp>,
}

/// A part of a list of users, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FollowPage {
    /// The users.
    items: Vec<Followed>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl FollowPage {
    /// A list without anybody in it.
    pub(super) fn empty() -> Json<Self> {
        Json(Self { items: Vec::new(), next: None })
    }

    pub(super) fn new<T>(
        page: Page<T>,
        show: impl Fn(T) -> (UserId, Option<Timestamp>),
    ) -> Json<Self> {
        let items = page.items.into_iter().map(|item| {
            let (user, at) = show(item);
            Followed { user: user.as_str().to_owned(), at }
        });
        Json(Self { items: items.collect(), next: page.next.map(|next| next.to_string()) })
    }
}

/// Whether an edge changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// False when it was so before.
    pub(super) changed: bool,
}

/// Follow someone. Following twice is following once. Refused while either has blocked the other.
///
/// The followed user is notified, once for each follower, unless `follow_events.notify` is off. After
/// 429 or 503 the follow may stand and the notification be missing: send it again.
#[utoipa::path(
    put, path = "/v1/users/{user}/following/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "The follower: a user id, or `me`"),
        ("other" = String, Path, description = "The followee"),
    ),
    responses(
        (status = 200, body = Changed), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "Either has blocked the other, or the user's token follows `graph.following_max` accounts already"),
        (status = 429, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn follow(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
) -> Result<Json<Changed>, Problem> {
    let (user, other) = edge(&caller, &user, &other)?;
    if matches!(caller, Caller::User(_)) {
        may_follow_more(&app, &user, &other).await?;
    }
    let now = app.clock.now();
    let changed = {
        let _lists = app.changing([&user]);
        app.graph.add_follow(&user, &other, now).await?
    };
    // Also when the follow stood before: whoever asks again may do so because the event was not
    // stored the first time. Its identity is the pair, so it is told once.
    tell(&app, &user, &other, now).await?;
    Ok(Json(Changed { changed }))
}

/// Refuses a follow beyond the limit. Requests at the same moment may come to pass it by a few.
async fn may_follow_more(app: &App, user: &UserId, other: &UserId) -> Result<(), Problem> {
    let most = app.limits.following_max;
    if app.graph.counts(user).await?.following < most || app.graph.is_following(user, other).await?
    {
        return Ok(());
    }
    let detail =
        format!("the user follows {most} accounts, which is the most (graph.following_max)");
    Err(Problem::new(StatusCode::CONFLICT, "too-many-follows", "Follows too many", detail))
}

/// Tells the followed user.
async fn tell(
    app: &App,
    follower: &UserId,
    followee: &UserId,
    now: Timestamp,
) -> Result<(), Problem> {
    let Some(notices) = &app.follow_notices else { return Ok(()) };
    let event = notices.event(follower, followee, now).map_err(|error| {
        tracing::error!(%error, "a follow made no event");
        Problem::internal()
    })?;
    for outcome in app.intake.accept(std::slice::from_ref(&event)).await {
        outcome?;
    }
    Ok(())
}

/// Stop following someone; fine if it was not so.
#[utoipa::path(
    delete, path = "/v1/users/{user}/following/{other}", tag = "graph",
    params(
        ("user" = String, Path, description = "The follower: a user id, or `me`"),
        ("other" = String, Path, description = "The followee"),
    ),
    responses(
        (status = 204, description = "The follower does not follow the followee any more"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn unfollow(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((user, other)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (user, other) = edge(&caller, &user, &other)?;
    let _lists = app.changing([&user]);
    app.graph.remove_follow(&user, &other).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn edge(caller: &Caller, user: &str, other: &str) -> Result<(UserId, UserId), Problem> {
    let user = caller.for_user(Scope::GraphWrite, user)?;
    let other =
        UserId::new(other).map_err(|error| Problem::bad_input("other", error.to_string()))?;
    Ok((user, other))
}

/// Who follow a user, newest first.
#[utoipa::path(
    get, path = "/v1/users/{user}/followers", tag = "graph",
    params(("user" = String, Path, description = "A user id, or `me`"), PageParams),
    responses(
        (status = 200, body = FollowPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn followers(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<FollowPage>, Problem> {
    let user = caller.for_user(Scope::GraphRead, &user)?;
    let page = app.graph.get_followers(&user, cursor(&page)?.as_ref(), page.limit()?).await?;
    Ok(FollowPage::new(page, |Follow { follower, at, .. }| (follower, Some(at))))
}

/// Whom a user follows, newest first.
#[utoipa::path(
    get, path = "/v1/users/{user}/following", tag = "graph",
    params(("user" = String, Path, description = "A user id, or `me`"), PageParams),
    responses(
        (status = 200, body = FollowPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn following(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<FollowPage>, Problem> {
    let user = caller.for_user(Scope::GraphRead, &user)?;
    let page = app.graph.get_following(&user, cursor(&page)?.as_ref(), page.limit()?).await?;
    Ok(FollowPage::new(page, |Follow { followee, at, .. }| (followee, Some(at))))
}

/// Who follow a user and are followed back.
#[utoipa::path(
    get, path = "/v1/users/{user}/friends", tag = "graph",
    params(("user" = String, Path, description = "A user id, or `me`"), PageParams),
    responses(
        (status = 200, body = FollowPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn friends(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<FollowPage>, Problem> {
    let user = caller.for_user(Scope::GraphRead, &user)?;
    let page = app.graph.get_mutual_follows(&user, cursor(&page)?.as_ref(), page.limit()?).await?;
    Ok(FollowPage::new(page, |user| (user, None)))
}

/// How many follow a user, and how many the user follows.
#[utoipa::path(
    get, path = "/v1/users/{user}/counts", tag = "graph",
    params(("user" = String, Path, description = "A user id, or `me`")),
    responses(
        (status = 200, body = Counts),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
    ),
)]
async fn counts(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Counts>, Problem> {
    let user = caller.for_user(Scope::GraphRead, &user)?;
    Ok(Json(app.graph.counts(&user).await?.into()))
}

pub(super) fn cursor(page: &PageParams) -> Result<Option<Cursor>, Problem> {
    let parse = |text: &String| {
        Cursor::new(text.clone()).map_err(|error| Problem::bad_input("cursor", error.to_string()))
    };
    page.cursor.as_ref().map(parse).transpose()
}
