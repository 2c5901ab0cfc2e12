//! One HTTP/2 connection and its requests, all in one task.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::frames::{FrameOrders, FrameTap};
use super::listener::Shared;
use super::request::{BODY_TIMEOUT, MAX_BODY_BYTES, Outcome, judge};
use super::{Answer, Body, GoAwayCause, Service};
use crate::faults::Orders;
use crate::{ExcessStreams, GoAwayForm, RequestFault};

/// Window for request bodies of a whole connection: 1,000 small requests at once fit.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Above this, a request's header list is refused (Apple's longest header is the token, < 1 KiB).
const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

/// Streams that the library lets through above the limit that the client was told, so that they are
/// refused here, by the limit that holds at the time; those above this it refuses itself.
const SEEN_ABOVE_LIMIT: u32 = 1_000;

/// What the library was given is on its way after this long: an end of the stream or the connection
/// does not take it back.
const FLUSH_DELAY: Duration = Duration::from_millis(5);

/// How long an idle timer sleeps where none is set.
const FOREVER: Duration = Duration::from_hours(24);

type Http2 = Connection<FrameTap<TlsStream<TcpStream>>, Bytes>;

/// What the connection does after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Continue,
    /// Close without a word: the request was accepted and its answer withheld.
    Kill,
}

/// Whether the connection takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// It was told to go away, and what the library still takes is served.
    Leaving,
    /// What comes now is not processed; it closes when what runs is answered.
    Closing,
}

/// The side of a connection that decides.
struct Driver<'a, S: Service> {
    shared: &'a Shared<S>,
    state: &'a S::Connection,
    frames: FrameOrders,
    phase: Phase,
    /// Everything is answered, and the end is timed.
    ending: bool,
    /// Streams that may be open now.
    limit: u32,
    requests: u64,
    last_stream: u32,
    /// Streams that were not processed; dropping one would reset it. Their number is bounded by the
    /// library's limit of streams.
    unprocessed: Vec<SendResponse<Bytes>>,
}

/// Speaks HTTP/2 until the connection ends or is ordered to.
pub(super) async fn serve<S: Service>(
    tls: TlsStream<TcpStream>,
    state: &S::Connection,
    orders: watch::Receiver<Orders>,
    shared: &Shared<S>,
) {
    let limit = shared.service.stream_limit(state, shared.max_concurrent_streams);
    let frames = FrameOrders::new(limit);
    let http2 = h2::server::Builder::new()
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_concurrent_streams(shared.max_concurrent_streams.saturating_add(SEEN_ABOVE_LIMIT))
        // A client that is refused many streams is not an attacker here.
        .max_concurrent_reset_streams(10_000)
        .max_local_error_reset_streams(None)
        .handshake(FrameTap::new(tls, frames.clone()));
    let http2 = match timeout(super::connection::HANDSHAKE_TIMEOUT, http2).await {
        Ok(Ok(http2)) => http2,
        Ok(Err(error)) => {
            tracing::debug!(%error, "http/2 handshake failed");
            return;
        }
        Err(_) => return,
    };
    let driver = Driver {
        shared,
        state,
        frames,
        phase: Phase::Open,
        ending: false,
        limit,
        requests: 0,
        last_stream: 0,
        unprocessed: Vec::new(),
    };
    driver.run(http2, orders).await;
}

impl<S: Service> Driver<'_, S> {
    async fn run(mut self, mut http2: Http2, mut orders: watch::Receiver<Orders>) {
        // What was ordered during the handshake is obeyed: the receiver was made before it.
        let mut obeyed = orders.borrow().clone();
        let mut last_request = Instant::now();
        let mut closing = pin!(sleep(FOREVER));
        let mut idle = pin!(sleep(obeyed.idle_timeout.unwrap_or(FOREVER)));
        // Requests run inside this task: no wake-up across threads, and they end with it. Their
        // number is bounded by the stream limit.
        let mut running = FuturesUnordered::new();
        loop {
            let finished = self.phase == Phase::Closing && running.is_empty();
            if finished && !self.ending {
                self.ending = true;
                closing.as_mut().reset(Instant::now() + FLUSH_DELAY);
            }
            // Every branch is cancel-safe: each only takes from a queue that outlives it.
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled(), if self.phase == Phase::Open => {
                    self.go_away(&mut http2, GoAwayForm::Graceful, &GoAwayCause::Shutdown);
                }
                Ok(()) = orders.changed() => {
                    let ordered = orders.borrow_and_update().clone();
                    if ordered.kills > obeyed.kills {
                        return;
                    }
                    if ordered.go_aways > obeyed.go_aways {
                        let (form, cause) = &ordered.go_away;
                        self.go_away(&mut http2, *form, cause);
                    }
                    let timeout = ordered.idle_timeout.unwrap_or(FOREVER);
                    idle.as_mut().reset(last_request + timeout);
                    obeyed = ordered;
                }
                Some(next) = running.next(), if !running.is_empty() => {
                    if next == Next::Kill {
                        return;
                    }
                    self.follow_limit();
                }
                accepted = http2.accept() => match accepted {
                    Some(Ok((request, mut respond))) => {
                        if !self.takes(&mut respond, running.len()) {
                            self.unprocessed.push(respond);
                            continue;
                        }
                        last_request = Instant::now();
                        self.last_stream = respond.stream_id().as_u32();
                        running.push(serve_one(self.shared, self.state, request, respond));
                        self.requests += 1;
                        if let Some(form) = self.shared.faults.go_away_due(self.requests) {
                            self.go_away(&mut http2, form, &GoAwayCause::Shutdown);
                        }
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "a connection of a simulator broke");
                        return;
                    }
                    None => return,
                },
                // An abrupt end drops what the library has not sent yet.
                () = &mut closing, if finished => {
                    http2.abrupt_shutdown(Reason::NO_ERROR);
                    closing.as_mut().reset(Instant::now() + FOREVER);
                }
                () = &mut idle => {
                    // The timer is not moved by each request: it looks when it fires.
                    let timeout = obeyed.idle_timeout.unwrap_or(FOREVER);
                    if obeyed.idle_timeout.is_some()
                        && running.is_empty()
                        && last_request.elapsed() >= timeout
                    {
                        self.go_away(&mut http2, GoAwayForm::Abrupt, &GoAwayCause::IdleTimeout);
                    }
                    let due = (last_request + timeout).max(Instant::now() + timeout / 10);
                    idle.as_mut().reset(due);
                }
            }
        }
    }

    /// Whether a stream is served; if not, it has got what it deserves.
    fn takes(&mut self, respond: &mut SendResponse<Bytes>, running: usize) -> bool {
        if self.phase == Phase::Closing {
            return false;
        }
        if running < self.limit as usize {
            return true;
        }
        match self.shared.faults.excess_streams() {
            ExcessStreams::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
            ExcessStreams::GoAway => {
                let data = self.shared.service.go_away_data(&GoAwayCause::ExcessStreams);
                self.frames.go_away(self.last_stream, Reason::PROTOCOL_ERROR, &data);
                self.phase = Phase::Closing;
            }
        }
        false
    }

    fn follow_limit(&mut self) {
        let configured = self.shared.max_concurrent_streams;
        let limit = self.shared.service.stream_limit(self.state, configured);
        if limit != self.limit {
            self.limit = limit;
            self.frames.limit_streams(limit);
        }
    }

    fn go_away(&mut self, http2: &mut Http2, form: GoAwayForm, cause: &GoAwayCause) {
        if self.phase != Phase::Open {
            return;
        }
        let data = self.shared.service.go_away_data(cause);
        self.frames.set_go_away_data(&data);
        self.phase = Phase::Leaving;
        match form {
            GoAwayForm::Graceful => http2.graceful_shutdown(),
            GoAwayForm::Abrupt => http2.abrupt_shutdown(Reason::NO_ERROR),
            GoAwayForm::LastStream => {
                self.frames.go_away(self.last_stream, Reason::NO_ERROR, &data);
                self.phase = Phase::Closing;
            }
        }
    }
}

async fn serve_one<S: Service>(
    shared: &Shared<S>,
    state: &S::Connection,
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
    match judge(shared, state, &head, &body).await {
        // The stream of a body that was not read to its end is dropped only now: earlier, its reset
        // would overtake the answer.
        Outcome::Answered(answer) => {
            if let Err(error) = send(answer, &mut respond) {
                tracing::trace!(%error, "a client did not wait for its answer");
            }
        }
        Outcome::Faulty(_, RequestFault::Kill) => return Next::Kill,
        Outcome::Faulty(_, RequestFault::Stall) => {
            // Until the client gives up.
            drop(poll_fn(|cx| respond.poll_reset(cx)).await);
        }
        Outcome::Faulty(_, RequestFault::Reset) => respond.send_reset(Reason::INTERNAL_ERROR),
        Outcome::Faulty(answer, RequestFault::ResetAfterHeaders) => {
            if let Ok(mut body) = respond.send_response(head_of(&answer), false) {
                sleep(FLUSH_DELAY).await;
                body.send_reset(Reason::INTERNAL_ERROR);
            }
        }
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

fn head_of(answer: &Answer) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    for (name, value) in &answer.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}

fn send(answer: Answer, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(head_of(&answer), answer.body.is_empty())?;
    if !answer.body.is_empty() {
        stream.send_data(answer.body, true)?;
    }
    Ok(())
}
