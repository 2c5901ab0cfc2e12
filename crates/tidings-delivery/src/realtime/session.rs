//! One live session, from welcome to its end.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use futures_util::future::BoxFuture;
use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    ids::{NotificationId, Seq},
    inbox::{Mark, Selection},
    ports::StoreError,
    retry::{RetryDecision, RetryPolicy},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    acks::Ack,
    handler::{SessionIdentity, WebSocketHandler},
    mailbox::Waiting,
    pool::Registration,
    protocol::{BadFrame, ClientFrame, CloseCode, ServerFrame, read_frame},
    socket::{Incoming, SessionSocket, SocketClosed},
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
    handler: &'a WebSocketHandler,
    identity: SessionIdentity,
    id: String,
    registration: Registration,
    /// The client was sent everything up to here.
    sent: Seq,
    /// The client acknowledged everything up to here.
    acknowledged: Seq,
    /// The inbox has at least everything up to here.
    known: Seq,
    unacknowledged: VecDeque<(NotificationId, Timestamp)>,
    heard: Instant,
    pinged: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        handler: &'a WebSocketHandler,
        identity: SessionIdentity,
        id: String,
        from: Seq,
        known: Seq,
        registration: Registration,
    ) -> Self {
        Self {
            handler,
            identity,
            id,
            registration,
            sent: from,
            acknowledged: from,
            known,
            unacknowledged: VecDeque::new(),
            heard: Instant::now(),
            pinged: false,
        }
    }

    /// Serves the client until something ends the session.
    pub(super) async fn run<S: SessionSocket>(
        mut self,
        socket: &mut S,
        stop: &CancellationToken,
    ) -> Result<Infallible, Ending> {
        loop {
            self.pump(socket, stop).await?;
            let quiet = self.quiet_until();
            // Each branch is cancel-safe: frames stay in the socket, wake-ups in the mailbox.
            tokio::select! {
                incoming = socket.receive() => {
                    let incoming = incoming?;
                    self.hear(incoming, socket).await?;
                }
                () = self.registration.mailbox().ready() => {}
                () = tokio::time::sleep_until(quiet) => self.silence(socket).await?,
                () = stop.cancelled() => return Err(Ending::Stop),
            }
        }
    }

    /// Sends everything that the client lacks and that is known of.
    async fn pump<S: SessionSocket>(
        &mut self,
        socket: &mut S,
        stop: &CancellationToken,
    ) -> Result<(), Ending> {
        loop {
            if self.sent < self.known {
                self.refill(socket, stop).await?;
            }
            let Some(waiting) = self.registration.mailbox().take() else { return Ok(()) };
            match waiting {
                Waiting::Lagged => self.learn_head(stop).await?,
                Waiting::Update(frame) => self.send(socket, &frame).await?,
                Waiting::Notification(id, frame) => match step(self.sent, id.seq) {
                    Step::Drop => {}
                    Step::Refill => self.known = self.known.max(id.seq),
                    Step::Send => {
                        self.send(socket, &frame).await?;
                        self.note_sent(id);
                    }
                },
            }
            if stop.is_cancelled() {
                return Err(Ending::Stop);
            }
        }
    }

    /// Reads from the store, page by page, what the client lacks up to what is known of.
    async fn refill<S: SessionSocket>(
        &mut self,
        socket: &mut S,
        stop: &CancellationToken,
    ) -> Result<(), Ending> {
        metrics::counter!("tidings_realtime_refills_total").increment(1);
        let store = &self.handler.store;
        let limit = self.handler.config.replay_page;
        while self.sent < self.known {
            let (user, after) = (self.identity.user.clone(), self.sent);
            let page = patiently(stop, || store.list_after(&user, after, limit)).await?;
            if page.is_empty() {
                // Known from a broadcast, and not there: the store was set back. Go on from its head.
                self.known = self.sent;
                break;
            }
            for notification in &page {
                let seq = notification.seq();
                let frame = ServerFrame::Notification { seq, notification };
                self.send(socket, &frame.to_text()).await?;
                self.note_sent(notification.id);
                if stop.is_cancelled() {
                    return Err(Ending::Stop);
                }
            }
        }
        Ok(())
    }

    /// After frames were dropped: how far does the inbox reach?
    async fn learn_head(&mut self, stop: &CancellationToken) -> Result<(), Ending> {
        let (store, user) = (&self.handler.store, self.identity.user.clone());
        let inbox = patiently(stop, || store.inbox(&user)).await?;
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
    async fn send<S: SessionSocket>(&self, socket: &mut S, text: &str) -> Result<(), Ending> {
        let sending = socket.send(text);
        match tokio::time::timeout(self.handler.config.heartbeat, sending).await {
            Ok(sent) => Ok(sent?),
            Err(_) => {
                let reason = "the client does not read; resume with last_seq".to_owned();
                Err(Ending::Close(CloseCode::TooSlow, reason))
            }
        }
    }

    async fn hear<S: SessionSocket>(
        &mut self,
        incoming: Incoming,
        socket: &mut S,
    ) -> Result<(), Ending> {
        self.heard = Instant::now();
        self.pinged = false;
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Alive => return Ok(()),
            Incoming::Binary => return Err(Ending::malformed("frames are JSON text")),
        };
        match read_frame(&text) {
            Ok(ClientFrame::Ack { seq }) => self.acknowledge(Seq(seq)).await,
            Ok(ClientFrame::Read { ids, up_to_seq }) => {
                let selection = match (ids, up_to_seq) {
                    (Some(ids), None) => Selection::Ids(ids),
                    (None, Some(seq)) => Selection::UpTo(Seq(seq)),
                    _ => return Err(Ending::malformed("read takes one of ids and up_to_seq")),
                };
                self.mark_read(selection, socket).await
            }
            Ok(ClientFrame::Ping) => self.send(socket, &ServerFrame::Pong.to_text()).await,
            Ok(ClientFrame::Pong) => Ok(()),
            Ok(ClientFrame::Hello { .. }) => Err(Ending::malformed("hello was said already")),
            Err(BadFrame::UnknownType(name)) => {
                let reason = format!("there is no frame of type {name:?} in tidings.v1");
                self.send(socket, &ServerFrame::Error { reason: &reason }.to_text()).await
            }
            Err(BadFrame::Malformed(problem)) => Err(Ending::malformed(&problem)),
        }
    }

    async fn acknowledge(&mut self, seq: Seq) -> Result<(), Ending> {
        if seq > self.sent {
            return Err(Ending::malformed("ack is beyond what was sent"));
        }
        if seq <= self.acknowledged {
            return Ok(());
        }
        self.acknowledged = seq;
        let now = self.handler.clock.now();
        let mut deliveries = Vec::new();
        while let Some((id, sent_at)) = self.unacknowledged.front().copied() {
            if id.seq > seq {
                break;
            }
            self.unacknowledged.pop_front();
            deliveries.push(self.delivery(id, sent_at, now));
        }
        let user = self.identity.user.clone();
        self.handler.acks.note(Ack { user, seq, deliveries }).await;
        Ok(())
    }

    fn delivery(&self, id: NotificationId, sent_at: Timestamp, now: Timestamp) -> Delivery {
        Delivery {
            notification: id,
            user: self.identity.user.clone(),
            channel: Channel::WebSocket,
            target: self.id.clone(),
            attempt: 1,
            at: now,
            latency_ms: u64::try_from(now.since(sent_at).as_millis()).unwrap_or(u64::MAX),
            outcome: Outcome::Delivered,
            reason: None,
            provider_id: None,
        }
    }

    async fn mark_read<S: SessionSocket>(
        &mut self,
        selection: Selection,
        socket: &mut S,
    ) -> Result<(), Ending> {
        let user = &self.identity.user;
        let now = self.handler.clock.now();
        match self.handler.store.mark(user, Mark::Read, selection.clone(), now).await {
            // The update comes back to this session too: that is the client's answer.
            Ok(inbox) => {
                self.handler.pool.broadcast_mark(user, Mark::Read, &selection, inbox.unread);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "notifications were not marked");
                let reason = "the store is not available; say it again";
                self.send(socket, &ServerFrame::Error { reason }.to_text()).await
            }
        }
    }

    /// When silence next means something: a ping is due, the client is gone, the token has ended.
    fn quiet_until(&self) -> Instant {
        let heartbeat = self.handler.config.heartbeat;
        let quiet = self.heard + if self.pinged { 2 * heartbeat } else { heartbeat };
        let left = self.identity.expires_at.since(self.handler.clock.now());
        // A day at most: a token that never ends must not overflow the timer.
        let left = left.min(Duration::from_secs(86_400));
        quiet.min(Instant::now() + left)
    }

    async fn silence<S: SessionSocket>(&mut self, socket: &mut S) -> Result<(), Ending> {
        if self.identity.expires_at <= self.handler.clock.now() {
            let reason = "the token has expired".to_owned();
            return Err(Ending::Close(CloseCode::NotAuthenticated, reason));
        }
        let silent = self.heard.elapsed();
        let heartbeat = self.handler.config.heartbeat;
        if silent >= 2 * heartbeat {
            let reason = "nothing was heard for two heartbeats".to_owned();
            return Err(Ending::Close(CloseCode::HeartbeatMissed, reason));
        }
        if silent >= heartbeat && !self.pinged {
            self.pinged = true;
            self.send(socket, &ServerFrame::Ping.to_text()).await?;
        }
        Ok(())
    }
}

/// Reads from the store, again and again if it must: the client keeps its session and its place.
async fn patiently<'a, T>(
    stop: &CancellationToken,
    read: impl Fn() -> BoxFuture<'a, Result<T, StoreError>> + Send,
) -> Result<T, Ending> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match read().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tracing::warn!(%error, attempt, "a session waits for the store");
        let random = rand::random::<f64>();
        let RetryDecision::After(wait) = STORE_RETRY.after_failure(attempt, None, random) else {
            return Err(Ending::Stop);
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Err(Ending::Stop),
        }
    }
}
