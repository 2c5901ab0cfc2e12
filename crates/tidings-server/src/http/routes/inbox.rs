//! What a user was told.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use serde::Deserialize;
use tidings_core::{
    ids::{NotificationId, Seq},
    inbox::{Mark, Selection},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{
        body,
        error::Problem,
        extract::{PageParams, Params, Path},
        schema::{InboxCounters, InboxPage},
        state::App,
    },
};

/// The most notifications that a request marks by id.
const MAX_IDS: usize = 1_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(counters))
        .routes(routes!(mark_seen))
        .routes(routes!(mark_read))
        .routes(routes!(archive))
}

/// A user's notifications, newest first, without archived ones.
#[utoipa::path(
    get, path = "/v1/users/{user}/notifications", tag = "inbox",
    params(("user" = String, Path, description = "A user id, or `me`"), PageParams),
    responses(
        (status = 200, body = InboxPage),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<InboxPage>, Problem> {
    let user = caller.for_user(Scope::InboxRead, &user)?;
    let limit = page.limit()?;
    let before = page.number()?.map(Seq);
    let state = app.notifications.inbox(&user).await?;
    let items = app.notifications.list_newest(&user, before, limit).await?;
    let more = items.len() == limit;
    let next = items.last().filter(|last| more && last.seq() > Seq(1));
    let next = next.map(|last| last.seq().to_string());
    Ok(Json(InboxPage { next, unread: state.unread, last_seq: state.last_seq.0, items }))
}

/// A user's counters.
#[utoipa::path(
    get, path = "/v1/users/{user}/inbox", tag = "inbox",
    params(("user" = String, Path, description = "A user id, or `me`")),
    responses(
        (status = 200, body = InboxCounters),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn counters(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<InboxCounters>, Problem> {
    let user = caller.for_user(Scope::InboxRead, &user)?;
    Ok(Json(app.notifications.inbox(&user).await?.into()))
}

/// Which notifications are meant: exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// All up to this `seq`, itself included.
    up_to_seq: Option<u64>,
    /// These, at most 1000.
    ids: Option<Vec<String>>,
}

impl Which {
    fn selection(self) -> Result<Selection, Problem> {
        match self {
            Self { up_to_seq: Some(seq), ids: None } => Ok(Selection::UpTo(Seq(seq))),
            Self { up_to_seq: None, ids: Some(ids) } if ids.len() > MAX_IDS => {
                Err(Problem::bad_input("ids", format!("names more than {MAX_IDS} notifications")))
            }
            Self { up_to_seq: None, ids: Some(ids) } => {
                let parse = |(index, id): (usize, &String)| {
                    id.parse::<NotificationId>().map_err(|error| {
                        Problem::bad_input(&format!("ids[{index}]"), error.to_string())
                    })
                };
                let ids = ids.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
                Ok(Selection::Ids(ids))
            }
            _ => Err(Problem::bad_input("", "takes exactly one of up_to_seq and ids")),
        }
    }
}

async fn mark(
    app: &App,
    caller: &Caller,
    user: &str,
    mark: Mark,
    body: Body,
) -> Result<Json<InboxCounters>, Problem> {
    let user = caller.for_user(Scope::InboxWrite, user)?;
    let which: Which = body::read_json(body, &app.limits.bodies).await?;
    let selection = which.selection()?;
    let state = app.notifications.mark(&user, mark, selection.clone(), app.clock.now()).await?;
    let marked = match selection {
        // What comes after the newest was not marked, and must not look like it on a screen.
        Selection::UpTo(seq) => Selection::UpTo(seq.min(state.last_seq)),
        ids @ Selection::Ids(_) => ids,
    };
    app.pool.broadcast_mark(&user, mark, &marked, &state);
    Ok(Json(state.into()))
}

/// Say that notifications were shown to the user.
#[utoipa::path(
    post, path = "/v1/users/{user}/notifications/seen", tag = "inbox",
    params(("user" = String, Path, description = "A user id, or `me`")),
    request_body = Which,
    responses(
        (status = 200, description = "The counters afterwards", body = InboxCounters),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn mark_seen(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    body: Body,
) -> Result<Json<InboxCounters>, Problem> {
    mark(&app, &caller, &user, Mark::Seen, body).await
}

/// Say that the user opened notifications.
#[utoipa::path(
    post, path = "/v1/users/{user}/notifications/read", tag = "inbox",
    params(("user" = String, Path, description = "A user id, or `me`")),
    request_body = Which,
    responses(
        (status = 200, description = "The counters afterwards", body = InboxCounters),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn mark_read(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    body: Body,
) -> Result<Json<InboxCounters>, Problem> {
    mark(&app, &caller, &user, Mark::Read, body).await
}

/// Put notifications away.
#[utoipa::path(
    post, path = "/v1/users/{user}/notifications/archive", tag = "inbox",
    params(("user" = String, Path, description = "A user id, or `me`")),
    request_body = Which,
    responses(
        (status = 200, description = "The counters afterwards", body = InboxCounters),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn archive(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    body: Body,
) -> Result<Json<InboxCounters>, Problem> {
    mark(&app, &caller, &user, Mark::Archived, body).await
}
