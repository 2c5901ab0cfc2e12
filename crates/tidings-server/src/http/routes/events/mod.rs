//! Events in.

mod answer;
mod array;
mod batch;
mod envelope;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use tidings_core::event::MAX_EVENT_BYTES;
use tidings_ingest::lines::LineSplitter;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::answer::EventsAnswer;
use self::{array::ArrayError, batch::BatchIntake, envelope::Envelope};
use crate::{
    auth::{Caller, Scope},
    http::{
        body::{self, Pieces},
        error::Problem,
        idempotency::{self, IdempotencyKey, Repeatable, RequestDigest},
        schema::EventSchema,
        state::App,
    },
};

/// The most events in one request.
const MAX_EVENTS: usize = 10_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(post_events)).routes(routes!(post_batch))
}

/// Report one event, or an array of up to 10,000.
///
/// Answered when every notification is durable. Sending an event again is harmless: its identity is
/// (source, id). With the content type `application/cloudevents+json`, or
/// `application/cloudevents-batch+json` for an array, they are CloudEvents 1.0 in structured mode. A single event that is not valid is answered 400; in an array the valid ones are
/// stored, and the answer is 207 if any other was rejected or failed.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    params(("Idempotency-Key" = Option<String>, Header, description =
        "1 to 255 characters: the same request under the same key gets the same answer again")),
    request_body(content = EventSchema, description = "An event, or an array of events."),
    responses(
        (status = 200, description = "All are durable", body = EventsAnswer),
        (status = 207, description = "Some are durable: see `results`", body = EventsAnswer),
        (status = 400, description = "Not valid", body = Problem),
        (status = 409, description = "A request with this key is being answered", body = Problem),
        (status = 413, description = "Too many events or bytes: nothing is stored", body = Problem),
        (status = 422, description = "No event of the array is valid, or the key was used for another request", body = Problem),
        (status = 429, description = "The queue is full, or long bodies take all of their room; send again after Retry-After", body = Problem),
        (status = 503, description = "Nothing is durable for sure; send again after Retry-After", body = Problem),
        (status = 504, description = "Took longer than server.request_timeout_ms; send again", body = Problem),
    ),
)]
async fn post_events(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.server(Scope::EventsWrite)?;
    let envelope = Envelope::of(&headers);
    let repeatable = Repeatable::begin(&app, &caller, key)?;
    let json = body::read(body, &app.limits.bodies).await?;
    let mut digest = RequestDigest::of("/v1/events");
    if let Some(repeatable) = &repeatable {
        if envelope != Envelope::Plain {
            digest.update(b"cloud event");
        }
        digest.update(&json);
        if let Some(kept) = repeatable.kept().await? {
            return idempotency::again(kept, digest);
        }
    }
    let is_array = json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let (status, answer) = if is_array {
        accept_array(&app, envelope, &json).await?
    } else {
        accept_one(&app, envelope, &json).await?
    };
    Ok(respond(repeatable, digest, status, answer).await)
}

async fn accept_one(
    app: &App,
    envelope: Envelope,
    json: &[u8],
) -> Result<(StatusCode, EventsAnswer), Problem> {
    let counts = &app.event_counts;
    let event =
        envelope.open(json, app.clock.now()).inspect_err(|_| counts.rejected.increment(1))?;
    let mut answer = EventsAnswer::default();
    for outcome in app.intake.accept(std::slice::from_ref(&event)).await {
        answer.add_outcome(counts, 0, &event, &outcome);
        outcome?;
    }
    Ok((StatusCode::OK, answer))
}

async fn accept_array(
    app: &App,
    envelope: Envelope,
    json: &[u8],
) -> Result<(StatusCode, EventsAnswer), Problem> {
    let items = array::items(json, MAX_EVENTS).map_err(|error| match error {
        ArrayError::Malformed(cause) => {
            Problem::bad_input("", format!("not an array of events: {cause}"))
        }
        ArrayError::TooMany { .. } => too_many_events("the array"),
    })?;
    if items.is_empty() {
        let detail = format!("has no event, from 1 to {MAX_EVENTS} are allowed");
        return Err(Problem::bad_input("", detail));
    }
    let mut intake = BatchIntake::new(app, envelope);
    for (index, item) in items.iter().enumerate() {
        intake.add(index, item.get().as_bytes()).await;
    }
    intake.finish().await
}

/// Answers, and keeps the answer for the request's repetition.
async fn respond(
    repeatable: Option<Repeatable<'_>>,
    digest: RequestDigest,
    status: StatusCode,
    answer: EventsAnswer,
) -> Response {
    let body = answer.to_json();
    if let Some(repeatable) = repeatable.filter(|_| answer.is_final()) {
        repeatable.keep(digest, status, &body).await;
    }
    idempotency::json(status, body)
}

/// Report up to 10,000 events as NDJSON, one per line.
///
/// The stream is stored as it arrives. `index` in the answer is the line, from 0. When the stream is
/// cut short by a limit, `results` in the problem says what was stored until then.
#[utoipa::path(
    post, path = "/v1/events/batch", tag = "events",
    params(("Idempotency-Key" = Option<String>, Header, description =
        "1 to 255 characters: the same request under the same key gets the same answer again")),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "All are durable", body = EventsAnswer),
        (status = 207, description = "Some are durable: see `results`", body = EventsAnswer),
        (status = 400, description = "No event at all", body = Problem),
        (status = 409, description = "A request with this key is being answered", body = Problem),
        (status = 413, description = "Too many lines or bytes", body = Problem),
        (status = 422, description = "No line is a valid event, or the key was used for another request", body = Problem),
        (status = 429, description = "The queue is full; send again after Retry-After", body = Problem),
        (status = 503, description = "Nothing is durable for sure; send again after Retry-After", body = Problem),
        (status = 504, description = "Took longer than server.request_timeout_ms; send again", body = Problem),
    ),
)]
async fn post_batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    body: Body,
) -> Result<Response, Problem> {
    caller.server(Scope::EventsWrite)?;
    let repeatable = Repeatable::begin(&app, &caller, key)?;
    let mut digest = RequestDigest::of("/v1/events/batch");
    let mut pieces = Pieces::new(body, app.limits.bodies.one_bytes);
    if let Some(repeatable) = &repeatable
        && let Some(kept) = repeatable.kept().await?
    {
        while let Some(piece) = pieces.next().await? {
            digest.update(&piece);
        }
        return idempotency::again(kept, digest);
    }
    let mut splitter = LineSplitter::new(MAX_EVENT_BYTES);
    let mut intake = BatchIntake::new(&app, Envelope::Plain);
    let mut lines = Vec::new();
    loop {
        match pieces.next().await {
            Ok(Some(piece)) => {
                if repeatable.is_some() {
                    digest.update(&piece);
                }
                splitter.push(&piece, &mut lines);
            }
            Ok(None) => break,
            Err(problem) => return Err(intake.cut_short(problem).await),
        }
        for line in lines.drain(..) {
            if intake.count() == MAX_EVENTS {
                return Err(intake.cut_short(too_many_events("the stream")).await);
            }
            intake.add_line(line).await;
        }
    }
    splitter.finish(&mut lines);
    for line in lines {
        if intake.count() == MAX_EVENTS {
            return Err(intake.cut_short(too_many_events("the stream")).await);
        }
        intake.add_line(line).await;
    }
    let (status, answer) = intake.finish().await?;
    Ok(respond(repeatable, digest, status, answer).await)
}

fn too_many_events(what: &str) -> Problem {
    let detail = format!("{what} has more than {MAX_EVENTS} events; send it in parts");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-events", "Too many events", detail)
}
