//! The events of one request, taken to the intake some at a time.

use axum::http::StatusCode;
use tidings_core::{
    dead_letter::{NewDeadLetter, Origin, Stage},
    error_chain::ErrorChain,
    event::{EventError, IncomingEvent},
};
use tidings_ingest::{IntakeError, lines::Line};

use super::{
    answer::{EventResult, EventStatus, EventsAnswer},
    envelope::Envelope,
};
use crate::http::{error::Problem, state::App};

/// Events of a stream that are handed to the intake together.
const CHUNK_EVENTS: usize = 500;
/// … and bytes of their JSON, or of refused ones; what comes last may be as long as any.
const CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of a refused event that its dead letter keeps.
const KEPT_BYTES: usize = 64 * 1024;

/// Takes the events of one request to the intake, some at a time.
pub(super) struct BatchIntake<'a> {
    app: &'a App,
    answer: EventsAnswer,
    envelope: Envelope,
    waiting: Vec<(usize, IncomingEvent)>,
    waiting_bytes: usize,
    refused: Vec<NewDeadLetter>,
    refused_bytes: usize,
    last_failure: Option<IntakeError>,
}

impl<'a> BatchIntake<'a> {
    pub(super) fn new(app: &'a App, envelope: Envelope) -> Self {
        Self {
            app,
            answer: EventsAnswer::default(),
            envelope,
            waiting: Vec::new(),
            waiting_bytes: 0,
            refused: Vec::new(),
            refused_bytes: 0,
            last_failure: None,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.answer.results.len() + self.waiting.len()
    }

    pub(super) async fn add_line(&mut self, line: Line) {
        match line.bytes {
            Ok(json) => self.add(line.number, &json).await,
            Err(limit) => {
                let reason = format!("the line has more than {limit} bytes");
                self.reject(line.number, String::new(), reason, &[]);
            }
        }
    }

    pub(super) async fn add(&mut self, index: usize, json: &[u8]) {
        match self.envelope.open(json, self.app.clock.now()) {
            Ok(event) => {
                self.waiting.push((index, event));
                self.waiting_bytes += json.len();
            }
            Err(error) => self.reject_event(index, &error, json),
        }
        if self.waiting.len() >= CHUNK_EVENTS || self.waiting_bytes >= CHUNK_BYTES {
            self.flush().await;
        }
        if self.refused_bytes >= CHUNK_BYTES {
            self.keep_refused().await;
        }
    }

    fn reject_event(&mut self, index: usize, error: &EventError, json: &[u8]) {
        self.reject(index, error.field().to_owned(), error.to_string(), json);
    }

    fn reject(&mut self, index: usize, field: String, reason: String, json: &[u8]) {
        let at = self.app.clock.now();
        self.refused_bytes += json.len().min(KEPT_BYTES);
        self.refused.push(NewDeadLetter {
            origin: Origin::Http,
            stage: Stage::Decode,
            reason: reason.clone(),
            payload: json[..json.len().min(KEPT_BYTES)].to_vec(),
            payload_bytes: u64::try_from(json.len()).unwrap_or(u64::MAX),
            at,
        });
        self.answer.rejected += 1;
        self.app.event_counts.rejected.increment(1);
        self.answer.results.push(EventResult {
            index,
            id: None,
            status: EventStatus::Rejected,
            notifications: 0,
            duplicates: 0,
            fans_out: false,
            reason: Some(reason),
            field: Some(field).filter(|field| !field.is_empty()),
        });
    }

    async fn flush(&mut self) {
        self.waiting_bytes = 0;
        let (indices, events): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        let outcomes = match &self.last_failure {
            // The rest of the request would wait in vain likewise.
            Some(failure) if failure.concerns_all() => vec![Err(failure.clone()); events.len()],
            _ => self.app.intake.accept(&events).await,
        };
        for ((index, event), outcome) in indices.into_iter().zip(&events).zip(outcomes) {
            self.answer.add_outcome(&self.app.event_counts, index, event, &outcome);
            self.last_failure = outcome.err().or(self.last_failure.take());
        }
    }

    /// Stores what waits and sorts the results.
    async fn settle(&mut self) {
        if !self.waiting.is_empty() {
            self.flush().await;
        }
        if !self.refused.is_empty() {
            self.keep_refused().await;
        }
        self.answer.results.sort_by_key(|result| result.index);
    }

    async fn keep_refused(&mut self) {
        self.refused_bytes = 0;
        let refused = std::mem::take(&mut self.refused);
        let count = refused.len();
        metrics::counter!("tidings_dead_letters_total", "origin" => "http", "stage" => "decode")
            .increment(u64::try_from(count).unwrap_or(u64::MAX));
        // The caller is told in any case: that the letters could not be kept is for the log.
        if let Err(error) = self.app.dead_letters.append_dead_letters(refused).await {
            tracing::warn!(error = %ErrorChain(&error), count, "dead letters were not kept");
        }
    }

    /// The status and the answer, when anything is durable.
    pub(super) async fn finish(mut self) -> Result<(StatusCode, EventsAnswer), Problem> {
        self.settle().await;
        let answer = self.answer;
        let durable = answer.stored + answer.duplicates;
        if durable > 0 {
            let all = answer.rejected + answer.failed == 0;
            let status = if all { StatusCode::OK } else { StatusCode::MULTI_STATUS };
            return Ok((status, answer));
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
    pub(super) async fn cut_short(mut self, problem: Problem) -> Problem {
        self.settle().await;
        self.answer.explain(problem)
    }
}
