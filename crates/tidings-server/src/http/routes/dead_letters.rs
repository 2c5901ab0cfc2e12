//! What could not become notifications.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State, http::StatusCode, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use tidings_core::{
    clock::Timestamp,
    dead_letter::{DeadLetter, DeadLetterId, NewDeadLetter, Origin},
    event::IncomingEvent,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::events::EventsAnswer;
use crate::{
    auth::{Caller, Scope},
    http::{
        body,
        error::Problem,
        extract::{PageParams, Params, Path},
        state::App,
    },
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, remove)).routes(routes!(replay))
}

/// What a letter's input is shown by in a list: its first bytes.
const PREVIEW_BYTES: usize = 256;
/// Letters that are read at a time: each holds up to `kafka.dead_letter_payload_bytes`.
const READ_AT_ONCE: usize = 32;

/// An input that could not become notifications, in a list.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterOutline {
    #[serde(flatten)]
    facts: Facts,
    /// Where the record stood, if it was one.
    #[serde(flatten)]
    place: Option<PlaceAnswer>,
    /// The first 256 bytes of the input, with what is not UTF-8 replaced. The letter itself shows all
    /// that is kept.
    preview: String,
}

/// An input that could not become notifications.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterAnswer {
    #[serde(flatten)]
    facts: Facts,
    /// The record, if it was one.
    #[serde(flatten)]
    record: Option<RecordAnswer>,
    /// The input, with what is not UTF-8 replaced, and cut to `kafka.dead_letter_payload_bytes`.
    payload: String,
    /// The kept input, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// What is said of a dead letter wherever it is shown.
#[derive(Debug, Serialize, ToSchema)]
struct Facts {
    /// Its number.
    id: u64,
    /// `http`, `kafka` or `fan_out`.
    origin: &'static str,
    /// What could not be done with it: `decode`, `plan` or `store`.
    stage: &'static str,
    /// Why.
    reason: String,
    /// How long the input was.
    payload_bytes: u64,
    /// When it came.
    #[schema(value_type = String, format = "date-time")]
    at: Timestamp,
}

/// Where a record stood in Kafka.
#[derive(Debug, Serialize, ToSchema)]
struct PlaceAnswer {
    /// The topic.
    topic: String,
    /// The partition's number.
    partition: i32,
    /// The record's offset.
    offset: i64,
}

/// A record of Kafka.
#[derive(Debug, Serialize, ToSchema)]
struct RecordAnswer {
    #[serde(flatten)]
    place: PlaceAnswer,
    /// The record's key, with what is not UTF-8 replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The record's headers, in their order.
    headers: Vec<HeaderAnswer>,
}

/// A header of a record.
#[derive(Debug, Serialize, ToSchema)]
struct HeaderAnswer {
    /// Its name.
    name: String,
    /// Its value, with what is not UTF-8 replaced; null if it has none.
    value: Option<String>,
}

impl Facts {
    fn of(id: DeadLetterId, letter: &NewDeadLetter) -> Self {
        Self {
            id: id.0,
            origin: letter.origin.as_str(),
            stage: letter.stage.as_str(),
            reason: letter.reason.clone(),
            payload_bytes: letter.payload_bytes,
            at: letter.at,
        }
    }
}

impl From<DeadLetter> for DeadLetterOutline {
    fn from(DeadLetter { id, letter }: DeadLetter) -> Self {
        let facts = Facts::of(id, &letter);
        let place = match letter.origin {
            Origin::Http | Origin::FanOut => None,
            Origin::Kafka(record) => Some(PlaceAnswer {
                topic: record.topic,
                partition: record.partition,
                offset: record.offset,
            }),
        };
        Self { facts, place, preview: preview(&letter.payload) }
    }
}

impl From<DeadLetter> for DeadLetterAnswer {
    fn from(DeadLetter { id, letter }: DeadLetter) -> Self {
        let facts = Facts::of(id, &letter);
        let readable = std::str::from_utf8(&letter.payload).is_ok();
        let payload_base64 = (!readable).then(|| STANDARD.encode(&letter.payload));
        let payload = lossy(&letter.payload);
        let record = match letter.origin {
            Origin::Http | Origin::FanOut => None,
            Origin::Kafka(record) => Some(RecordAnswer {
                place: PlaceAnswer {
                    topic: record.topic,
                    partition: record.partition,
                    offset: record.offset,
                },
                key: record.key.as_deref().map(lossy),
                headers: record
                    .headers
                    .into_iter()
                    .map(|(name, value)| HeaderAnswer { name, value: value.as_deref().map(lossy) })
                    .collect(),
            }),
        };
        Self { facts, record, payload, payload_base64 }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The beginning of an input, not cut within a character.
fn preview(payload: &[u8]) -> String {
    let mut end = payload.len().min(PREVIEW_BYTES);
    let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    // A character has four bytes at most; what has more of this kind is no UTF-8.
    while end + 3 > PREVIEW_BYTES && payload.get(end).is_some_and(continues) {
        end -= 1;
    }
    lossy(&payload[..end])
}

/// A part of the dead letters, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterPage {
    /// The letters.
    items: Vec<DeadLetterOutline>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// How many letters there are in all.
    total: u64,
}

/// Dead letters, newest first, each with the beginning of its input.
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
    let mut before = page.number()?.map(DeadLetterId);
    let mut items = Vec::new();
    let mut ended = false;
    while !ended && items.len() < limit {
        let wanted = (limit - items.len()).min(READ_AT_ONCE);
        let letters = app.dead_letters.list_dead_letters(before, wanted).await?;
        ended = letters.len() < wanted;
        before = letters.last().map(|last| last.id).or(before);
        items.extend(letters.into_iter().map(DeadLetterOutline::from));
    }
    let total = app.dead_letters.count_dead_letters().await?;
    let next = before.filter(|_| !ended).map(|last| last.0.to_string());
    Ok(Json(DeadLetterPage { items, next, total }))
}

/// One dead letter.
#[utoipa::path(
    get, path = "/v1/dead-letters/{id}", tag = "dead letters",
    params(("id" = u64, Path, description = "The letter's number")),
    responses(
        (status = 200, body = DeadLetterAnswer), (status = 404, body = Problem),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    ),
)]
async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<DeadLetterAnswer>, Problem> {
    caller.server(Scope::DeadLettersRead)?;
    Ok(Json(load(&app, &id).await?.into()))
}

/// Take a dead letter in again.
///
/// As it is, which helps once what refused it has changed; or, with a body, as the event in the body.
/// When its notifications are durable the letter is removed. Nobody is told twice.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/replay", tag = "dead letters",
    params(("id" = u64, Path, description = "The letter's number")),
    request_body(content = Option<String>, description = "An event instead of the letter's own."),
    responses(
        (status = 200, description = "Stored; the letter is gone", body = EventsAnswer),
        (status = 404, body = Problem),
        (status = 409, description = "The letter was cut: send the event in the body", body = Problem),
        (status = 422, description = "It is still no event", body = Problem),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 503, description = "Not stored; try again after Retry-After", body = Problem),
    ),
)]
async fn replay(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    caller.server(Scope::DeadLettersWrite)?;
    // It tells people, like any event.
    caller.server(Scope::EventsWrite)?;
    let DeadLetter { id, letter } = load(&app, &id).await?;
    let json = body::read(body, &app.limits.bodies).await?;
    let event = if json.is_empty() {
        decode_letter(&app, &letter)?
    } else {
        IncomingEvent::from_json(&json, app.clock.now())?
    };
    let mut answer = EventsAnswer::default();
    for outcome in app.intake.accept(std::slice::from_ref(&event)).await {
        answer.add_outcome(&app.event_counts, 0, &event, &outcome);
        outcome?;
    }
    // If this fails, or the node does, the letter is replayed once more, and tells nobody twice.
    app.dead_letters.remove_dead_letter(id).await?;
    Ok(answer.into_response(StatusCode::OK))
}

fn decode_letter(app: &App, letter: &NewDeadLetter) -> Result<IncomingEvent, Problem> {
    if letter.is_cut() {
        let detail = "the letter keeps only the beginning of its input; send the event in the body";
        return Err(Problem::new(StatusCode::CONFLICT, "letter-cut", "Letter cut", detail));
    }
    (app.letter_decoder)(letter).map_err(|error| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let detail = error.to_string();
        Problem::new(status, "invalid-event", "The event is not valid", detail).at(error.field())
    })
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
    app.dead_letters.remove_dead_letter(number(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn number(text: &str) -> Result<DeadLetterId, Problem> {
    // A number has one spelling: no sign, and nothing before or after it.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|_| digits);
    id.map(DeadLetterId).ok_or_else(|| Problem::bad_input("id", "is not a dead letter's number"))
}

async fn load(app: &App, id: &str) -> Result<DeadLetter, Problem> {
    let letter = app.dead_letters.find_dead_letter(number(id)?).await?;
    letter.ok_or_else(|| Problem::not_found("dead letter"))
}
