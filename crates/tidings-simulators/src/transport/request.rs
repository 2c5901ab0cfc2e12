//! One request: what is judged and held back, whichever protocol it came by.

use std::time::Duration;

use http::request::Parts;
use tokio::time::sleep;

use super::listener::Shared;
use super::{Answer, Body, Service};
use crate::RequestFault;

/// Longer bodies are not read to their end: no service accepts a tenth of it.
pub(super) const MAX_BODY_BYTES: usize = 64 << 10;

/// How long a client may take to send a body.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the client is to see of a request.
pub(super) enum Outcome {
    Answered(Answer),
    /// It was accepted, and this is done with its answer.
    Faulty(Answer, RequestFault),
}

/// Judges the request at once, and returns when its answer is due.
pub(super) async fn judge<S: Service>(
    shared: &Shared<S>,
    connection: &S::Connection,
    head: &Parts,
    body: &Body,
) -> Outcome {
    let answer = shared.service.answer(connection, head, body);
    let fault = if answer.accepted { shared.faults.take_fault() } else { None };
    if fault == Some(RequestFault::Kill) {
        return Outcome::Faulty(answer, RequestFault::Kill);
    }
    if let Some(latency) = shared.faults.latency() {
        sleep(latency).await;
    }
    match fault {
        None => Outcome::Answered(answer),
        Some(fault) => Outcome::Faulty(answer, fault),
    }
}
