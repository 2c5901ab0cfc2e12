//! One connection, and one request on it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use h2::{Ping, PingPong, RecvStream, client::SendRequest};
use http::{HeaderMap, Request, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use super::{
    CredentialSlot, Http2Error, Trust,
    config::Endpoint,
    error::ConnectError,
    pool::Pool,
    pulse::{Pulse, PulseLimits, Vitals},
};

/// The longest answer that is read; every documented one is far below.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// An answer, its body cut to [`MAX_ANSWER_BYTES`].
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The connection it came on.
    pub(super) connection: u64,
}

#[cfg(test)]
impl Answer {
    pub(crate) fn for_test(status: StatusCode, body: Bytes) -> Self {
        Self { status, headers: HeaderMap::new(), body, connection: 0 }
    }
}

/// A connection that takes requests. It ends when this is dropped and its streams are done.
pub(super) struct Connection {
    id: u64,
    sender: SendRequest<Bytes>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) credential: CredentialSlot,
}

impl Connection {
    /// Connects, and returns the connection with the future that moves its bytes, which the caller
    /// runs.
    pub(super) async fn open(
        id: u64,
        endpoint: &Endpoint,
        trust: &Trust,
        pool: &Arc<Pool>,
        pulse: PulseLimits,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), ConnectError> {
        // The name is looked up each time: push services move.
        let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
            .await
            .map_err(ConnectError::Tcp)?;
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let tls = trust
            .connector()
            .connect(endpoint.server_name.clone(), tcp)
            .await
            .map_err(ConnectError::Tls)?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()) {
            return Err(ConnectError::NotHttp2);
        }
        let mut builder = h2::client::Builder::new();
        // Until the server's settings arrive nothing is known; without this, "unlimited" is assumed.
        builder.enable_push(false).initial_max_send_streams(1);
        let (sender, wire) = builder.handshake(tls).await.map_err(ConnectError::Handshake)?;
        let vitals = Arc::new(Vitals::new());
        let driver = drive(id, wire, Arc::clone(pool), Arc::clone(&vitals), pulse);
        let credential = CredentialSlot::default();
        Ok((Self { id, sender, vitals, credential }, driver))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Sends one request and reads its answer by `deadline`. The caller has a place here.
    pub(super) async fn send(
        &self,
        head: Request<()>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, Http2Error> {
        let mut sender = self.sender.clone();
        // With a place of our own there is nothing to wait for; this only notices an ended
        // connection.
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(|_| Http2Error::Closed)?;
        let (answer, mut stream) =
            sender.send_request(head, body.is_empty()).map_err(|_| Http2Error::Closed)?;
        drop(sender);
        if !body.is_empty() {
            // The library holds the body until the server's window has room: a push is small, and
            // their number is bounded by the places.
            stream.send_data(body, true).map_err(Http2Error::of_sent)?;
        }
        let read = async {
            let (head, stream) = answer.await.map_err(Http2Error::of_sent)?.into_parts();
            self.vitals.hear_answer();
            let body = match read_body(stream).await {
                Ok(body) => body,
                // The status is the answer; a successful one must not be sent again for its body.
                Err(_) if head.status.is_success() => Bytes::new(),
                Err(error) => return Err(Http2Error::of_sent(error)),
            };
            let connection = self.id;
            Ok(Answer { status: head.status, headers: head.headers, body, connection })
        };
        // Dropping the stream at the deadline resets it.
        let answer = timeout_at(deadline, read).await;
        let answer = answer.unwrap_or(Err(Http2Error::NotAnsweredInTime));
        answer.map_err(|error| {
            if self.vitals.has_answered() { error.of_working_connection() } else { error }
        })
    }
}

/// Moves the bytes of a connection until it ends, follows the server's stream limit, and gives the
/// connection up when it is dead.
async fn drive<T>(
    id: u64,
    mut wire: h2::client::Connection<T, Bytes>,
    pool: Arc<Pool>,
    vitals: Arc<Vitals>,
    limits: PulseLimits,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Some(mut watch) = wire.ping_pong().map(|pings| Watch::new(pings, limits)) else { return };
    let mut wire = pin!(wire);
    let mut looks = interval(limits.period());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = wire.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        pool.set_limit(&vitals, wire.max_concurrent_send_streams());
        watch.poll_answer(cx, &vitals);
        // Polled again after each look, which makes it wake this task for the next one. A PING wakes
        // the task by itself.
        while looks.poll_tick(cx).is_ready() {
            if !watch.look(&vitals) {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    })
    .await;
    match ended {
        Some(Ok(())) => tracing::debug!(connection = id, "a connection to a push service ended"),
        Some(Err(error)) => {
            tracing::debug!(connection = id, %error, "a connection to a push service broke");
        }
        // Dropping it ends the streams that are left: they are lost, and nobody knows.
        None => tracing::debug!(connection = id, "a silent connection to a push service was cut"),
    }
}

/// Looks after a connection from time to time.
struct Watch {
    pings: PingPong,
    limits: PulseLimits,
    asked: Option<Instant>,
    retired_since: Option<Instant>,
}

impl Watch {
    fn new(pings: PingPong, limits: PulseLimits) -> Self {
        Self { pings, limits, asked: None, retired_since: None }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, vitals: &Vitals) {
        // An error here is the connection's, which tells it itself.
        if self.asked.is_some() && matches!(self.pings.poll_pong(cx), Poll::Ready(Ok(_))) {
            self.asked = None;
            vitals.hear();
        }
    }

    /// Whether the connection is to be kept.
    fn look(&mut self, vitals: &Vitals) -> bool {
        let now = Instant::now();
        let is_busy = vitals.under_way.load(Ordering::Relaxed) > 0;
        if vitals.is_retired.load(Ordering::Relaxed) && !is_busy {
            let since = *self.retired_since.get_or_insert(now);
            // It closes by itself, unless the other side is gone and cannot even be told.
            return !self.limits.is_over(Some(now.saturating_duration_since(since)));
        }
        match self.limits.judge(now, vitals.heard_at(), self.asked, is_busy) {
            Pulse::Fine => true,
            Pulse::Dead => false,
            Pulse::Ask => {
                if self.pings.send_ping(Ping::opaque()).is_ok() {
                    self.asked = Some(now);
                }
                true
            }
        }
    }
}

async fn read_body(mut stream: RecvStream) -> Result<Bytes, h2::Error> {
    if stream.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        let room = MAX_ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    Ok(body.freeze())
}
