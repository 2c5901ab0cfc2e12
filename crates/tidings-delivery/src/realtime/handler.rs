//! Lets clients in: hello, token, a place in the pool, welcome.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tidings_core::{
    clock::{Clock, Timestamp},
    error_chain::ErrorChain,
    ids::{Seq, UserId},
    inbox::Acknowledgement,
    ports::NotificationStore,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    acks::AckLog,
    pace::Pace,
    pool::ConnectionPool,
    protocol::{BadFrame, ClientFrame, CloseCode, ServerFrame, read_frame},
    session::{Ending, Session},
    socket::{Incoming, SessionSocket, SocketClosed},
};

/// How long a client may take to read a bye, and then a close.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The longest name of a device, in bytes.
const MAX_DEVICE_BYTES: usize = 128;

/// Bounds of live sessions.
#[derive(Debug, Clone, Copy)]
pub struct RealtimeConfig {
    /// Notifications that are read from the store at a time.
    pub replay_page: usize,
    /// How long a client may take to say hello.
    pub hello_timeout: Duration,
    /// How long a session may be silent before it is pinged; twice that, and it is closed.
    pub heartbeat: Duration,
    /// How long a client may take to read a frame before it is cut off.
    pub slow: Duration,
    /// How fast a client is heard.
    pub pace: Pace,
    /// Clients of a stopping node come back after a random time up to this.
    pub drain_retry: Duration,
}

/// Who a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The user.
    pub user: UserId,
    /// When the token ends, and the session with it.
    pub expires_at: Timestamp,
    /// When the token was issued, if it says so.
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
    /// checked. Sessions ask when they are told to, so this reads memory only.
    ///
    /// # Errors
    ///
    /// [`SessionRefused`].
    fn recheck(&self, _identity: &SessionIdentity) -> Result<(), SessionRefused> {
        Ok(())
    }
}

/// Serves live sessions.
pub struct WebSocketHandler {
    pub(super) config: RealtimeConfig,
    pub(super) pool: Arc<ConnectionPool>,
    pub(super) store: Arc<dyn NotificationStore>,
    pub(super) acks: AckLog,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) authenticator: Arc<dyn SessionAuthenticator>,
}

impl WebSocketHandler {
    /// A handler whose sessions have their places in `pool`.
    pub fn new(
        config: RealtimeConfig,
        pool: Arc<ConnectionPool>,
        store: Arc<dyn NotificationStore>,
        acks: AckLog,
        authenticator: Arc<dyn SessionAuthenticator>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { config, pool, store, acks, clock, authenticator }
    }

    /// Serves one connection until it ends, its token ends, or `stop`.
    pub async fn serve<S: SessionSocket>(&self, mut socket: S, stop: CancellationToken) {
        // Boxed, like all that happens once or seldom: a session at rest pays for the room of rest only.
        let ending = match Box::pin(self.open(&mut socket, &stop)).await {
            Ok(mut session) => session.run(&mut socket).await,
            Err(ending) => ending,
        };
        match ending {
            Ending::Gone => Box::pin(leave(socket)).await,
            Ending::Close(code, reason) => Box::pin(close(socket, code, &reason)).await,
            Ending::Stop => Box::pin(self.say_bye(socket)).await,
        }
    }

    /// Lets a client in that says hello in time.
    async fn open<'s, S: SessionSocket>(
        &'s self,
        socket: &mut S,
        stop: &'s CancellationToken,
    ) -> Result<Box<Session<'s>>, Ending> {
        let hello = tokio::select! {
            hello = tokio::time::timeout(self.config.hello_timeout, self.hello(socket)) => hello,
            () = stop.cancelled() => return Err(Ending::Stop),
        };
        let late = |_| Ending::Close(CloseCode::HeartbeatMissed, "no hello in time".to_owned());
        self.session(socket, hello.map_err(late)??, stop).await
    }

    async fn hello<S: SessionSocket>(&self, socket: &mut S) -> Result<Hello, Ending> {
        let text = loop {
            match socket.receive().await? {
                Incoming::Text(text) => break text,
                Incoming::Alive => {}
                Incoming::Binary => return Err(Ending::malformed("frames are JSON text")),
            }
        };
        let (token, last_seq, device) = match read_frame(&text) {
            Ok(ClientFrame::Hello { token, last_seq, device }) => (token, last_seq, device),
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
        let identity = self.authenticator.authenticate(&token).await.map_err(Ending::refused)?;
        Ok(Hello { identity, last_seq: last_seq.map(Seq), device })
    }

    async fn session<'s, S: SessionSocket>(
        &'s self,
        socket: &mut S,
        hello: Hello,
        stop: &'s CancellationToken,
    ) -> Result<Box<Session<'s>>, Ending> {
        let Hello { identity, last_seq, device } = hello;
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
        let inbox = match self.store.inbox(&identity.user).await {
            Ok(inbox) => inbox,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "a session was not opened");
                let reason = "the store is not available".to_owned();
                return Err(Ending::Close(CloseCode::Restarting, reason));
            }
        };
        let id = Uuid::now_v7();
        let welcome = ServerFrame::Welcome {
            session: &id.to_string(),
            user: &identity.user,
            seq: inbox.last_seq,
            unread: inbox.unread,
            heartbeat_ms: u64::try_from(self.config.heartbeat.as_millis()).unwrap_or(u64::MAX),
            forgotten_seq: inbox.forgotten_seq,
        };
        // It is the first frame, so that it fits into any connection that is still there.
        match tokio::time::timeout(LAST_WORDS, socket.send(&welcome.to_text())).await {
            Ok(Ok(())) => {}
            Ok(Err(SocketClosed)) | Err(_) => return Err(Ending::Gone),
        }
        // A place that the inbox does not have yet, as after a restored backup, is its head.
        let from = last_seq.map_or(inbox.last_seq, |seq| seq.min(inbox.last_seq));
        if last_seq.is_some() && from > inbox.acked_seq {
            // Whoever says that it has something need not say it again: an acknowledgement that was
            // lost with the connection must not end in a push.
            let (user, deliveries) = (identity.user.clone(), Vec::new());
            self.acks.note(Acknowledgement { user, seq: from, deliveries }).await;
        }
        let reach = (from, inbox.last_seq);
        let session = Session::new(self, identity, id, reach, registration, stop);
        Ok(Box::new(session.on_device(device)))
    }

    /// Asks the client to come back after a random time, so that not all come at once.
    async fn say_bye<S: SessionSocket>(&self, mut socket: S) {
        let most = u64::try_from(self.config.drain_retry.as_millis()).unwrap_or(u64::MAX);
        let retry_ms = rand::random_range(0..=most);
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
    device: Option<Box<str>>,
}
