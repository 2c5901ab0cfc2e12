//! A subscription against a server that follows a script.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_client::{Subscription, SubscriptionConfig, SubscriptionError, SubscriptionEvent};
use tidings_core::retry::RetryPolicy;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::CloseFrame,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that a test drives by hand.
struct Server(TcpListener);

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn subscribe(&self, last_seq: Option<u64>) -> Subscription {
        let url = format!("http://{}", self.0.local_addr().unwrap());
        let mut config = SubscriptionConfig::new(&url, "token");
        config.last_seq = last_seq;
        config.retry = RetryPolicy { max_attempts: 3, base_ms: 1, cap_ms: 5 };
        Subscription::open(config)
    }

    /// Lets the next client in, and returns its hello.
    async fn accept(&self) -> (Session, Value) {
        let (stream, _) = timeout(PATIENCE, self.0.accept()).await.unwrap().unwrap();
        #[expect(clippy::result_large_err, reason = "the library's callback has this type")]
        let negotiate = |request: &Request, mut response: Response| {
            assert_eq!(request.uri(), "/v1/stream");
            let offered = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(offered, "tidings.v1");
            response.headers_mut().insert("sec-websocket-protocol", offered);
            Ok::<_, ErrorResponse>(response)
        };
        let mut session = Session(accept_hdr_async(stream, negotiate).await.unwrap());
        let hello = session.heard().await;
        assert_eq!((&hello["type"], &hello["token"]), (&json!("hello"), &json!("token")));
        (session, hello)
    }
}

struct Session(WebSocketStream<TcpStream>);

impl Session {
    async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn welcome(&mut self, seq: u64) {
        self.say(json!({"type": "welcome", "seq": seq, "unread": 1, "heartbeat_ms": 25_000})).await;
    }

    async fn tell(&mut self, seq: u64) {
        let notification = json!({"seq": seq, "event_id": format!("e{seq}")});
        self.say(json!({"type": "notification", "seq": seq, "notification": notification})).await;
    }

    async fn close(mut self, code: u16) {
        let close = CloseFrame { code: code.into(), reason: "because".into() };
        self.0.send(Message::Close(Some(close))).await.unwrap();
    }

    /// The next frame of the client.
    async fn heard(&mut self) -> Value {
        let message = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }
}

/// Collects what happens until the subscription fails.
fn watch(mut subscription: Subscription) -> JoinSet<(Vec<SubscriptionEvent>, SubscriptionError)> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut events = Vec::new();
        loop {
            match subscription.next().await {
                Ok(event) => events.push(event),
                Err(error) => return (events, error),
            }
        }
    });
    tasks
}

fn seqs(events: &[SubscriptionEvent]) -> Vec<u64> {
    let seq = |event: &SubscriptionEvent| match event {
        SubscriptionEvent::Notification(arrival) => Some(arrival.seq),
        _ => None,
    };
    events.iter().filter_map(seq).collect()
}

#[tokio::test]
async fn a_broken_session_is_resumed_where_it_was_and_a_refused_one_is_given_up() {
    let server = Server::new().await;
    let mut watching = watch(server.subscribe(None));
    let (mut session, hello) = server.accept().await;
    assert_eq!(hello.get("last_seq"), None);
    session.welcome(7).await;
    session.tell(8).await;
    assert_eq!(session.heard().await, json!({"type": "ack", "seq": 8}));
    drop(session);
    let (mut session, hello) = server.accept().await;
    assert_eq!(hello["last_seq"], 8);
    session.welcome(9).await;
    session.tell(9).await;
    assert_eq!(session.heard().await, json!({"type": "ack", "seq": 9}));
    session.close(4401).await;
    let (events, error) = watching.join_next().await.unwrap().unwrap();
    assert_eq!(seqs(&events), [8, 9]);
    assert!(matches!(error, SubscriptionError::Refused { code: 4401, .. }), "{error}");
}

#[tokio::test]
async fn a_gap_is_filled_by_resuming_before_it_and_a_repeat_is_left_out() {
    let server = Server::new().await;
    let mut watching = watch(server.subscribe(Some(0)));
    let (mut session, _) = server.accept().await;
    session.welcome(4).await;
    session.tell(1).await;
    session.tell(1).await;
    session.tell(3).await;
    let (mut session, hello) = server.accept().await;
    assert_eq!(hello["last_seq"], 1);
    session.welcome(4).await;
    for seq in 2..=4 {
        session.tell(seq).await;
    }
    assert_eq!(session.heard().await, json!({"type": "ack", "seq": 4}));
    session.close(4403).await;
    let (events, _) = watching.join_next().await.unwrap().unwrap();
    assert_eq!(seqs(&events), [1, 2, 3, 4]);
    let count =
        |wanted: fn(&SubscriptionEvent) -> bool| events.iter().filter(|it| wanted(it)).count();
    assert_eq!(count(|it| matches!(it, SubscriptionEvent::Repeated { seq: 1 })), 1);
    assert_eq!(count(|it| matches!(it, SubscriptionEvent::Gap { after: 1, got: 3 })), 1);
}

#[tokio::test]
async fn a_node_that_says_bye_is_left_alone_for_as_long_as_it_asks() {
    let server = Server::new().await;
    let mut subscription = server.subscribe(None);
    let mut scripted = JoinSet::new();
    scripted.spawn(async move {
        let (mut session, _) = server.accept().await;
        session.welcome(0).await;
        session.say(json!({"type": "ping"})).await;
        assert_eq!(session.heard().await, json!({"type": "pong"}));
        session.say(json!({"type": "bye", "reason": "restart", "retry_ms": 77})).await;
        session.close(1012).await;
        server
    });
    loop {
        match subscription.next().await.unwrap() {
            SubscriptionEvent::Disconnected { retry_in, .. } => {
                assert_eq!(retry_in, Duration::from_millis(77));
                break;
            }
            SubscriptionEvent::Welcome { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    scripted.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_that_is_not_there_is_given_up_when_the_budget_is_spent() {
    let server = Server::new().await;
    let mut watching = watch(server.subscribe(None));
    drop(server);
    let (events, error) = watching.join_next().await.unwrap().unwrap();
    assert!(matches!(error, SubscriptionError::GaveUp { attempts: 3, .. }), "{error}");
    let ended = |event: &SubscriptionEvent| matches!(event, SubscriptionEvent::Disconnected { .. });
    assert!(events.iter().all(ended));
}
