//! Lets clients in: hello, token, a place in the pool, welcome.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tidings_core::{
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    ids::{Seq, UserId},
    inbox::{Acknowledgement, InboxPage, Stretch},
    notification::Notification,
    ports::NotificationStore,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    acks::AckLog,
    admission::Admitted,
    drain::Drain,
    pace::Pace,
    pool::ConnectionPool,
    protocol::{BadFrame, ClientFrame, CloseCode, ServerFrame, read_frame},
    replay::Replays,
    session::{Ending, Session},
    socket::{Incoming, SessionSocket, SocketClosed},
    tickets::Tickets,
};

/// How long a client may take to read a bye, and then a close.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The longest name of a device, in bytes.
const MAX_DEVICE_BYTES: usize = 128;

/// Bounds of live sessions.
#[derive(Debug, Clone, Copy)]
pub struct RealtimeConfig {
    /// How long a client may take to say hello.
    pub hello_timeout: Duration,
    /// How long a session may be silent before it is pinged; twice that, and it is closed.
    pub heartbeat: Duration,
    /// How long a client may take to read a frame before it is cut off.
    pub slow: Duration,
    /// How fast a client is heard.
    pub pace: Pace,
}

/// Who a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The user.
    pub user: UserId,
    /// When the token ends, and the session with it.
    pub expires_at: Timestamp,
    /// When the token was issued, if it says so. It is in tickets too, so that whoever refuses what was
    /// issued before some time refuses tickets with it.
    pub issued_at: Option<Timestamp>,
}

/// The token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SessionRefused {
    /// Why, for the client.
    pub reason: String,
}

/// Checks the tokens of sessions.
#[async_trait]
pub trait SessionAuthenticator: Send + Sync + 'static {
    /// Says who a token stands for.
    ///
    /// # Errors
    ///
    /// [`SessionRefused`].
    async fn authenticate(&self, token: &str) -> Result<SessionIdentity, SessionRefused>;

    /// Says whether what a token stood for still holds: it may have been revoked since it was
    /// checked. Asked of every ticket, and of sessions when they are told to look, so this reads memory
    /// only.
    ///
    /// # Errors
    ///
    /// [`SessionRefused`].
    fn recheck(&self, _identity: &SessionIdentity) -> Result<(), SessionRefused> {
        Ok(())
    }
}

/// What a handler works with.
pub struct SessionParts {
    /// Where sessions have their places.
    pub pool: Arc<ConnectionPool>,
    /// Where marks go.
    pub store: Arc<dyn NotificationStore>,
    /// Where inboxes are read.
    pub replays: Replays,
    /// Where acknowledgements go.
    pub acks: AckLog,
    /// Checks tokens.
    pub authenticator: Arc<dyn SessionAuthenticator>,
    /// Makes tickets, and checks them.
    pub tickets: Tickets,
    /// Says when the clients of a stopping node are to come back.
    pub drain: Arc<Drain>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Serves live sessions.
pub struct WebSocketHandler {
    pub(super) config: RealtimeConfig,
    pub(super) pool: Arc<ConnectionPool>,
    pub(super) store: Arc<dyn NotificationStore>,
    pub(super) replays: Replays,
    pub(super) acks: AckLog,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) authenticator: Arc<dyn SessionAuthenticator>,
    pub(super) tickets: Tickets,
    drain: Arc<Drain>,
}

impl WebSocketHandler {
    /// A handler that works with `parts`.
    #[must_use]
    pub fn new(config: RealtimeConfig, parts: SessionParts) -> Self {
        let SessionParts { pool, store, replays, acks, authenticator, tickets, drain, clock } =
            parts;
        Self { config, pool, store, replays, acks, clock, authenticator, tickets, drain }
    }

    /// Serves one connection until it ends, its token ends, or `stop`. The place among those on their way
    /// in is given back as soon as the client is welcome.
    pub async fn serve<S: SessionSocket>(
        &self,
        mut socket: S,
        admitted: Admitted,
        stop: CancellationToken,
    ) {
        // Boxed, like all that happens once or seldom: a session at rest pays for the room of rest only.
        let ending = match Box::pin(self.open(&mut socket, admitted, &stop)).await {
            Ok(mut session) => session.run(&mut socket).await,
            Err(ending) => ending,
        };
        match ending {
            Ending::Gone => Box::pin(leave(socket)).await,
            Ending::Close(code, reason) => Box::pin(close(socket, code, &reason)).await,
            Ending::Stop => Box::pin(self.say_bye(socket)).await,
        }
    }

    /// Lets a client in that says hello in time, and sends what was read with the counters.
    async fn open<'s, S: SessionSocket>(
        &'s self,
        socket: &mut S,
        admitted: Admitted,
        stop: &'s CancellationToken,
    ) -> Result<Box<Session<'s>>, Ending> {
        let hello = tokio::select! {
            hello = tokio::time::timeout(self.config.hello_timeout, self.hello(socket)) => hello,
            () = stop.cancelled() => return Err(Ending::Stop),
        };
        let late = |_| Ending::Close(CloseCode::HeartbeatMissed, "no hello in time".to_owned());
        let (mut session, page) =
            self.session(socket, hello.map_err(late)??, admitted, stop).await?;
        session.begin(page, socket).await?;
        Ok(session)
    }

    async fn hello<S: SessionSocket>(&self, socket: &mut S) -> Result<Hello, Ending> {
        let text = loop {
            match socket.receive().await? {
                Incoming::Text(text) => break text,
                Incoming::Alive => {}
                Incoming::Binary => return Err(Ending::malformed("frames are JSON text")),
            }
        };
        let (token, ticket, last_seq, after_seq, device) = match read_frame(&text) {
            Ok(ClientFrame::Hello { token, ticket, last_seq, after_seq, device }) => {
                (token, ticket, last_seq, after_seq, device)
            }
            Ok(_) | Err(BadFrame::UnknownType(_)) => {
                return Err(Ending::malformed("the first frame has to be hello"));
            }
            Err(BadFrame::Malformed(problem)) => return Err(Ending::malformed(&problem)),
        };
        let device = device.as_deref().filter(|name| !name.is_empty());
        if device.is_some_and(|name| name.len() > MAX_DEVICE_BYTES) {
            return Err(Ending::malformed("the name of a device has at most 128 bytes"));
        }
        let device = device.map(Box::from);
        let identity = match (token, ticket) {
            (Some(token), None) => self.authenticator.authenticate(&token).await,
            (None, Some(ticket)) => self.resume(&ticket),
            _ => return Err(Ending::malformed("hello takes one of token and ticket")),
        };
        let identity = identity.map_err(Ending::refused)?;
        // Without a place that it comes from, it begins now.
        let last_seq = last_seq.map(Seq);
        let after_seq = last_seq.and(after_seq).map_or(Seq::ZERO, Seq);
        Ok(Hello { identity, last_seq, after_seq, device })
    }

    /// Who a ticket stands for.
    fn resume(&self, ticket: &str) -> Result<SessionIdentity, SessionRefused> {
        let identity = self.tickets.check(ticket, self.clock.now());
        let outcome = identity
            .map_err(|refused| SessionRefused { reason: refused.to_string() })
            .and_then(|identity| self.authenticator.recheck(&identity).map(|()| identity));
        let label = if outcome.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("tidings_realtime_tickets_total", "outcome" => label).increment(1);
        outcome
    }

    async fn session<'s, S: SessionSocket>(
        &'s self,
        socket: &mut S,
        hello: Hello,
        admitted: Admitted,
        stop: &'s CancellationToken,
    ) -> Result<(Box<Session<'s>>, Vec<Notification>), Ending> {
        let Hello { identity, last_seq, after_seq, device } = hello;
        // Register before the first read: what is committed between the two is in the mailbox.
        let registration = match self.pool.register(&identity.user) {
            Ok(registration) => registration,
            Err(full) => {
                return Err(Ending::Close(CloseCode::TooManyConnections, full.to_string()));
            }
        };
        // Whoever revokes tells the sessions that are registered: before that, it is looked up.
        if let Err(refused) = self.authenticator.recheck(&identity) {
            return Err(Ending::refused(refused));
        }
        let caught_up = tokio::select! {
            caught_up = self.replays.catch_up(&identity.user, last_seq) => caught_up,
            () = stop.cancelled() => return Err(Ending::Stop),
        };
        let InboxPage { inbox, notifications } = match caught_up {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "a session was not opened");
                let reason = "the store is not available".to_owned();
                return Err(Ending::Close(CloseCode::Restarting, reason));
            }
        };
        let id = Uuid::now_v7();
        let ticket = self.tickets.issue(&identity, self.clock.now());
        let welcome = ServerFrame::Welcome {
            session: &id.to_string(),
            user: &identity.user,
            seq: inbox.last_seq,
            unread: inbox.unread,
            heartbeat_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX),
            forgotten_seq: inbox.forgotten_seq,
            ticket: Some(&ticket),
        };
        // It is the first frame, so that it fits into any connection that is still there.
        match tokio::time::timeout(LAST_WORDS, socket.send(&welcome.to_text())).await {
            Ok(Ok(())) => {}
            Ok(Err(SocketClosed)) | Err(_) => return Err(Ending::Gone),
        }
        drop((admitted, ticket));
        metrics::counter!("tidings_realtime_welcomes_total").increment(1);
        // A place that the inbox does not have yet, as after a restored backup, is its head.
        let from = last_seq.map_or(inbox.last_seq, |seq| seq.min(inbox.last_seq));
        let after = if last_seq.is_some() { after_seq.min(from) } else { from };
        let has = Stretch { after, upto: from };
        if inbox.acked().join(has) != inbox.acked() {
            // Whoever says that it has something need not say it again: an acknowledgement that was
            // lost with the connection must not end in a push.
            let (user, deliveries) = (identity.user.clone(), Vec::new());
            self.acks.note(Acknowledgement { user, has, deliveries }).await;
        }
        let session = Session::new(self, identity, id, (has, inbox.last_seq), registration, stop);
        Ok((Box::new(session.on_device(device)), notifications))
    }

    /// Asks the client to come back after a random time, so that not all come at once.
    async fn say_bye<S: SessionSocket>(&self, mut socket: S) {
        let retry_ms = self.drain.retry_ms();
        let bye = ServerFrame::Bye { reason: "the node is stopping", retry_ms }.to_text();
        let said = tokio::time::timeout(LAST_WORDS, socket.send(&bye)).await;
        if matches!(said, Ok(Ok(()))) {
            close(socket, CloseCode::Restarting, "the node is stopping").await;
        }
    }
}

/// Closes a connection, and lets go of a client that does not read even that.
async fn close<S: SessionSocket>(socket: S, code: CloseCode, reason: &str) {
    let _unread = tokio::time::timeout(LAST_WORDS, socket.close(code, reason)).await.is_err();
}

/// Lets go of a connection that is closed, with the same patience.
async fn leave<S: SessionSocket>(socket: S) {
    let _unread = tokio::time::timeout(LAST_WORDS, socket.leave()).await.is_err();
}

struct Hello {
    identity: SessionIdentity,
    last_seq: Option<Seq>,
    /// Where the client began: it has what comes after, up to `last_seq`.
    after_seq: Seq,
    device: Option<Box<str>>,
}
