//! What became of the events of a request.

use axum::{http::StatusCode, response::Response};
use serde::Serialize;
use tidings_core::event::IncomingEvent;
use tidings_ingest::{Accepted, IntakeError};
use utoipa::ToSchema;

use crate::http::{error::Problem, idempotency, measure::EventCounts};

/// What became of the events of a request.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::http::routes) struct EventsAnswer {
    /// Events with new notifications, or with nobody to tell.
    pub(super) stored: usize,
    /// Events whose notifications were all stored before.
    pub(super) duplicates: usize,
    /// Events that are not valid. Those of a batch are kept as dead letters.
    pub(super) rejected: usize,
    /// Valid events that were not stored; send them again.
    pub(super) failed: usize,
    /// One entry per event, in order.
    pub(super) results: Vec<EventResult>,
}

/// What became of one event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventResult {
    /// Its place in the array, or its line, from 0.
    pub(super) index: usize,
    /// Its id, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// What became of it.
    pub(super) status: EventStatus,
    /// Notifications that are new.
    pub(super) notifications: usize,
    /// Recipients who had theirs already.
    pub(super) duplicates: usize,
    /// Whether more followers are being told: a durable job does that in the background.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) fans_out: bool,
    /// Why it was rejected or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The field that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EventStatus {
    Stored,
    Duplicate,
    Rejected,
    Failed,
}

impl EventsAnswer {
    pub(in crate::http::routes) fn add_outcome(
        &mut self,
        counts: &EventCounts,
        index: usize,
        event: &IncomingEvent,
        outcome: &Result<Accepted, IntakeError>,
    ) {
        let (status, accepted, reason) = match outcome {
            Ok(accepted) if accepted.is_duplicate() => (EventStatus::Duplicate, *accepted, None),
            Ok(accepted) => (EventStatus::Stored, *accepted, None),
            Err(error) => (EventStatus::Failed, Accepted::default(), Some(error.to_string())),
        };
        let (number, counter) = match status {
            EventStatus::Stored => (&mut self.stored, &counts.stored),
            EventStatus::Duplicate => (&mut self.duplicates, &counts.duplicate),
            EventStatus::Rejected => (&mut self.rejected, &counts.rejected),
            EventStatus::Failed => (&mut self.failed, &counts.failed),
        };
        *number += 1;
        counter.increment(1);
        self.results.push(EventResult {
            index,
            id: Some(event.event.id.as_str().to_owned()),
            status,
            notifications: accepted.stored,
            duplicates: accepted.duplicates,
            fans_out: accepted.fans_out,
            reason,
            field: None,
        });
    }

    pub(super) fn explain(self, problem: Problem) -> Problem {
        match serde_json::to_value(&self.results) {
            Ok(results) if !self.results.is_empty() => problem.with("results", results),
            _ => problem,
        }
    }

    /// Whether the same request would be answered with nothing but duplicates.
    pub(super) fn is_final(&self) -> bool {
        self.failed == 0
    }

    /// The answer as JSON.
    pub(in crate::http::routes) fn to_json(&self) -> Vec<u8> {
        // Numbers and texts only: there is no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The answer of a request that nobody will repeat.
    pub(in crate::http::routes) fn into_response(self, status: StatusCode) -> Response {
        idempotency::json(status, self.to_json())
    }
}
