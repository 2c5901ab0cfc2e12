//! What could not become an event.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Serialize;
use tidings_core::{
    clock::Timestamp,
    ports::{DeadLetter, DeadLetterId},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{
        error::Problem,
        extract::{PageParams, Params},
        state::App,
    },
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(remove))
}

/// An input that could not become an event.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterAnswer {
    /// Its number.
    id: u64,
    /// Where it came from.
    origin: String,
    /// Why it was refused.
    reason: String,
    /// The input, with what is not UTF-8 replaced, and cut to 64 KiB.
    payload: String,
    /// When it came.
    #[schema(value_type = String, format = "date-time")]
    at: Timestamp,
}

impl From<DeadLetter> for DeadLetterAnswer {
    fn from(DeadLetter { id, letter }: DeadLetter) -> Self {
        let payload = String::from_utf8_lossy(&letter.payload).into_owned();
        Self { id: id.0, origin: letter.origin, reason: letter.reason, payload, at: letter.at }
    }
}

/// A part of the dead letters, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterPage {
    /// The letters.
    items: Vec<DeadLetterAnswer>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Dead letters, newest first.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "dead letters",
    params(PageParams),
    responses(
        (status = 200, body = DeadLetterPage), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(page): Params<PageParams>,
) -> Result<Json<DeadLetterPage>, Problem> {
    caller.server(Scope::DeadLettersRead)?;
    let limit = page.limit()?;
    let before = page.number()?.map(DeadLetterId);
    let letters = app.dead_letters.list_dead_letters(before, limit).await?;
    let next = letters.last().filter(|_| letters.len() == limit).map(|last| last.id.0.to_string());
    Ok(Json(DeadLetterPage { items: letters.into_iter().map(Into::into).collect(), next }))
}

/// Remove a dead letter; fine if there is none.
#[utoipa::path(
    delete, path = "/v1/dead-letters/{id}", tag = "dead letters",
    params(("id" = u64, Path, description = "The letter's number")),
    responses(
        (status = 204, description = "There is no such letter any more"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.server(Scope::DeadLettersWrite)?;
    let id = id.parse().map_err(|_| Problem::bad_input("id", "is not a dead letter's number"))?;
    app.dead_letters.remove_dead_letter(DeadLetterId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
