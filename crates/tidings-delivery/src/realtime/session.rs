//! One live session, from welcome to its end.

use std::{collections::VecDeque, future::Future, pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tidings_core::{
    clock::Timestamp,
    error_chain::ErrorChain,
    ids::{NotificationId, Seq},
    inbox::Stretch,
    notification::Notification,
    retry::{RetryDecision, RetryPolicy},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    handler::{SessionIdentity, SessionRefused, WebSocketHandler},
    mailbox::Waiting,
    pool::Registration,
    protocol::{CloseCode, ServerFrame},
    replay::ReplayError,
    socket::{SessionSocket, SocketClosed},
};

/// Frames whose sending is remembered until they are acknowledged, for the delivery log. A client
/// that never acknowledges has no deliveries in the log.
const UNACKNOWLEDGED: usize = 1024;
/// Reads of the store that failed are tried again like this, for as long as the client stays.
const STORE_RETRY: RetryPolicy =
    RetryPolicy { max_attempts: u32::MAX, base_ms: 100, cap_ms: 5_000 };

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The connection is gone.
    Gone,
    /// It is closed with this code and reason.
    Close(CloseCode, String),
    /// The node is stopping.
    Stop,
}

impl Ending {
    pub(super) fn malformed(reason: &str) -> Self {
        Self::Close(CloseCode::Malformed, reason.to_owned())
    }

    pub(super) fn refused(refused: SessionRefused) -> Self {
        Self::Close(CloseCode::NotAuthenticated, refused.reason)
    }

    fn expired() -> Self {
        Self::Close(CloseCode::NotAuthenticated, "the token has expired".to_owned())
    }
}

impl From<SocketClosed> for Ending {
    fn from(SocketClosed: SocketClosed) -> Self {
        Self::Gone
    }
}

/// What to do with a notification that was broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next one: send it.
    Send,
    /// The client has it.
    Drop,
    /// Something is missing before it: read from the store.
    Refill,
}

/// What a client that has everything up to `sent` needs of notification `seq`.
pub(super) fn step(sent: Seq, seq: Seq) -> Step {
    if seq <= sent {
        Step::Drop
    } else if seq == sent.next() {
        Step::Send
    } else {
        Step::Refill
    }
}

/// A live session.
pub(super) struct Session<'a> {
    pub(super) handler: &'a WebSocketHandler,
    pub(super) identity: SessionIdentity,
    pub(super) id: Uuid,
    /// What the client calls itself.
    pub(super) device: Option<Box<str>>,
    registration: Registration,
    stop: &'a CancellationToken,
    /// The client began here, and knows nothing of what came before.
    pub(super) began: Seq,
    /// The client was sent everything up to here.
    pub(super) sent: Seq,
    /// The client acknowledged everything up to here.
    pub(super) acknowledged: Seq,
    /// The inbox has at least everything up to here.
    known: Seq,
    pub(super) unacknowledged: VecDeque<(NotificationId, Timestamp)>,
    pub(super) heard: Instant,
    /// When the client was pinged, if nothing was heard since.
    pub(super) pinged_at: Option<Instant>,
    /// What the client said is paid for when this time comes; see [`Pace`](super::pace::Pace).
    pub(super) paid_at: Instant,
}

impl<'a> Session<'a> {
    /// A session of a client that has this stretch of an inbox that reaches to `known`.
    pub(super) fn new(
        handler: &'a WebSocketHandler,
        identity: SessionIdentity,
        id: Uuid,
        (has, known): (Stretch, Seq),
        registration: Registration,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            handler,
            identity,
            id,
            device: None,
            registration,
            stop,
            began: has.after,
            sent: has.upto,
            acknowledged: has.upto,
            known,
            unacknowledged: VecDeque::new(),
            heard: Instant::now(),
            pinged_at: None,
            paid_at: Instant::now(),
        }
    }

    /// The same, of a client that calls itself `device`.
    pub(super) fn on_device(self, device: Option<Box<str>>) -> Self {
        Self { device, ..self }
    }

    /// Sends `page`: what comes after the client's place, as it was read with the counters.
    pub(super) async fn begin<S: SessionSocket>(
        &mut self,
        page: Vec<Notification>,
        socket: &mut S,
    ) -> Result<(), Ending> {
        if self.sent < self.known {
            metrics::counter!("tidings_realtime_replays_total").increment(1);
        }
        self.send_page(page, socket).await
    }

    /// Serves the client until something ends the session.
    pub(super) async fn run<S: SessionSocket>(&mut self, socket: &mut S) -> Ending {
        loop {
            if let Err(ending) = self.turn(socket).await {
                return ending;
            }
        }
    }

    /// Sends what the client lacks, then one thing that waits for it; waits if there is nothing.
    async fn turn<S: SessionSocket>(&mut self, socket: &mut S) -> Result<(), Ending> {
        if self.sent < self.known {
            // Boxed, like other things that happen seldom: a session at rest pays for their room.
            Box::pin(self.refill(socket)).await?;
        }
        let mailbox = Arc::clone(self.registration.mailbox());
        match mailbox.take() {
            Some(waiting) => {
                self.offer(waiting, socket).await?;
                // However much there is to say, the client is heard in between.
                self.attend(socket, std::future::ready(())).await
            }
            None => self.attend(socket, mailbox.ready()).await,
        }
    }

    async fn offer<S: SessionSocket>(
        &mut self,
        waiting: Waiting,
        socket: &mut S,
    ) -> Result<(), Ending> {
        match waiting {
            Waiting::Lagged => Box::pin(self.learn_head(socket)).await,
            Waiting::Recheck => self.recheck(),
            Waiting::Update(frame) => self.send(socket, &frame).await,
            Waiting::Reaches(seq) => {
                self.known = self.known.max(seq);
                Ok(())
            }
            // A token that does not say when it was issued may be any age.
            Waiting::Revoked(before) if self.identity.issued_at.is_none_or(|at| at < before) => {
                let reason = "the session was revoked; come back with a new token".to_owned();
                Err(Ending::Close(CloseCode::NotAuthenticated, reason))
            }
            Waiting::Revoked(_) => Ok(()),
            Waiting::Notification(id, frame) => match step(self.sent, id.seq) {
                Step::Drop => Ok(()),
                Step::Refill => {
                    metrics::counter!("tidings_realtime_refills_total").increment(1);
                    self.known = self.known.max(id.seq);
                    Ok(())
                }
                Step::Send => {
                    self.send(socket, &frame).await?;
                    self.note_sent(id);
                    Ok(())
                }
            },
        }
    }

    /// Reads from the store, page by page, what the client lacks up to what is known of.
    async fn refill<S: SessionSocket>(&mut self, socket: &mut S) -> Result<(), Ending> {
        let replays = &self.handler.replays;
        while self.sent < self.known {
            let (user, after) = (self.identity.user.clone(), self.sent);
            let read = || replays.page_after(&user, after).boxed();
            let page = self.patiently(socket, read).await?.notifications;
            if page.is_empty() {
                // Known from a broadcast, and not there: the store was set back. Go on from its head.
                self.known = self.sent;
                break;
            }
            self.send_page(page, socket).await?;
        }
        Ok(())
    }

    async fn send_page<S: SessionSocket>(
        &mut self,
        page: Vec<Notification>,
        socket: &mut S,
    ) -> Result<(), Ending> {
        for notification in &page {
            let seq = notification.seq();
            let frame = ServerFrame::Notification { seq, notification };
            self.send(socket, &frame.to_text()).await?;
            self.note_sent(notification.id);
        }
        Ok(())
    }

    /// After frames were dropped: how far does the inbox reach?
    async fn learn_head<S: SessionSocket>(&mut self, socket: &mut S) -> Result<(), Ending> {
        let (replays, user) = (&self.handler.replays, self.identity.user.clone());
        let inbox = self.patiently(socket, || replays.head(&user).boxed()).await?;
        self.known = self.known.max(inbox.last_seq);
        Ok(())
    }

    fn note_sent(&mut self, id: NotificationId) {
        self.sent = id.seq;
        self.known = self.known.max(id.seq);
        if self.unacknowledged.len() == UNACKNOWLEDGED {
            self.unacknowledged.pop_front();
        }
        self.unacknowledged.push_back((id, self.handler.clock.now()));
        metrics::counter!("tidings_realtime_notifications_total").increment(1);
    }

    /// Sends a frame to a client that has a heartbeat's time to read it.
    pub(super) async fn send<S: SessionSocket>(
        &self,
        socket: &mut S,
        text: &str,
    ) -> Result<(), Ending> {
        // Not longer than the token: what is sent then was taken before it ended.
        let patience = self.handler.config.slow.min(self.token_left());
        // Boxed: its timer is as large as a session at rest.
        let sent = Box::pin(async {
            let sending = tokio::time::timeout(patience, socket.send(text));
            tokio::select! {
                biased;
                sent = sending => Ok(sent),
                () = self.stop.cancelled() => Err(Ending::Stop),
            }
        });
        let sent = sent.await?;
        match sent {
            Ok(sent) => Ok(sent?),
            Err(_) if self.token_left().is_zero() => Err(Ending::expired()),
            Err(_) => {
                let reason = "the client does not read; resume with last_seq".to_owned();
                Err(Ending::Close(CloseCode::TooSlow, reason))
            }
        }
    }

    /// Waits for `until`, and serves the client meanwhile: whatever a session waits for, its client
    /// is heard, pinged, and closed when it is silent or its token ends.
    async fn attend<S: SessionSocket, T>(
        &mut self,
        socket: &mut S,
        until: impl Future<Output = T>,
    ) -> Result<T, Ending> {
        let mut until = pin!(until);
        loop {
            // Here too, because a session that always has something to do is never quiet.
            if self.token_left().is_zero() {
                return Err(Ending::expired());
            }
            let (now, mut wake) = (Instant::now(), self.quiet_until());
            // A client that says too much is left unheard for a while: what it says waits with it.
            let hears_at = self.handler.config.pace.hears_at(self.paid_at);
            if hears_at > now {
                wake = wake.min(hears_at);
            }
            // Cancel-safe: frames stay in the socket, and `until` is kept. In this order, because a
            // client counts as silent only if nothing of it is there to be read, and because `until`
            // is often ready at once.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Ending::Stop),
                incoming = socket.receive(), if hears_at <= now => {
                    self.hear(incoming?, socket).await?;
                }
                value = &mut until => return Ok(value),
                () = tokio::time::sleep_until(wake) => self.silence(socket).await?,
            }
        }
    }

    /// Reads from the store, again and again if it must: the client keeps its session and its place.
    async fn patiently<'r, S: SessionSocket, T>(
        &mut self,
        socket: &mut S,
        read: impl Fn() -> BoxFuture<'r, Result<T, ReplayError>>,
    ) -> Result<T, Ending> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.attend(socket, read()).await? {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tracing::warn!(error = %ErrorChain(&error), attempt, "a session waits for the store");
            let random = rand::random::<f64>();
            let RetryDecision::After(wait) = STORE_RETRY.after_failure(attempt, None, random)
            else {
                return Err(Ending::Stop);
            };
            self.attend(socket, tokio::time::sleep(wait)).await?;
        }
    }

    /// When silence next means something: a ping is due, the client is gone, the token has ended.
    fn quiet_until(&self) -> Instant {
        let heartbeat = self.handler.config.heartbeat;
        let quiet = self.pinged_at.unwrap_or(self.heard) + heartbeat;
        quiet.min(Instant::now() + self.token_left())
    }

    /// How long the token lasts; a day at most, so that one that never ends does not overflow a timer.
    fn token_left(&self) -> Duration {
        let left = self.identity.expires_at.since(self.handler.clock.now());
        left.min(Duration::from_secs(86_400))
    }

    /// Ends the session if its token has been revoked.
    pub(super) fn recheck(&self) -> Result<(), Ending> {
        self.handler.authenticator.recheck(&self.identity).map_err(Ending::refused)
    }

    async fn silence<S: SessionSocket>(&mut self, socket: &mut S) -> Result<(), Ending> {
        let heartbeat = self.handler.config.heartbeat;
        match self.pinged_at {
            // Only after a ping: the session itself may have been held up.
            Some(at) if at.elapsed() >= heartbeat => {
                let reason = "nothing was heard for two heartbeats".to_owned();
                Err(Ending::Close(CloseCode::HeartbeatMissed, reason))
            }
            None if self.heard.elapsed() >= heartbeat => {
                self.pinged_at = Some(Instant::now());
                self.send(socket, &ServerFrame::Ping.to_text()).await
            }
            _ => Ok(()),
        }
    }
}
