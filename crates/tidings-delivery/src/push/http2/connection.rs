//! One connection, and one request on it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Http2Error, Trust,
    config::Endpoint,
    error::ConnectError,
    gate::{StreamGate, StreamPlace},
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

/// A connection that takes requests.
pub(super) struct Connection {
    id: u64,
    sender: SendRequest<Bytes>,
    gate: Arc<StreamGate>,
    opened: Instant,
    /// When the last answer came, in milliseconds since `opened`.
    heard_ms: AtomicU64,
}

impl Connection {
    /// Connects, and returns the connection with the task that moves its bytes, which the caller
    /// owns.
    pub(super) async fn open(
        id: u64,
        endpoint: &Endpoint,
        trust: &Trust,
        max_streams: usize,
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
        let gate = Arc::new(StreamGate::new(max_streams.max(1)));
        let driver = drive(id, wire, Arc::clone(&gate));
        let opened = Instant::now();
        Ok((Self { id, sender, gate, opened, heard_ms: AtomicU64::new(0) }, driver))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }

    /// Sends one request and reads its answer by `deadline`.
    pub(super) async fn send(
        &self,
        head: Request<()>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, Http2Error> {
        let entered = timeout_at(deadline, self.gate.enter()).await;
        let _place: StreamPlace =
            entered.map_err(|_| Http2Error::NotSentInTime)?.ok_or(Http2Error::Closed)?;
        let mut sender = self.sender.clone();
        // With a place of our own there is nothing to wait for; this only notices an ended
        // connection.
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(|_| Http2Error::Closed)?;
        let (answer, mut stream) =
            sender.send_request(head, body.is_empty()).map_err(|_| Http2Error::Closed)?;
        if !body.is_empty() {
            // The library holds the body until the server's window has room: a push is small, and
            // their number is bounded by the gate.
            stream.send_data(body, true).map_err(Http2Error::of_sent)?;
        }
        let read = async {
            let (head, stream) = answer.await.map_err(Http2Error::of_sent)?.into_parts();
            self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
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
        timeout_at(deadline, read).await.unwrap_or(Err(Http2Error::NotAnsweredInTime))
    }

    /// Whether nothing at all has come for `span`: then it is not one slow answer.
    pub(super) fn is_silent_for(&self, span: Duration) -> bool {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(heard) >= span
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Moves the bytes of a connection until it ends, and follows the server's stream limit.
async fn drive<T>(id: u64, wire: h2::client::Connection<T, Bytes>, gate: Arc<StreamGate>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = pin!(wire);
    let ended = poll_fn(|cx| {
        let polled = wire.as_mut().poll(cx);
        gate.set_limit(wire.max_concurrent_send_streams());
        polled
    })
    .await;
    gate.close();
    match ended {
        Ok(()) => tracing::debug!(connection = id, "a connection to a push service ended"),
        Err(error) => {
            tracing::debug!(connection = id, %error, "a connection to a push service broke");
        }
    }
}

async fn read_body(mut stream: RecvStream) -> Result<Bytes, h2::Error> {
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
