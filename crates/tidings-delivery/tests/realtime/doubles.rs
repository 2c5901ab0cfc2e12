//! An inbox in memory, and a socket that is a pair of queues.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use tidings_core::{
    batch::{AppendedEvent, NotificationBatch, StoredNotification},
    clock::{Clock, Timestamp},
    delivery::Delivery,
    event::{Event, IncomingEvent},
    ids::{InboxNumber, NotificationId, Seq, UserId},
    inbox::{Acknowledgement, InboxPage, InboxState, Mark, Selection, Stretch},
    notification::{Notification, NotificationState},
    ports::{LiveNotifications, NotificationStore, StoreError},
};
use tidings_delivery::realtime::{
    AckFlusher, Admission, AdmissionConfig, CloseCode, ConnectionPool, Drain, DrainConfig,
    Incoming, Pace, RealtimeConfig, ReplayReader, SessionAuthenticator, SessionIdentity,
    SessionParts, SessionRefused, SessionSocket, SocketClosed, Tickets, WebSocketHandler,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) const HEARTBEAT: Duration = Duration::from_secs(25);
pub(crate) const SLOW: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Inbox {
    events: Vec<Arc<Event>>,
    acked: Stretch,
    read: Seq,
    deliveries: Vec<Delivery>,
}

type Hook = Box<dyn FnOnce(&OneInbox) + Send>;

/// A place that nothing comes after.
const END: Seq = Seq(u64::MAX);

/// One inbox of one user.
#[derive(Default)]
pub(crate) struct OneInbox {
    inbox: Mutex<Inbox>,
    gone: AtomicBool,
    before_counters: Mutex<Option<Hook>>,
    after_counters: Mutex<Option<Hook>>,
}

impl OneInbox {
    /// Stores a notification and says what a pipeline would broadcast.
    pub(crate) fn append_one(&self) -> AppendedEvent {
        let mut inbox = self.inbox.lock().unwrap();
        let number = inbox.events.len() + 1;
        let json = format!(
            r#"{{"id":"e{number}","source":"s","type":"t","audience":{{"users":["ann"]}}}}"#
        );
        let event = IncomingEvent::from_json(json.as_bytes(), Timestamp::from_millis(0));
        let event = event.unwrap().event;
        inbox.events.push(Arc::clone(&event));
        let stored = StoredNotification { user: ann(), id: id(number as u64) };
        AppendedEvent {
            event,
            created_at: created_at(),
            stored: vec![stored],
            duplicates: 0,
            fans_out: false,
        }
    }

    /// Does something once, just before the counters are next read.
    pub(crate) fn before_counters(&self, hook: impl FnOnce(&Self) + Send + 'static) {
        *self.before_counters.lock().unwrap() = Some(Box::new(hook));
    }

    /// Does something once, just after the counters were next read.
    pub(crate) fn after_counters(&self, hook: impl FnOnce(&Self) + Send + 'static) {
        *self.after_counters.lock().unwrap() = Some(Box::new(hook));
    }

    fn happen(&self, hook: &Mutex<Option<Hook>>) {
        let hook = hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook(self);
        }
    }

    pub(crate) fn set_gone(&self, gone: bool) {
        self.gone.store(gone, Ordering::SeqCst);
    }

    pub(crate) fn acked(&self) -> Stretch {
        self.inbox.lock().unwrap().acked
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.inbox.lock().unwrap().deliveries.clone()
    }

    fn here(&self) -> Result<std::sync::MutexGuard<'_, Inbox>, StoreError> {
        if self.gone.load(Ordering::SeqCst) {
            let source = "told to be gone".into();
            return Err(StoreError::Unavailable { op: "read", backend: "double", source });
        }
        Ok(self.inbox.lock().unwrap())
    }
}

impl Inbox {
    fn page(&self, after: Seq, limit: usize) -> Vec<Notification> {
        let numbered = (1u64..).zip(&self.events).filter(|(seq, _)| *seq > after.0);
        let notification = |(seq, event): (u64, &Arc<Event>)| Notification {
            id: id(seq),
            user: ann(),
            event: Arc::clone(event),
            created_at: created_at(),
            state: NotificationState::default(),
        };
        numbered.take(limit).map(notification).collect()
    }

    fn state(&self) -> InboxState {
        let last_seq = Seq(self.events.len() as u64);
        let unread = last_seq.0.saturating_sub(self.read.0);
        let Stretch { after: acked_after, upto: acked_seq } = self.acked;
        InboxState { last_seq, acked_seq, acked_after, unread, forgotten_seq: Seq::ZERO }
    }
}

pub(crate) fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

fn id(seq: u64) -> NotificationId {
    NotificationId { inbox: InboxNumber(7), seq: Seq(seq) }
}

fn created_at() -> Timestamp {
    Timestamp::from_millis(1_000)
}

#[async_trait]
impl NotificationStore for OneInbox {
    async fn append(
        &self,
        _: Arc<NotificationBatch>,
        _: Timestamp,
    ) -> Result<Vec<AppendedEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn inbox(&self, _: &UserId) -> Result<InboxState, StoreError> {
        self.happen(&self.before_counters);
        let state = self.here()?.state();
        self.happen(&self.after_counters);
        Ok(state)
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<InboxState>, StoreError> {
        let places: Vec<_> = users.iter().map(|user| (user.clone(), END)).collect();
        let pages = self.pages_after(&places, 0).await?;
        Ok(pages.into_iter().map(|page| page.inbox).collect())
    }

    async fn pages_after(
        &self,
        places: &[(UserId, Seq)],
        limit: usize,
    ) -> Result<Vec<InboxPage>, StoreError> {
        self.happen(&self.before_counters);
        let pages = {
            let inbox = self.here()?;
            let pages = places.iter().map(|(_, after)| InboxPage {
                inbox: inbox.state(),
                notifications: inbox.page(*after, limit),
            });
            pages.collect()
        };
        self.happen(&self.after_counters);
        Ok(pages)
    }

    async fn list_after(
        &self,
        _: &UserId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        Ok(self.here()?.page(after, limit))
    }

    async fn list_newest(
        &self,
        _: &UserId,
        _: Option<Seq>,
        _: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        Ok(Vec::new())
    }

    async fn find(&self, _: NotificationId) -> Result<Option<Notification>, StoreError> {
        Ok(None)
    }

    async fn mark(
        &self,
        _: &UserId,
        _: Mark,
        selection: Selection,
        _: Timestamp,
    ) -> Result<InboxState, StoreError> {
        let mut inbox = self.here()?;
        if let Selection::UpTo(seq) = selection {
            inbox.read = inbox.read.max(seq);
        }
        Ok(inbox.state())
    }

    async fn acknowledge(&self, acknowledged: Arc<[Acknowledgement]>) -> Result<(), StoreError> {
        let mut inbox = self.here()?;
        for it in acknowledged.iter() {
            inbox.acked = inbox.acked.join(it.has);
            inbox.deliveries.extend_from_slice(&it.deliveries);
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.here().map(|_| ())
    }
}

/// A clock that goes with virtual time.
#[derive(Debug)]
struct VirtualClock(tokio::time::Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000).after(self.0.elapsed())
    }
}

/// Tokens are `user:ID` or `user:ID:SECONDS`, and count as issued when they are shown.
pub(crate) struct Tokens {
    clock: Arc<VirtualClock>,
    /// What was issued before is refused, if that is set.
    revoked_before: Mutex<Option<Timestamp>>,
}

impl Tokens {
    /// Refuses from now on what was issued until now.
    pub(crate) fn revoke_all(&self) {
        let soon = self.clock.now().after(Duration::from_millis(1));
        *self.revoked_before.lock().unwrap() = Some(soon);
    }
}

#[async_trait]
impl SessionAuthenticator for Tokens {
    async fn authenticate(&self, token: &str) -> Result<SessionIdentity, SessionRefused> {
        let mut parts = token.split(':');
        let (Some("user"), Some(user)) = (parts.next(), parts.next()) else {
            return Err(SessionRefused { reason: "not a token".to_owned() });
        };
        let lasts = parts.next().map_or(86_400_000, |secs| secs.parse().unwrap());
        let expires_at = self.clock.now().after(Duration::from_secs(lasts));
        let issued_at = Some(self.clock.now());
        Ok(SessionIdentity { user: UserId::new(user).unwrap(), expires_at, issued_at })
    }

    fn recheck(&self, identity: &SessionIdentity) -> Result<(), SessionRefused> {
        if identity.issued_at < *self.revoked_before.lock().unwrap() {
            return Err(SessionRefused { reason: "revoked".to_owned() });
        }
        Ok(())
    }
}

/// Waits for a state. In virtual time, so that a state that never comes is found at once.
pub(crate) async fn until(state: impl Fn() -> bool) {
    let waiting = async {
        while !state() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), waiting).await.unwrap();
}

/// The server's end of a connection. A `None` from the client is a connection that broke.
pub(crate) struct QueueSocket {
    incoming: mpsc::Receiver<String>,
    outgoing: mpsc::Sender<Sent>,
}

/// What a client sees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sent {
    Frame(Value),
    Close(u16),
}

impl SessionSocket for QueueSocket {
    async fn receive(&mut self) -> Result<Incoming, SocketClosed> {
        self.incoming.recv().await.map(Incoming::Text).ok_or(SocketClosed)
    }

    async fn send(&mut self, text: &str) -> Result<(), SocketClosed> {
        let frame = serde_json::from_str(text).unwrap();
        self.outgoing.send(Sent::Frame(frame)).await.map_err(|_| SocketClosed)
    }

    async fn close(self, code: CloseCode, _: &str) {
        let _unheard = self.outgoing.send(Sent::Close(code.code())).await.is_err();
    }
}

/// The client's end of a connection.
pub(crate) struct Client {
    say: mpsc::Sender<String>,
    hear: mpsc::Receiver<Sent>,
}

impl Client {
    pub(crate) async fn say(&self, frame: &Value) {
        self.say.send(frame.to_string()).await.unwrap();
    }

    pub(crate) async fn say_text(&self, text: &str) {
        self.say.send(text.to_owned()).await.unwrap();
    }

    /// The next frame or close; panics when the connection ended without one.
    pub(crate) async fn hear(&mut self) -> Sent {
        tokio::time::timeout(Duration::from_secs(3_600), self.hear.recv()).await.unwrap().unwrap()
    }

    /// The next frame, which has to be of this type.
    pub(crate) async fn hear_frame(&mut self, kind: &str) -> Value {
        match self.hear().await {
            Sent::Frame(frame) if frame["type"] == kind => frame,
            other => panic!("{other:?} instead of {kind}"),
        }
    }

    /// The next notification's `seq`.
    pub(crate) async fn hear_seq(&mut self) -> u64 {
        self.hear_frame("notification").await["seq"].as_u64().unwrap()
    }

    /// Whether the server let go of the connection; what it sent before can still be heard.
    pub(crate) fn is_closed(&self) -> bool {
        self.say.is_closed()
    }

    /// The next frame or close; nothing when the connection ended without one.
    pub(crate) async fn hear_or_end(&mut self) -> Option<Sent> {
        tokio::time::timeout(Duration::from_secs(3_600), self.hear.recv()).await.unwrap()
    }

    /// What has arrived already.
    pub(crate) fn heard(&mut self) -> Option<Sent> {
        self.hear.try_recv().ok()
    }

    /// Says that it is there, if the connection takes that now.
    pub(crate) fn pong(&self) {
        let _full_or_closed = self.say.try_send(r#"{"type":"pong"}"#.to_owned()).is_err();
    }
}

/// A handler with its inbox, pool and acknowledgements.
pub(crate) struct Server {
    pub(crate) inbox: Arc<OneInbox>,
    pub(crate) pool: Arc<ConnectionPool>,
    pub(crate) stop: CancellationToken,
    pub(crate) tokens: Arc<Tokens>,
    admission: Arc<Admission>,
    handler: Arc<WebSocketHandler>,
    tasks: JoinSet<()>,
}

impl Server {
    /// A server with mailboxes of `mailbox` frames and pages of `page` notifications.
    pub(crate) fn new(mailbox: usize, page: usize) -> Self {
        let inbox = Arc::new(OneInbox::default());
        let pool = Arc::new(ConnectionPool::new(4, 3, mailbox));
        let store: Arc<dyn NotificationStore> = inbox.clone();
        let (flusher, acks) = AckFlusher::new(Arc::clone(&store), Duration::from_millis(50));
        let (reader, replays) = ReplayReader::new(Arc::clone(&store), page);
        let config = RealtimeConfig {
            hello_timeout: Duration::from_secs(10),
            heartbeat: HEARTBEAT,
            slow: SLOW,
            pace: Pace::new(10, 100),
        };
        let drain = Drain::new(DrainConfig {
            window: Duration::ZERO,
            retry: Duration::from_secs(5),
            accepts_per_s: 1_000,
        });
        let clock = Arc::new(VirtualClock(tokio::time::Instant::now()));
        let tokens =
            Arc::new(Tokens { clock: Arc::clone(&clock), revoked_before: Mutex::default() });
        let parts = SessionParts {
            pool: Arc::clone(&pool),
            store,
            replays,
            acks,
            authenticator: Arc::clone(&tokens) as _,
            tickets: Tickets::of_this_process(),
            drain: Arc::new(drain),
            clock,
        };
        let handler = Arc::new(WebSocketHandler::new(config, parts));
        let admission = AdmissionConfig { accepts_per_s: 1_000, hellos_max: 100 };
        let admission = Arc::new(Admission::new(admission));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(flusher.run(stop.clone()));
        tasks.spawn(reader.run(stop.clone()));
        Self { inbox, pool, stop, tokens, admission, handler, tasks }
    }

    /// Connects a client that can leave `unread` frames unread.
    pub(crate) fn connect(&mut self, unread: usize) -> Client {
        let (say, incoming) = mpsc::channel(64);
        let (outgoing, hear) = mpsc::channel(unread);
        let socket = QueueSocket { incoming, outgoing };
        let (handler, stop) = (Arc::clone(&self.handler), self.stop.clone());
        let admitted = self.admission.try_admit().unwrap();
        self.tasks.spawn(async move { handler.serve(socket, admitted, stop).await });
        Client { say, hear }
    }

    /// Bytes of the task of a session.
    pub(crate) fn size_of_session(&self) -> usize {
        let (_say, incoming) = mpsc::channel(1);
        let (outgoing, _hear) = mpsc::channel(1);
        let socket = QueueSocket { incoming, outgoing };
        let admitted = self.admission.try_admit().unwrap();
        size_of_val(&self.handler.serve(socket, admitted, self.stop.clone()))
    }

    /// Connects a client that is welcome.
    pub(crate) async fn welcome(&mut self, last_seq: Option<u64>) -> Client {
        self.welcome_slow(last_seq, 1_000).await
    }

    /// Connects a client that is welcome, and can leave `unread` frames unread.
    pub(crate) async fn welcome_slow(&mut self, last_seq: Option<u64>, unread: usize) -> Client {
        let mut client = self.connect(unread);
        let mut hello = serde_json::json!({"type": "hello", "token": "user:ann"});
        if let Some(seq) = last_seq {
            hello["last_seq"] = seq.into();
        }
        client.say(&hello).await;
        client.hear_frame("welcome").await;
        client
    }

    /// Waits until the store knows that the client has everything up to `seq`.
    pub(crate) async fn acked(&self, seq: Seq) {
        until(|| self.inbox.acked().upto == seq).await;
    }

    /// Stores a notification and broadcasts it.
    pub(crate) fn tell(&self) {
        self.pool.broadcast_notification(&self.inbox.append_one());
    }
}
