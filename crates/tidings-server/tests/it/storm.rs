//! Herds: many clients that come back at once, and many that are told to go.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidings_client::{Subscription, SubscriptionConfig, SubscriptionError, SubscriptionEvent};
use tidings_core::{
    clock::{Clock, SystemClock},
    ids::UserId,
    retry::RetryPolicy,
};
use tidings_server::auth::mint_hs256;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::harness::{Node, Site, event};

/// How long a herd may take for anything.
const PATIENCE: Duration = Duration::from_secs(180);
const TICKETS: &str = "ticket_secret = \"a secret of at least thirty-two bytes\"";

fn user(number: usize) -> String {
    format!("u{number}")
}

/// How a session ended.
#[derive(Debug)]
struct Bye {
    reason: String,
    retry_in: Duration,
}

/// Clients that follow their inboxes from the beginning. Each checks that it gets every notification
/// once and in order, and says how far it is.
struct Herd {
    welcomes: watch::Receiver<u64>,
    seqs: Vec<watch::Receiver<u64>>,
    byes: mpsc::Receiver<Bye>,
    clients: JoinSet<()>,
}

impl Herd {
    fn gather(url: &str, size: usize) -> Self {
        let welcomed = Arc::new(watch::Sender::new(0));
        let (bye, byes) = mpsc::channel(10 * size);
        let (mut clients, mut seqs) = (JoinSet::new(), Vec::new());
        for number in 0..size {
            let mut config = SubscriptionConfig::new(url, &format!("user:{}", user(number)));
            config.last_seq = Some(0);
            config.retry = RetryPolicy { max_attempts: u32::MAX, base_ms: 200, cap_ms: 1_000 };
            let (seq, seen) = watch::channel(0);
            seqs.push(seen);
            clients.spawn(follow(config, Arc::clone(&welcomed), seq, bye.clone()));
        }
        Self { welcomes: welcomed.subscribe(), seqs, byes, clients }
    }

    fn size(&self) -> usize {
        self.seqs.len()
    }

    /// Waits until so many welcomes were said in all.
    async fn welcomed(&mut self, count: usize) {
        let waiting = self.welcomes.wait_for(|welcomes| *welcomes >= count as u64);
        let outcome = tokio::time::timeout(PATIENCE, waiting).await.map(|it| it.map(|it| *it));
        assert!(outcome.is_ok(), "{} welcomes of {count}", *self.welcomes.borrow());
    }

    /// Waits until everyone has everything up to `seq`.
    async fn has(&mut self, seq: u64) {
        for (number, seen) in self.seqs.iter_mut().enumerate() {
            let waiting = seen.wait_for(|seen| *seen >= seq);
            let outcome = tokio::time::timeout(PATIENCE, waiting).await.map(|it| it.map(|it| *it));
            assert!(matches!(outcome, Ok(Ok(seen)) if seen == seq), "u{number}: {outcome:?}");
        }
    }
}

async fn follow(
    config: SubscriptionConfig,
    welcomed: Arc<watch::Sender<u64>>,
    seq: watch::Sender<u64>,
    byes: mpsc::Sender<Bye>,
) {
    let mut subscription = Subscription::open(config);
    loop {
        match subscription.next().await.unwrap() {
            SubscriptionEvent::Welcome { .. } => welcomed.send_modify(|count| *count += 1),
            SubscriptionEvent::Notification(arrival) => {
                let before = seq.send_replace(arrival.seq);
                assert_eq!(arrival.seq, before + 1, "once, in order, without a hole");
            }
            SubscriptionEvent::Disconnected { reason, retry_in } => {
                // Whoever counts byes has made room for all there can be.
                let _counted = byes.try_send(Bye { reason, retry_in }).is_ok();
            }
            SubscriptionEvent::Unread { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn tell_all(node: &Node, id: &str, size: usize) {
    let users: Vec<_> = (0..size).map(user).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    node.post("/v1/events", event(id, &users).to_string()).await.expect(200);
}

/// The sum of a counter over all its labels.
async fn counter(node: &Node, name: &str) -> f64 {
    let metrics = node.get("/metrics").await.text;
    let lines = metrics.lines().filter_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        let named = key.split('{').next() == Some(name);
        named.then(|| value.parse::<f64>().unwrap())
    });
    lines.sum()
}

/// A request for a WebSocket.
fn upgrade(url: &str) -> reqwest::RequestBuilder {
    let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    http.get(format!("{url}/v1/stream"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "tidings.v1")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_comes_back_after_kill_9_with_tickets_and_is_caught_up() {
    const SIZE: usize = 2_000;
    let site = Site::on_port(&format!("[realtime]\n{TICKETS}\n"), free_port());
    let node = site.start();
    let mut herd = Herd::gather(node.url(), SIZE);
    herd.welcomed(SIZE).await;
    for id in ["e1", "e2", "e3"] {
        tell_all(&node, id, SIZE).await;
    }
    herd.has(3).await;
    node.kill();
    let node = site.start();
    // Stored while most of them are away.
    for id in ["e4", "e5"] {
        tell_all(&node, id, SIZE).await;
    }
    herd.has(5).await;
    herd.welcomed(2 * SIZE).await;
    // Broadcasts go on from here.
    tell_all(&node, "e6", SIZE).await;
    herd.has(6).await;

    let welcomes = counter(&node, "tidings_realtime_welcomes_total").await;
    let tickets = counter(&node, "tidings_realtime_tickets_total").await;
    assert!(welcomes >= SIZE as f64, "{welcomes} welcomes");
    assert!(tickets >= SIZE as f64, "{tickets} tickets for {welcomes} welcomes");
    // How many share a read depends on how fast the machine is; that they do is shown by the tests of
    // the reader.
    let reads = counter(&node, "tidings_realtime_store_reads_total").await;
    println!("{reads} reads of the store for {welcomes} welcomes");
    assert_eq!(herd.clients.len(), herd.size(), "nobody gave up");
    herd.clients.shutdown().await;
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_connected_go_on_while_a_herd_waits_to_be_let_in() {
    const SIZE: usize = 300;
    let site =
        Site::new("[realtime]\naccepts_per_s = 100\nhellos_max = 4\nhello_timeout_ms = 60000\n");
    let node = site.start();
    let mut connected = Herd::gather(node.url(), 1);
    connected.welcomed(1).await;
    // Every place is taken by somebody who says nothing.
    let mut silent = Vec::new();
    while silent.len() < 4 {
        let answer = upgrade(node.url()).send().await.unwrap();
        if answer.status() == 101 {
            silent.push(answer);
        }
    }
    let mut herd = Herd::gather(node.url(), SIZE);
    for _ in 0..SIZE {
        let refused = tokio::time::timeout(PATIENCE, herd.byes.recv()).await.unwrap().unwrap();
        assert_eq!(refused.reason, "the node answered 503 Service Unavailable");
        assert!(refused.retry_in >= Duration::from_secs(1), "{refused:?}");
    }
    for number in 1..=20 {
        let told = event(&format!("e{number}"), &["u0"]).to_string();
        node.post("/v1/events", told).await.expect(200);
        connected.has(number).await;
    }
    drop(silent);
    herd.welcomed(SIZE).await;
    herd.seqs[0].wait_for(|seen| *seen == 20).await.unwrap();
    herd.clients.shutdown().await;
    connected.clients.shutdown().await;
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_drained_says_bye_to_everyone_and_spreads_their_return() {
    const SIZE: usize = 1_000;
    // At 125 a second a thousand take 8 s to let in: 6 s of shedding, and up to 2 s of waiting.
    let toml = format!(
        "[server]\nshutdown_grace_ms = 40000\n\
         [realtime]\naccepts_per_s = 125\ndrain_ms = 6000\ndrain_retry_ms = 100\n{TICKETS}\n"
    );
    let site = Site::new(&toml);
    let node = site.start();
    let mut herd = Herd::gather(node.url(), SIZE);
    herd.welcomed(SIZE).await;
    // Those who were refused at first were disconnected too.
    while herd.byes.try_recv().is_ok() {}
    let stream = upgrade(node.url());
    let stopping = tokio::task::spawn_blocking(move || node.stop());
    let mut byes = Vec::new();
    while byes.len() < SIZE {
        let bye = tokio::time::timeout(PATIENCE, herd.byes.recv()).await.unwrap().unwrap();
        if byes.is_empty() {
            // Most are still to go: who comes now is told to come later.
            let answer = stream.try_clone().unwrap().send().await.unwrap();
            assert_eq!(answer.status(), 503);
            let wait = answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
        // Those who come back meanwhile are refused, or find nobody: that is no bye.
        if bye.reason == "the node is stopping" {
            byes.push(bye.retry_in.as_millis());
        }
    }
    stopping.await.unwrap();
    assert!(byes.iter().all(|retry| *retry <= 2_000), "{:?}", byes.iter().max());
    for quarter in 0..4 {
        let from = quarter * 500;
        let due = byes.iter().filter(|retry| (from..from + 500).contains(*retry)).count();
        assert!(due >= SIZE / 8, "{due} of {SIZE} come back {from} to {} ms later", from + 500);
    }
    assert!(!site.log().contains("did not stop within"), "{}", site.log());
    herd.clients.shutdown().await;
}

/// A token for `ann` that is good for an hour where `secret` is.
fn token(secret: &str) -> String {
    let tokens = json!({"hs256_secret": secret, "jwks_file": "", "jwks_url": "", "issuer": "",
        "audience": "", "leeway_secs": 0});
    let tokens = serde_json::from_value(tokens).unwrap();
    let now = SystemClock.now();
    let ends = now.after(Duration::from_secs(3_600));
    mint_hs256(&tokens, &UserId::new("ann").unwrap(), now, ends).unwrap()
}

/// The next welcome, or why there will be none.
async fn next_welcome(subscription: &mut Subscription) -> Result<(), SubscriptionError> {
    loop {
        match tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap()? {
            SubscriptionEvent::Welcome { .. } => return Ok(()),
            SubscriptionEvent::Disconnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_ticket_stands_for_a_token_until_its_secret_is_taken_away() {
    let [one, two] = ["one", "two"].map(|name| format!("{name:_<32}"));
    let toml = |tokens: &str, ticket: &str, previous: &str| {
        format!(
            "[auth.tokens]\nhs256_secret = \"{tokens}\"\n[realtime]\ndrain_retry_ms = 10\n\
             ticket_secret = \"{ticket}\"\nticket_secret_previous = \"{previous}\"\n"
        )
    };
    let port = free_port();
    let mut site = Site::on_port(&toml(&one, &one, ""), port);
    let mut node = site.start();
    let mut config = SubscriptionConfig::new(node.url(), &token(&one));
    config.retry = RetryPolicy { max_attempts: u32::MAX, base_ms: 20, cap_ms: 200 };
    let mut ann = Subscription::open(config);
    next_welcome(&mut ann).await.unwrap();
    // Tokens are checked with another key from now on, so that only the ticket can let it in; and then
    // tickets are signed with another secret, while the old one is still known.
    for (ticket, previous) in [(&one, ""), (&two, &*one)] {
        node.stop();
        site = site.with_toml(&toml(&two, ticket, previous));
        node = site.start();
        next_welcome(&mut ann).await.unwrap();
        assert_eq!(counter(&node, "tidings_realtime_tickets_total").await, 1.0);
    }
    node.stop();
    site = site.with_toml(&toml(&two, &one, ""));
    let node = site.start();
    // Neither the ticket nor, after it, the token.
    let refused = next_welcome(&mut ann).await;
    assert!(matches!(refused, Err(SubscriptionError::Refused { code: 4401, .. })), "{refused:?}");
    node.stop();
}
