//! The session: connecting, reading, resuming.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tidings_core::{error_chain::ErrorChain, retry::RetryDecision};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{Arrival, SubscriptionConfig, SubscriptionError, SubscriptionEvent};
use crate::{
    frames::{ClientFrame, ServerFrame},
    tls,
};

const SUBPROTOCOL: &str = "tidings.v1";
/// How long connecting and being welcomed may take together.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// What a session counts as dead after, where the server does not say how often it sends.
const USUAL_SILENCE: Duration = Duration::from_secs(75);
/// How long a close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The close code of a token that the server does not accept.
const NOT_AUTHENTICATED: u16 = 4401;
/// The close code of a node, or a user, with as many sessions as there may be …
const TOO_MANY_CONNECTIONS: u16 = 4429;
/// … whose next wait is that after so many failures more.
const WHILE_FULL: u32 = 3;
/// The longest frame: a notification of the largest size, every byte of it escaped.
const MAX_FRAME_BYTES: usize = 1 << 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a session was opened with.
#[derive(Clone)]
enum Credential {
    Token(Arc<str>),
    /// A ticket that the node gave with an earlier session, in place of the token.
    Ticket(Arc<str>),
}

struct Session {
    socket: Socket,
    credential: Credential,
    silence: Duration,
}

/// Why a session ended.
struct Ended {
    reason: String,
    retry_in: Option<Duration>,
    refused: Option<u16>,
    /// There are too many sessions, and others have to end before there is room for this one.
    is_full: bool,
    /// The last notification before a gap, and the one that came instead of the next.
    gap: Option<(u64, u64)>,
}

impl Ended {
    fn because(reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self { reason, retry_in: None, refused: None, is_full: false, gap: None }
    }
}

/// A live session that reconnects by itself and resumes where it was.
pub struct Subscription {
    config: SubscriptionConfig,
    session: Option<Session>,
    last_seq: Option<u64>,
    /// Where it began, if it did so at the newest notification: what came before was never here.
    after_seq: Option<u64>,
    /// The newest notification that was handed over, and how many there were since the last ack.
    unacknowledged: Option<(u64, u32)>,
    /// Attempts since the last welcome.
    failures: u32,
    /// When the session was lost that they are to replace; without one, when the first attempt failed.
    lost_at: Option<Instant>,
    /// Gaps since the last notification that was the next.
    gaps: u32,
    /// The token that takes the place of one that was not accepted.
    renewed: Option<Arc<str>>,
    /// What the node gave to come back with; shown in place of a token, once.
    ticket: Option<Arc<str>>,
    /// Made with the first connection to an `https` node.
    tls: Option<Arc<rustls::ClientConfig>>,
    retry_at: Option<Instant>,
    asked_to_wait: Option<Duration>,
}

impl Subscription {
    /// A subscription; it connects when [`Self::next`] is first called.
    #[must_use]
    pub fn open(config: SubscriptionConfig) -> Self {
        Self {
            last_seq: config.last_seq,
            after_seq: config.last_seq.and(config.after_seq),
            config,
            session: None,
            unacknowledged: None,
            failures: 0,
            lost_at: None,
            gaps: 0,
            renewed: None,
            ticket: None,
            tls: None,
            retry_at: None,
            asked_to_wait: None,
        }
    }

    /// Where the client began, unless it has the whole inbox or the configuration does not say; for the next
    /// one that goes on from here.
    #[must_use]
    pub fn after_seq(&self) -> Option<u64> {
        self.after_seq
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
                // Boxed: what connecting takes, TLS included, an open session need not hold.
                Box::pin(self.connect()).await?
            };
            match outcome {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(ended) => return Box::pin(self.ended(ended)).await,
            }
        }
    }

    /// Closes the session, after acknowledging what was handed over.
    pub async fn close(mut self) {
        let closing = async {
            self.acknowledge().await?;
            match &mut self.session {
                Some(session) => session.socket.close(None).await.map_err(Ended::because),
                None => Ok(()),
            }
        };
        // The server notices in any case: a close that fails needs no other answer.
        let _closed = tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_ok();
    }

    async fn ended(&mut self, ended: Ended) -> Result<SubscriptionEvent, SubscriptionError> {
        let session = self.session.take();
        self.unacknowledged = None;
        if let Some((after, got)) = ended.gap {
            // Resuming at `after` acknowledges it, and makes the server send what it left out. One
            // that never does must not be asked without a pause.
            self.gaps = self.gaps.saturating_add(1);
            let retry = self.config.retry.after_failure(self.gaps, None, rand::random());
            self.wait(retry, self.gaps, None, "notifications were left out")?;
            return Ok(SubscriptionEvent::Gap { after, got });
        }
        if let Some(code) = ended.refused {
            let shown = session.map(|session| session.credential);
            let renewed = code == NOT_AUTHENTICATED && self.replace(shown).await;
            if !renewed {
                return Err(SubscriptionError::Refused { code, reason: ended.reason });
            }
        }
        if ended.is_full {
            self.failures = self.failures.max(WHILE_FULL);
        }
        self.failures = self.failures.saturating_add(1);
        let asked = ended.retry_in.or(self.asked_to_wait.take());
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        let away = lost_at.elapsed();
        let retry = self.config.retry.after_loss(self.failures, away, rand::random());
        let retry_in = self.wait(retry, self.failures, asked, &ended.reason)?;
        Ok(SubscriptionEvent::Disconnected { reason: ended.reason, retry_in })
    }

    /// Puts something else in the place of what was not accepted; says whether it makes sense to go on.
    async fn replace(&mut self, shown: Option<Credential>) -> bool {
        // A ticket stands for a token, and ends with it.
        self.ticket = None;
        match shown {
            // The token may be good although its ticket is not: the node's key may be a new one.
            Some(Credential::Ticket(_)) => true,
            Some(Credential::Token(token)) => self.renew(Some(token)).await,
            None => self.renew(None).await,
        }
    }

    /// Asks for another token than `shown`; says whether it makes sense to go on. A new token that was not
    /// accepted either is the end.
    async fn renew(&mut self, shown: Option<Arc<str>>) -> bool {
        if self.renewed.is_some() {
            return false;
        }
        match self.config.tokens.token().await {
            Ok(token) => {
                let other = shown.is_none_or(|shown| shown != token);
                self.renewed = Some(token).filter(|_| other);
                other
            }
            // Asked again with the next attempt.
            Err(error) => {
                tracing::debug!(%error, "the token was not renewed");
                true
            }
        }
    }

    /// What to open the next session with.
    async fn credential(&self) -> Result<Credential, Ended> {
        match (&self.renewed, &self.ticket) {
            (Some(token), _) => Ok(Credential::Token(Arc::clone(token))),
            (None, Some(ticket)) => Ok(Credential::Ticket(Arc::clone(ticket))),
            (None, None) => {
                let token = self.config.tokens.token().await.map_err(Ended::because)?;
                Ok(Credential::Token(token))
            }
        }
    }

    /// How long to wait after so many attempts, unless the server asked for another time.
    fn wait(
        &mut self,
        retry: RetryDecision,
        attempts: u32,
        asked: Option<Duration>,
        last: &str,
    ) -> Result<Duration, SubscriptionError> {
        let wait = match retry {
            // The server has spread its clients already.
            RetryDecision::After(wait) => asked.unwrap_or(wait),
            RetryDecision::GiveUp => {
                return Err(SubscriptionError::GaveUp { attempts, last: last.to_owned() });
            }
        };
        self.retry_at = Some(Instant::now() + wait);
        Ok(wait)
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
        let secure = rest.starts_with("s://");
        let open = async {
            let connector = match &self.tls {
                _ if !secure => Connector::Plain,
                Some(config) => Connector::Rustls(Arc::clone(config)),
                None => {
                    let config =
                        tls::config().map_err(|error| Ended::because(ErrorChain(&error)))?;
                    Connector::Rustls(Arc::clone(self.tls.insert(config)))
                }
            };
            let credential = self.credential().await?;
            let connecting =
                connect_async_tls_with_config(request, Some(limits), true, Some(connector));
            let (mut socket, _) = connecting.await.map_err(not_connected)?;
            let (token, ticket) = match &credential {
                Credential::Token(token) => (Some(&**token), None),
                Credential::Ticket(ticket) => (None, Some(&**ticket)),
            };
            let (last_seq, after_seq) = (self.last_seq, self.after_seq);
            let hello = ClientFrame::Hello { token, ticket, last_seq, after_seq };
            send(&mut socket, &hello).await?;
            self.session = Some(Session { socket, credential, silence: WELCOME_TIMEOUT });
            self.read().await
        };
        match tokio::time::timeout(WELCOME_TIMEOUT, open).await {
            Ok(outcome) => Ok(outcome),
            Err(_) => Ok(Err(Ended::because("the node did not welcome the session in time"))),
        }
    }

    /// Reads the next frame; `None` when it is of no concern to the caller.
    async fn read(&mut self) -> Result<Option<SubscriptionEvent>, Ended> {
        if self.unacknowledged.is_some_and(|(_, count)| count >= self.config.ack_every) {
            self.acknowledge().await?;
        }
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
            "notification" => self.notification(&frame, at),
            "welcome" => {
                self.failures = 0;
                self.lost_at = None;
                self.renewed = None;
                self.ticket = frame.ticket.map(Arc::from);
                let seq = frame.seq.unwrap_or_default();
                // Without a place of our own we begin at the head; with one that the inbox does not
                // have, for example after a restored backup, the server begins at its head.
                // What the server has forgotten will not come any more: it is no gap.
                let forgotten = frame.forgotten_seq.unwrap_or_default();
                if self.last_seq.is_none() {
                    self.after_seq = Some(seq);
                }
                let last = self.last_seq.map_or(seq, |last| last.max(forgotten).min(seq));
                self.last_seq = Some(last);
                if let Some(session) = &mut self.session {
                    let three = |heartbeat: u64| Duration::from_millis(heartbeat.saturating_mul(3));
                    session.silence = frame.heartbeat_ms.map_or(USUAL_SILENCE, three);
                }
                let unread = frame.unread.unwrap_or_default();
                Ok(Some(SubscriptionEvent::Welcome { seq, unread }))
            }
            "renewed" => {
                if let Some(ticket) = frame.ticket {
                    self.ticket = Some(Arc::from(ticket));
                }
                Ok(None)
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

    fn notification(
        &mut self,
        frame: &ServerFrame<'_>,
        at: Instant,
    ) -> Result<Option<SubscriptionEvent>, Ended> {
        let (Some(seq), Some(json)) = (frame.seq, frame.notification) else {
            return Err(Ended::because("a notification without its seq or itself"));
        };
        let last = self.last_seq.unwrap_or_default();
        if seq <= last {
            return Ok(Some(SubscriptionEvent::Repeated { seq }));
        }
        if seq > last + 1 {
            return Err(Ended { gap: Some((last, seq)), ..Ended::because("a gap") });
        }
        self.last_seq = Some(seq);
        self.gaps = 0;
        let count = self.unacknowledged.map_or(0, |(_, count)| count);
        self.unacknowledged = Some((seq, count.saturating_add(1)));
        let json = json.get().to_owned();
        Ok(Some(SubscriptionEvent::Notification(Arrival { seq, json, at })))
    }

    async fn acknowledge(&mut self) -> Result<(), Ended> {
        let (Some((seq, _)), Some(session)) = (self.unacknowledged, &mut self.session) else {
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
            let retry_in = secs.map(Duration::from_secs);
            let answered = format!("the node answered {}", answer.status());
            Ended { retry_in, ..Ended::because(answered) }
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
    // Neither side understands the other; not authenticated, not allowed, replaced: trying again would end
    // the same way.
    let is_final = matches!(code, 1002 | 1007 | 1009 | 4400 | 4401 | 4403 | 4409);
    let refused = Some(code).filter(|_| is_final);
    Ended { refused, is_full: code == TOO_MANY_CONNECTIONS, ..Ended::because(reason) }
}
