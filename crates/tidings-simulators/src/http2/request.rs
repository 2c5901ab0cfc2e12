//! One request: its body, its answer, its faults.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::time::{sleep, timeout};

use super::listener::Shared;
use super::{Answer, Body, Service};

/// Longer bodies are not read to their end: no service accepts a tenth of it.
const MAX_BODY_BYTES: usize = 64 << 10;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the connection does after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    /// Close without a word: the request was accepted and its answer withheld.
    Kill,
}

pub(super) async fn serve<S: Service>(
    shared: &Shared<S>,
    connection: &S::Connection,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Next {
    let (head, mut stream) = request.into_parts();
    let body = match timeout(BODY_TIMEOUT, read(&mut stream)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => {
            tracing::trace!(%error, "a request was not sent to its end");
            return Next::Continue;
        }
        Err(_) => {
            respond.send_reset(Reason::CANCEL);
            return Next::Continue;
        }
    };
    let answer = shared.service.answer(connection, &head, &body);
    if answer.accepted && shared.faults.take_kill_before_answer() {
        return Next::Kill;
    }
    if let Some(latency) = shared.faults.latency() {
        sleep(latency).await;
    }
    // The stream of a body that was not read to its end is dropped only now: earlier, its reset
    // would overtake the answer.
    if let Err(error) = send(answer, &mut respond) {
        tracing::trace!(%error, "a client did not wait for its answer");
    }
    Next::Continue
}

async fn read(stream: &mut RecvStream) -> Result<Body, h2::Error> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        if first.len() + rest.len() + chunk.len() > MAX_BODY_BYTES {
            return Ok(Body::TooLong);
        }
        // Nearly every body is one frame, and then nothing is copied.
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(Body::Complete(first));
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(Body::Complete(whole.freeze()))
}

fn send(answer: Answer, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        response.headers_mut().append(name, value);
    }
    let mut stream = respond.send_response(response, answer.body.is_empty())?;
    if !answer.body.is_empty() {
        stream.send_data(answer.body, true)?;
    }
    Ok(())
}
