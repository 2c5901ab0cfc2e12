//! Events in.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tidings_core::{
    error_chain::ErrorChain,
    event::{EventError, IncomingEvent, MAX_EVENT_BYTES},
    ports::NewDeadLetter,
};
use tidings_ingest::{
    Accepted, IntakeError,
    lines::{Line, LineSplitter},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Scope},
    http::{
        body::{self, Pieces},
        error::Problem,
        schema::EventSchema,
        state::App,
    },
};

/// The most events in one request.
const MAX_EVENTS: usize = 10_000;
/// Events of a stream that are handed to the intake together.
const CHUNK_EVENTS: usize = 500;
/// Bytes of a refused event that its dead letter keeps.
const KEPT_BYTES: usize = 64 * 1024;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(post_events)).routes(routes!(post_batch))
}

/// What became of the events of a request.
#[derive(Debug, Default, Serialize, ToSchema)]
struct EventsAnswer {
    /// Events with new notifications, or with nobody to tell.
    stored: usize,
    /// Events whose notifications were all stored before.
    duplicates: usize,
    /// Events that are not valid. Those of a batch are kept as dead letters.
    rejected: usize,
    /// Valid events that were not stored; send them again.
    failed: usize,
    /// One entry per event, in order.
    results: Vec<EventResult>,
}

/// What became of one event.
#[derive(Debug, Serialize, ToSchema)]
struct EventResult {
    /// Its place in the array, or its line, from 0.
    index: usize,
    /// Its id, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// What became of it.
    status: EventStatus,
    /// Notifications that are new.
    notifications: usize,
    /// Recipients who had theirs already.
    duplicates: usize,
    /// Why it was rejected or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The field that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EventStatus {
    Stored,
    Duplicate,
    Rejected,
    Failed,
}

/// Report one event, or an array of up to 10,000.
///
/// Answered when every notification is durable. Sending an event again is harmless: its identity is
/// (source, id). A single event that is not valid is answered 400; in an array the valid ones are
/// stored, and the answer is 207 if any other was rejected or failed.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    request_body(content = EventSchema, description = "An event, or an array of events."),
    responses(
        (status = 200, description = "All are durable", body = EventsAnswer),
        (status = 207, description = "Some are durable: see `results`", body = EventsAnswer),
        (status = 400, description = "Not valid", body = Problem),
        (status = 413, description = "Too large", body = Problem),
        (status = 422, description = "No event of the array is valid", body = Problem),
        (status = 503, description = "Not stored; send again after Retry-After", body = Problem),
    ),
)]
async fn post_events(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body,
) -> Result<Response, Problem> {
    caller.server(Scope::EventsWrite)?;
    let json = body::read(body, app.body_limit_bytes).await?;
    let is_array = json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let mut answer = EventsAnswer::default();
    if !is_array {
        let event = IncomingEvent::from_json(&json, app.clock.now())?;
        let accepted = app.intake.accept(std::slice::from_ref(&event)).await;
        for outcome in accepted {
            answer.add_outcome(0, &event, &Ok(outcome?));
        }
        return Ok(Json(answer).into_response());
    }
    let items: Vec<&RawValue> = serde_json::from_slice(&json)
        .map_err(|error| Problem::bad_input("", format!("not an array of events: {error}")))?;
    if items.is_empty() || items.len() > MAX_EVENTS {
        let detail = format!("has {} events, from 1 to {MAX_EVENTS} are allowed", items.len());
        return Err(Problem::bad_input("", detail));
    }
    let mut intake = BatchIntake::new(&app);
    for (index, item) in items.iter().enumerate() {
        intake.add(index, item.get().as_bytes()).await;
    }
    intake.finish().await
}

/// Report up to 10,000 events as NDJSON, one per line.
///
/// The stream is stored as it arrives. `index` in the answer is the line, from 0. When the stream is
/// cut short by a limit, `results` in the problem says what was stored until then.
#[utoipa::path(
    post, path = "/v1/events/batch", tag = "events",
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "All are durable", body = EventsAnswer),
        (status = 207, description = "Some are durable: see `results`", body = EventsAnswer),
        (status = 400, description = "No event at all", body = Problem),
        (status = 413, description = "Too many lines or bytes", body = Problem),
        (status = 422, description = "No line is a valid event", body = Problem),
        (status = 503, description = "Nothing stored; send again after Retry-After", body = Problem),
    ),
)]
async fn post_batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body,
) -> Result<Response, Problem> {
    caller.server(Scope::EventsWrite)?;
    let mut pieces = Pieces::new(body, app.body_limit_bytes);
    let mut splitter = LineSplitter::new(MAX_EVENT_BYTES);
    let mut intake = BatchIntake::new(&app);
    let mut lines = Vec::new();
    loop {
        match pieces.next().await {
            Ok(Some(piece)) => splitter.push(&piece, &mut lines),
            Ok(None) => break,
            Err(problem) => return Err(intake.cut_short(problem).await),
        }
        for line in lines.drain(..) {
            if intake.count() == MAX_EVENTS {
                return Err(intake.cut_short(too_many_lines()).await);
            }
            intake.add_line(line).await;
        }
    }
    splitter.finish(&mut lines);
    for line in lines {
        if intake.count() == MAX_EVENTS {
            return Err(intake.cut_short(too_many_lines()).await);
        }
        intake.add_line(line).await;
    }
    intake.finish().await
}

fn too_many_lines() -> Problem {
    let detail = format!("the stream has more than {MAX_EVENTS} events; send it in parts");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-events", "Too many events", detail)
}

/// Takes the events of one request to the intake, some at a time.
struct BatchIntake<'a> {
    app: &'a App,
    answer: EventsAnswer,
    waiting: Vec<(usize, IncomingEvent)>,
    refused: Vec<NewDeadLetter>,
    last_failure: Option<IntakeError>,
}

impl<'a> BatchIntake<'a> {
    fn new(app: &'a App) -> Self {
        let answer = EventsAnswer::default();
        Self { app, answer, waiting: Vec::new(), refused: Vec::new(), last_failure: None }
    }

    fn count(&self) -> usize {
        self.answer.results.len() + self.waiting.len()
    }

    async fn add_line(&mut self, line: Line) {
        match line.bytes {
            Ok(json) => self.add(line.number, &json).await,
            Err(limit) => {
                let reason = format!("the line has more than {limit} bytes");
                self.reject(line.number, String::new(), reason, Vec::new());
            }
        }
    }

    async fn add(&mut self, index: usize, json: &[u8]) {
        match IncomingEvent::from_json(json, self.app.clock.now()) {
            Ok(event) => self.waiting.push((index, event)),
            Err(error) => self.reject_event(index, &error, json),
        }
        if self.waiting.len() >= CHUNK_EVENTS {
            self.flush().await;
        }
    }

    fn reject_event(&mut self, index: usize, error: &EventError, json: &[u8]) {
        let kept = json[..json.len().min(KEPT_BYTES)].to_vec();
        self.reject(index, error.field().to_owned(), error.to_string(), kept);
    }

    fn reject(&mut self, index: usize, field: String, reason: String, payload: Vec<u8>) {
        let at = self.app.clock.now();
        self.refused.push(NewDeadLetter {
            origin: "http".to_owned(),
            reason: reason.clone(),
            payload,
            at,
        });
        self.answer.rejected += 1;
        self.answer.results.push(EventResult {
            index,
            id: None,
            status: EventStatus::Rejected,
            notifications: 0,
            duplicates: 0,
            reason: Some(reason),
            field: Some(field).filter(|field| !field.is_empty()),
        });
    }

    async fn flush(&mut self) {
        let (indices, events): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        let outcomes = self.app.intake.accept(&events).await;
        for ((index, event), outcome) in indices.into_iter().zip(&events).zip(outcomes) {
            self.answer.add_outcome(index, event, &outcome);
            self.last_failure = outcome.err().or(self.last_failure.take());
        }
    }

    /// Stores what waits and sorts the results.
    async fn settle(&mut self) {
        if !self.waiting.is_empty() {
            self.flush().await;
        }
        if !self.refused.is_empty() {
            let refused = std::mem::take(&mut self.refused);
            let count = refused.len();
            metrics::counter!("tidings_dead_letters_total", "origin" => "http")
                .increment(u64::try_from(count).unwrap_or(u64::MAX));
            // The caller is told in any case: that the letters could not be kept is for the log.
            if let Err(error) = self.app.dead_letters.append_dead_letters(refused).await {
                tracing::warn!(error = %ErrorChain(&error), count, "dead letters were not kept");
            }
        }
        self.answer.results.sort_by_key(|result| result.index);
    }

    async fn finish(mut self) -> Result<Response, Problem> {
        self.settle().await;
        let answer = self.answer;
        let durable = answer.stored + answer.duplicates;
        if durable > 0 {
            let all = answer.rejected + answer.failed == 0;
            let status = if all { StatusCode::OK } else { StatusCode::MULTI_STATUS };
            return Ok((status, Json(answer)).into_response());
        }
        let problem = match self.last_failure {
            Some(failure) => failure.into(),
            None if answer.rejected == 0 => Problem::bad_input("", "the body has no event"),
            None => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let detail = "no event is valid: see results";
                Problem::new(status, "invalid-events", "The events are not valid", detail)
            }
        };
        Err(answer.explain(problem))
    }

    /// Ends a stream that is over a limit: what was stored until then is said, not hidden.
    async fn cut_short(mut self, problem: Problem) -> Problem {
        self.settle().await;
        self.answer.explain(problem)
    }
}

impl EventsAnswer {
    fn add_outcome(
        &mut self,
        index: usize,
        event: &IncomingEvent,
        outcome: &Result<Accepted, IntakeError>,
    ) {
        let (status, accepted, reason) = match outcome {
            Ok(accepted) if accepted.is_duplicate() => (EventStatus::Duplicate, *accepted, None),
            Ok(accepted) => (EventStatus::Stored, *accepted, None),
            Err(error) => (EventStatus::Failed, Accepted::default(), Some(error.to_string())),
        };
        match status {
            EventStatus::Stored => self.stored += 1,
            EventStatus::Duplicate => self.duplicates += 1,
            EventStatus::Rejected => self.rejected += 1,
            EventStatus::Failed => self.failed += 1,
        }
        let name = match status {
            EventStatus::Stored => "stored",
            EventStatus::Duplicate => "duplicate",
            EventStatus::Rejected => "rejected",
            EventStatus::Failed => "failed",
        };
        metrics::counter!("tidings_events_total", "outcome" => name).increment(1);
        self.results.push(EventResult {
            index,
            id: Some(event.event.id.as_str().to_owned()),
            status,
            notifications: accepted.stored,
            duplicates: accepted.duplicates,
            reason,
            field: None,
        });
    }

    fn explain(self, problem: Problem) -> Problem {
        match serde_json::to_value(&self.results) {
            Ok(results) if !self.results.is_empty() => problem.with("results", results),
            _ => problem,
        }
    }
}
