//! A live session that reconnects by itself and resumes where it was.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tidings_core::retry::{RetryDecision, RetryPolicy};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use crate::frames::{ClientFrame, ServerFrame};

const SUBPROTOCOL: &str = "tidings.v1";
/// How long connecting and being welcomed may take together.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// What a session counts as dead after, where the server does not say how often it sends.
const USUAL_SILENCE: Duration = Duration::from_secs(75);
/// The longest frame: a notification of the largest size, every byte of it escaped.
const MAX_FRAME_BYTES: usize = 1 << 20;

/// How a session is held.
#[derive(Clone)]
pub struct SubscriptionConfig {
    /// The node, for example `http://127.0.0.1:7700` or `https://…`.
    pub url: String,
    /// The user's token.
    pub token: String,
    /// What the client has already: 0 for nothing, to get the whole inbox; `None` to get only what
    /// is new from now on.
    pub last_seq: Option<u64>,
    /// How reconnects are spread. The budget counts attempts without a welcome in between.
    pub retry: RetryPolicy,
    /// Size of the socket's read buffer, in bytes.
    pub read_buffer_bytes: usize,
}

impl SubscriptionConfig {
    /// A session of the user with `token` on the node at `url`, from now on, which never gives up.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
            last_seq: None,
            retry: RetryPolicy { max_attempts: u32::MAX, base_ms: 500, cap_ms: 20_000 },
            read_buffer_bytes: 4 * 1024,
        }
    }
}

impl fmt::Debug for SubscriptionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionConfig")
            .field("url", &self.url)
            .field("last_seq", &self.last_seq)
            .finish_non_exhaustive()
    }
}

/// A notification as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its place in the inbox.
    pub seq: u64,
    /// The notification as JSON.
    pub json: String,
    /// When it was read from the socket.
    pub at: Instant,
}

/// What happens in a subscription.
#[derive(Debug, Clone)]
pub enum SubscriptionEvent {
    /// The session is open.
    Welcome {
        /// The newest notification in the inbox.
        seq: u64,
        /// Notifications that are neither read nor archived.
        unread: u64,
    },
    /// The next notification; each once, in order, without holes.
    Notification(Arrival),
    /// A notification came again; it is left out.
    Repeated {
        /// Its place in the inbox.
        seq: u64,
    },
    /// The server left something out. The session is closed and resumed, which fills the gap.
    Gap {
        /// The last notification before it.
        after: u64,
        /// The one that came instead of the next.
        got: u64,
    },
    /// Notifications were marked on another screen.
    Unread {
        /// Notifications that are neither read nor archived.
        unread: u64,
    },
    /// The session ended and will be opened again.
    Disconnected {
        /// Why, for people.
        reason: String,
        /// When the next attempt is made.
        retry_in: Duration,
    },
}

/// Why a subscription cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The address is not that of a node.
    #[error("{url:?} is not the address of a node")]
    Address {
        /// What was given.
        url: String,
    },
    /// The server will not have this session, now or later.
    #[error("the session was refused: {reason} ({code})")]
    Refused {
        /// The close code.
        code: u16,
        /// Why, in the server's words.
        reason: String,
    },
    /// The budget of attempts is spent.
    #[error("gave up after {attempts} attempts: {last}")]
    GaveUp {
        /// How many there were.
        attempts: u32,
        /// What ended the last.
        last: String,
    },
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Session {
    socket: Socket,
    silence: Duration,
}

/// Why a session ended.
struct Ended {
    reason: String,
    retry_in: Option<Duration>,
    refused: Option<u16>,
}

impl Ended {
    fn because(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), retry_in: None, refused: None }
    }
}

/// A live session that reconnects by itself and resumes where it was.
pub struct Subscription {
    config: SubscriptionConfig,
    session: Option<Session>,
    last_seq: Option<u64>,
    unacknowledged: Option<u64>,
    failures: u32,
    retry_at: Option<Instant>,
    asked_to_wait: Option<Duration>,
}

impl Subscription {
    /// A subscription; it connects when [`Self::next`] is first called.
    #[must_use]
    pub fn open(config: SubscriptionConfig) -> Self {
        Self {
            last_seq: config.last_seq,
            config,
            session: None,
            unacknowledged: None,
            failures: 0,
            retry_at: None,
            asked_to_wait: None,
        }
    }

    /// What happens next. Notifications that were handed over are acknowledged as soon as nothing
    /// more is waiting to be read.
    ///
    /// May be dropped and called again: a connection that was being made is made anew, and nothing
    /// that was not handed over counts as received.
    ///
    /// # Errors
    ///
    /// [`SubscriptionError`] when it makes no sense to go on.
    pub async fn next(&mut self) -> Result<SubscriptionEvent, SubscriptionError> {
        loop {
            let outcome = if self.session.is_some() {
                self.read().await
            } else {
                if let Some(at) = self.retry_at {
                    tokio::time::sleep_until(at.into()).await;
                }
                self.connect().await?
            };
            match outcome {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(ended) => return self.ended(ended),
            }
        }
    }

    /// Closes the session, after acknowledging what was handed over.
    pub async fn close(mut self) {
        let acknowledged = self.acknowledge().await;
        if let (Ok(()), Some(mut session)) = (acknowledged, self.session.take()) {
            // The server notices in any case: a close that fails needs no other answer.
            let _closed = session.socket.close(None).await.is_ok();
        }
    }

    fn ended(&mut self, ended: Ended) -> Result<SubscriptionEvent, SubscriptionError> {
        self.session = None;
        self.unacknowledged = None;
        if let Some(code) = ended.refused {
            return Err(SubscriptionError::Refused { code, reason: ended.reason });
        }
        self.failures = self.failures.saturating_add(1);
        let asked = ended.retry_in.or(self.asked_to_wait.take());
        let random = rand::random::<f64>();
        let wait = match self.config.retry.after_failure(self.failures, None, random) {
            // The server has spread its clients already.
            RetryDecision::After(wait) => asked.unwrap_or(wait),
            RetryDecision::GiveUp => {
                let attempts = self.failures;
                return Err(SubscriptionError::GaveUp { attempts, last: ended.reason });
            }
        };
        self.retry_at = Some(Instant::now() + wait);
        Ok(SubscriptionEvent::Disconnected { reason: ended.reason, retry_in: wait })
    }

    async fn connect(
        &mut self,
    ) -> Result<Result<Option<SubscriptionEvent>, Ended>, SubscriptionError> {
        let bad_address = || SubscriptionError::Address { url: self.config.url.clone() };
        let url = self.config.url.trim_end_matches('/');
        // http becomes ws, and https becomes wss.
        let rest = url.strip_prefix("http").ok_or_else(bad_address)?;
        let mut request =
            format!("ws{rest}/v1/stream").into_client_request().map_err(|_| bad_address())?;
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        let mut limits = WebSocketConfig::default();
        limits.read_buffer_size = self.config.read_buffer_bytes;
        limits.write_buffer_size = 0;
        limits.max_message_size = Some(MAX_FRAME_BYTES);
        limits.max_frame_size = Some(MAX_FRAME_BYTES);
        let open = async {
            let connecting =
                tokio_tungstenite::connect_async_with_config(request, Some(limits), true);
            let (mut socket, _) = connecting.await.map_err(not_connected)?;
            let hello = ClientFrame::Hello { token: &self.config.token, last_seq: self.last_seq };
            send(&mut socket, &hello).await?;
            self.session = Some(Session { socket, silence: USUAL_SILENCE });
            self.read().await
        };
        match tokio::time::timeout(WELCOME_TIMEOUT, open).await {
            Ok(outcome) => Ok(outcome),
            Err(_) => Ok(Err(Ended::because("the node did not welcome the session in time"))),
        }
    }

    /// Reads the next frame; `None` when it is of no concern to the caller.
    async fn read(&mut self) -> Result<Option<SubscriptionEvent>, Ended> {
        let Some(session) = &mut self.session else { return Ok(None) };
        let message = match session.socket.next().now_or_never() {
            Some(message) => message,
            None => {
                self.acknowledge().await?;
                let Some(session) = &mut self.session else { return Ok(None) };
                tokio::time::timeout(session.silence, session.socket.next())
                    .await
                    .map_err(|_| Ended::because("the node is silent"))?
            }
        };
        let at = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => self.frame(&text, at).await,
            Some(Ok(Message::Close(close))) => Err(closed(close)),
            Some(Ok(_)) => Ok(None),
            Some(Err(error)) => Err(Ended::because(error)),
            None => Err(Ended::because("the connection ended")),
        }
    }

    async fn frame(&mut self, text: &str, at: Instant) -> Result<Option<SubscriptionEvent>, Ended> {
        let frame: ServerFrame<'_> = serde_json::from_str(text)
            .map_err(|error| Ended::because(format!("a frame cannot be read: {error}")))?;
        match frame.kind {
            "notification" => Ok(self.notification(&frame, at)),
            "welcome" => {
                self.failures = 0;
                let seq = frame.seq.unwrap_or_default();
                // Without a place of our own we begin at the head; with one that the inbox does not
                // have, for example after a restored backup, the server begins at its head.
                self.last_seq = Some(self.last_seq.map_or(seq, |last| last.min(seq)));
                if let (Some(heartbeat), Some(session)) = (frame.heartbeat_ms, &mut self.session) {
                    session.silence = Duration::from_millis(heartbeat.saturating_mul(3));
                }
                let unread = frame.unread.unwrap_or_default();
                Ok(Some(SubscriptionEvent::Welcome { seq, unread }))
            }
            "update" => Ok(frame.unread.map(|unread| SubscriptionEvent::Unread { unread })),
            "ping" => {
                if let Some(session) = &mut self.session {
                    send(&mut session.socket, &ClientFrame::Pong).await?;
                }
                Ok(None)
            }
            "bye" => {
                self.asked_to_wait = frame.retry_ms.map(Duration::from_millis);
                tracing::debug!(reason = frame.reason.as_deref(), "the node says bye");
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn notification(&mut self, frame: &ServerFrame<'_>, at: Instant) -> Option<SubscriptionEvent> {
        let (seq, json) = (frame.seq?, frame.notification?.get().to_owned());
        let last = self.last_seq.unwrap_or_default();
        if seq <= last {
            return Some(SubscriptionEvent::Repeated { seq });
        }
        if seq > last + 1 {
            // Resuming at `last` makes the server send what it left out, and acknowledges it.
            self.session = None;
            self.unacknowledged = None;
            self.retry_at = None;
            return Some(SubscriptionEvent::Gap { after: last, got: seq });
        }
        self.last_seq = Some(seq);
        self.unacknowledged = Some(seq);
        Some(SubscriptionEvent::Notification(Arrival { seq, json, at }))
    }

    async fn acknowledge(&mut self) -> Result<(), Ended> {
        let (Some(seq), Some(session)) = (self.unacknowledged, &mut self.session) else {
            return Ok(());
        };
        send(&mut session.socket, &ClientFrame::Ack { seq }).await?;
        self.unacknowledged = None;
        Ok(())
    }
}

async fn send(socket: &mut Socket, frame: &ClientFrame<'_>) -> Result<(), Ended> {
    let text = serde_json::to_string(frame).map_err(Ended::because)?;
    socket.send(Message::Text(Utf8Bytes::from(text))).await.map_err(Ended::because)
}

fn not_connected(error: tungstenite::Error) -> Ended {
    match error {
        tungstenite::Error::Http(answer) => {
            let wait = answer.headers().get(http::header::RETRY_AFTER);
            let secs = wait.and_then(|value| value.to_str().ok()?.parse().ok());
            let reason = format!("the node answered {}", answer.status());
            Ended { reason, retry_in: secs.map(Duration::from_secs), refused: None }
        }
        error => Ended::because(error),
    }
}

fn closed(close: Option<CloseFrame>) -> Ended {
    let Some(CloseFrame { code, reason }) = close else {
        return Ended::because("the node closed the session");
    };
    let code = u16::from(code);
    let reason = if reason.is_empty() { format!("close code {code}") } else { reason.to_string() };
    // Malformed, not authenticated, not allowed, replaced: trying again would end the same way.
    let refused = Some(code).filter(|code| matches!(code, 4400 | 4401 | 4403 | 4409));
    Ended { reason, retry_in: None, refused }
}
