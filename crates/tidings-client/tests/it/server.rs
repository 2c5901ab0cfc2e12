//! A server whose every word a test chooses.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_client::{Subscription, SubscriptionConfig, SubscriptionError, SubscriptionEvent};
use tidings_core::retry::RetryPolicy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

/// Listens, and does nothing by itself.
pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.listener.local_addr().unwrap())
    }

    /// A subscription to this server that comes back quickly.
    pub(crate) fn config(&self, last_seq: Option<u64>) -> SubscriptionConfig {
        let mut config = SubscriptionConfig::new(&self.url("http"), "user:ann");
        config.last_seq = last_seq;
        config.retry = RetryPolicy { max_attempts: u32::MAX, base_ms: 1, cap_ms: 5 };
        config
    }

    /// The next connection, before anything was said on it.
    pub(crate) async fn tcp(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// Reads a request to the end of its body, answers it with `answer`, and returns it.
    pub(crate) async fn answer(&self, answer: &str) -> String {
        let mut stream = self.tcp().await;
        let mut read = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let length = soon(stream.read(&mut piece)).await.unwrap();
            read.extend_from_slice(&piece[..length]);
            let text = String::from_utf8_lossy(&read).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let size = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= size.map_or(0, |size| size.parse().unwrap()) {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(read).unwrap()
    }

    /// The next session, and its hello.
    pub(crate) async fn session(&self) -> (Connection, Value) {
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let choose = |request: &Request, mut response: Response| {
            let asked = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(
                (request.uri().path(), &asked),
                ("/v1/stream", &"tidings.v1".parse().unwrap())
            );
            response.headers_mut().insert("sec-websocket-protocol", asked);
            Ok::<_, ErrorResponse>(response)
        };
        let stream = self.tcp().await;
        let socket = soon(tokio_tungstenite::accept_hdr_async(stream, choose)).await.unwrap();
        let mut connection = Connection { socket };
        let hello = connection.hear().await;
        assert_eq!(hello["type"], "hello");
        (connection, hello)
    }

    /// The next session, which has `seq` notifications in its inbox and is welcome.
    pub(crate) async fn welcome(&self, seq: u64) -> (Connection, Value) {
        let (mut connection, hello) = self.session().await;
        connection.welcome(seq).await;
        (connection, hello)
    }
}

/// The server's end of a session.
pub(crate) struct Connection {
    socket: WebSocketStream<TcpStream>,
}

impl Connection {
    pub(crate) async fn say(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub(crate) async fn welcome(&mut self, seq: u64) {
        let welcome = json!({"type": "welcome", "session": "s", "user": "ann", "seq": seq,
            "unread": 0, "heartbeat_ms": 25_000, "later": 1});
        self.say(&welcome).await;
    }

    pub(crate) async fn welcome_with_ticket(&mut self, seq: u64, ticket: &str) {
        let welcome = json!({"type": "welcome", "session": "s", "user": "ann", "seq": seq,
            "unread": 0, "heartbeat_ms": 25_000, "ticket": ticket});
        self.say(&welcome).await;
    }

    pub(crate) async fn notify(&mut self, seq: u64) {
        let notification = json!({"id": "n", "seq": seq});
        let frame = json!({"type": "notification", "seq": seq, "notification": notification});
        self.say(&frame).await;
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        self.socket.close(Some(frame)).await.unwrap();
    }

    /// The next frame of the client.
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = soon(self.socket.next()).await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}

/// A subscription on its own task, and what happens in it.
pub(crate) struct Watched {
    events: tokio::sync::mpsc::Receiver<Result<SubscriptionEvent, SubscriptionError>>,
    _task: tokio::task::JoinSet<()>,
}

impl Watched {
    pub(crate) fn open(config: SubscriptionConfig) -> Self {
        let (sender, events) = tokio::sync::mpsc::channel(100);
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move {
            let mut subscription = Subscription::open(config);
            loop {
                let event = subscription.next().await;
                let over = event.is_err();
                if sender.send(event).await.is_err() || over {
                    return;
                }
            }
        });
        Self { events, _task: task }
    }

    pub(crate) async fn next(&mut self) -> Result<SubscriptionEvent, SubscriptionError> {
        soon(self.events.recv()).await.unwrap()
    }

    /// The next event in a few words.
    pub(crate) async fn word(&mut self) -> String {
        match self.next().await.unwrap() {
            SubscriptionEvent::Welcome { seq, unread } => format!("welcome {seq} {unread}"),
            SubscriptionEvent::Notification(arrival) => {
                let json: Value = serde_json::from_str(&arrival.json).unwrap();
                assert_eq!(json["seq"], arrival.seq);
                format!("notification {}", arrival.seq)
            }
            SubscriptionEvent::Repeated { seq } => format!("repeated {seq}"),
            SubscriptionEvent::Gap { after, got } => format!("gap {after} {got}"),
            SubscriptionEvent::Unread { unread } => format!("unread {unread}"),
            SubscriptionEvent::Disconnected { .. } => "disconnected".to_owned(),
        }
    }

    pub(crate) async fn words(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.word().await, *expected);
        }
    }
}

/// Tokens one after the other; the last is given again and again.
pub(crate) struct Tokens(pub(crate) std::sync::Mutex<Vec<&'static str>>);

impl tidings_client::TokenSource for Tokens {
    fn token(
        &self,
    ) -> futures_util::future::BoxFuture<'_, Result<Arc<str>, tidings_client::TokenError>> {
        let mut tokens = self.0.lock().unwrap();
        let token = if tokens.len() > 1 { tokens.remove(0) } else { tokens[0] };
        let answer = match token {
            "" => Err(tidings_client::TokenError("none today".into())),
            token => Ok(Arc::from(token)),
        };
        Box::pin(std::future::ready(answer))
    }
}
