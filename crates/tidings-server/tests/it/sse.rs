//! Live sessions over server-sent events, on a real node with a real HTTP client.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use reqwest::Response;
use serde_json::{Value, json};
use tidings_core::{
    clock::{Clock, SystemClock},
    ids::UserId,
};
use tidings_server::{
    auth::{ApiKey, mint_hs256},
    config::TokensSection,
};

use crate::{
    harness::{Node, PATIENCE, Site, event},
    wire::{TEXT, Wire, frame},
};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// An event as it stood on the wire.
#[derive(Debug)]
struct Heard {
    name: String,
    id: Option<u64>,
    /// Where the client began, as the id says.
    began: Option<u64>,
    retry: Option<u64>,
    data: Value,
}

/// A stream of events that is read.
struct Events {
    response: Response,
    unread: String,
}

impl Events {
    async fn open(node: &Node, query: &str, last_event_id: Option<u64>) -> Response {
        let mut request = node.request(reqwest::Method::GET, &format!("/v1/stream/sse{query}"));
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id.to_string());
        }
        request.send().await.unwrap()
    }

    async fn of(node: &Node, user: &str, last_event_id: Option<u64>) -> Self {
        let response = Self::open(node, &format!("?access_token=user:{user}"), last_event_id).await;
        Self::new(response)
    }

    fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, unread: String::new() }
    }

    /// The next event; nothing at the end of the stream. Comments are passed over.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let heard = parse(block);
                self.unread = rest.to_owned();
                if heard.is_some() {
                    return heard;
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap();
            let chunk = chunk.unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn expect(&mut self, name: &str) -> Heard {
        let heard = self.next().await.unwrap();
        assert_eq!(heard.name, name, "{heard:?}");
        assert_eq!(heard.data["type"], name);
        heard
    }
}

fn parse(block: &str) -> Option<Heard> {
    let (mut name, mut id, mut retry, mut data) = (String::new(), None, None, None);
    let mut began = None;
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap();
        let value = value.trim_start();
        match field {
            "event" => value.clone_into(&mut name),
            "id" => {
                let (seq, after) = value.split_once(':').unwrap_or((value, "0"));
                (id, began) = (Some(seq.parse().unwrap()), Some(after.parse().unwrap()));
            }
            "retry" => retry = Some(value.parse().unwrap()),
            "data" => data = Some(serde_json::from_str(value).unwrap()),
            "" => {}
            other => panic!("a field {other:?}"),
        }
    }
    Some(Heard { name, id, began, retry, data: data? })
}

async fn send(node: &Node, id: &str, users: &[&str]) {
    node.post("/v1/events", event(id, users).to_string()).await.expect(200);
}

#[tokio::test]
async fn what_is_stored_arrives_and_who_comes_back_gets_what_came_meanwhile() {
    let site = Site::new("");
    let node = site.start();
    let mut ann = Events::of(&node, "ann", None).await;
    let welcome = ann.expect("welcome").await;
    assert_eq!((welcome.id, &welcome.data["user"]), (Some(0), &json!("ann")));
    send(&node, "e1", &["ann"]).await;
    let first = ann.expect("notification").await;
    assert_eq!((first.id, &first.data["seq"]), (Some(1), &json!(1)));
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!(first.data["notification"], page["items"][0]);
    let read = json!({"up_to_seq": 1}).to_string();
    node.post("/v1/users/ann/notifications/read", read).await.expect(200);
    assert_eq!(ann.expect("update").await.data["read"], json!({"up_to_seq": 1}));
    drop(ann);
    send(&node, "e2", &["ann"]).await;
    // Last-Event-ID goes before what the address said when the client first came.
    let query = "?access_token=user:ann&last_seq=0";
    let mut ann = Events::new(Events::open(&node, query, Some(1)).await);
    assert_eq!(ann.expect("welcome").await.id, Some(1));
    assert_eq!(ann.expect("notification").await.id, Some(2));
}

#[tokio::test]
async fn a_client_that_began_at_the_newest_acknowledges_nothing_before_it() {
    let site = Site::new("");
    let node = site.start();
    send(&node, "e1", &["ann"]).await;
    let mut ann = Events::of(&node, "ann", None).await;
    let welcome = ann.expect("welcome").await;
    assert_eq!((welcome.id, welcome.began), (Some(1), Some(1)));
    send(&node, "e2", &["ann"]).await;
    let second = ann.expect("notification").await;
    assert_eq!((second.id, second.began), (Some(2), Some(1)));
    drop(ann);
    let request = node.request(reqwest::Method::GET, "/v1/stream/sse?access_token=user:ann");
    let response = request.header("Last-Event-ID", "2:1").send().await.unwrap();
    let welcome = Events::new(response).expect("welcome").await;
    assert_eq!((welcome.id, welcome.began), (Some(2), Some(1)));
    let begun = Instant::now();
    loop {
        let counters = node.get("/v1/users/ann/inbox").await.expect(200);
        if counters["acked_seq"] == 2 {
            assert_eq!(counters["acked_after"], 1, "{counters}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{counters}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_client_that_comes_back_again_and_again_at_full_speed_sees_all_in_order() {
    const EVENTS: u64 = 600;
    let site = Site::new("");
    let node = site.start();
    let reader = async {
        let (mut last, mut patience) = (0, 1);
        while last < EVENTS {
            let mut events = Events::of(&node, "ann", Some(last)).await;
            events.expect("welcome").await;
            // Each stay is longer than the one before, so that there is an end.
            for _ in 0..(EVENTS - last).min(patience) {
                let id = events.expect("notification").await.id.unwrap();
                assert_eq!(id, last + 1);
                last = id;
            }
            patience += 1;
        }
    };
    let writer = async {
        for number in 0..EVENTS {
            send(&node, &format!("e{number}"), &["ann"]).await;
        }
    };
    tokio::join!(reader, writer);
}

fn tokens() -> TokensSection {
    serde_json::from_value(json!({
        "hs256_secret": SECRET, "jwks_file": "", "jwks_url": "", "issuer": "",
        "audience": "tidings", "leeway_secs": 0,
    }))
    .unwrap()
}

fn token(section: &TokensSection, expires_in: Duration) -> String {
    let now = SystemClock.now();
    let issued = now.before(Duration::from_secs(60));
    let expires = if expires_in.is_zero() { issued } else { now.after(expires_in) };
    mint_hs256(section, &UserId::new("ann").unwrap(), issued, expires).unwrap()
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_refused_and_a_stream_ends_with_its_token() {
    let site = Site::new(&format!(
        "[auth.tokens]\nhs256_secret = \"{SECRET}\"\naudience = \"tidings\"\n[log]\nlevel = \"debug\""
    ));
    let node = site.start();
    let other = TokensSection { audience: "other".to_owned(), ..tokens() };
    let good = token(&tokens(), Duration::from_secs(3));
    let claims = good.split('.').nth(1).unwrap();
    let bad = [
        token(&tokens(), Duration::ZERO),
        token(&other, Duration::from_secs(60)),
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}."),
        "user:ann".to_owned(),
    ];
    for token in &bad {
        let response = Events::open(&node, &format!("?access_token={token}"), None).await;
        assert_eq!(response.status(), 401, "{token}");
        let mut wire = Wire::open(&node);
        let hello = json!({"type": "hello", "token": token}).to_string();
        wire.say(&frame(TEXT, hello.as_bytes()));
        assert_eq!(wire.hear_close(), Some(4401), "{token}");
    }
    assert_eq!(Events::open(&node, "", None).await.status(), 401);
    let unread = Events::open(&node, &format!("?access_token={good}&last_seq=x"), None).await;
    assert_eq!(unread.status(), 400);
    assert!(!unread.text().await.unwrap().contains(&good));

    let node = node.with_bearer(&good);
    let mut ann = Events::new(Events::open(&node, "", None).await);
    ann.expect("welcome").await;
    assert_eq!(ann.expect("close").await.data["code"], 4401);
    assert!(ann.next().await.is_none(), "the stream goes on after its close");
    node.stop();
    for token in bad.iter().chain([&good]).filter(|token| token.len() > 20) {
        assert!(!site.log().contains(token.as_str()), "a token is in the log");
    }
}

#[tokio::test]
async fn a_stopping_node_says_bye_and_does_not_wait_for_streams() {
    let site = Site::new("[server]\nshutdown_grace_ms = 600000");
    let node = site.start();
    let mut ann = Events::of(&node, "ann", None).await;
    ann.expect("welcome").await;
    // With such a grace period a node that waited for the stream would not stop in time for this.
    node.stop();
    let bye = ann.expect("bye").await;
    assert_eq!(bye.retry.unwrap(), bye.data["retry_ms"].as_u64().unwrap());
    assert_eq!(ann.expect("close").await.data["code"], 1012);
}

#[tokio::test]
async fn the_limits_of_sessions_and_the_origins_hold_for_streams() {
    let site = Site::new(
        "[server]\nallowed_origins = [\"https://app.example\"]\n[realtime]\nsessions_per_user_max = 1",
    );
    let node = site.start();
    let mut ann = Events::of(&node, "ann", None).await;
    ann.expect("welcome").await;
    let second = Events::open(&node, "?access_token=user:ann", None).await;
    assert_eq!(second.status(), 429);
    assert!(second.headers().contains_key("retry-after"));
    let request = node.request(reqwest::Method::GET, "/v1/stream/sse?access_token=user:ben");
    let foreign = request.header("Origin", "https://other.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
}

#[tokio::test]
async fn who_is_signed_out_everywhere_is_refused_on_every_way_also_after_a_restart() {
    let [revoker, other] = [(); 2].map(|()| ApiKey::generate().unwrap());
    let key = |name, key: &ApiKey, scope| {
        let digest = key.digest_hex();
        format!("[[auth.keys]]\nname = \"{name}\"\nsha256 = \"{digest}\"\nscopes = [\"{scope}\"]\n")
    };
    let site = Site::new(&format!(
        "[auth.tokens]\nhs256_secret = \"{SECRET}\"\naudience = \"tidings\"\n{}{}",
        key("revoker", &revoker, "sessions:revoke"),
        key("other", &other, "inbox:read"),
    ));
    // Issued a minute ago.
    let old = token(&tokens(), Duration::from_secs(600));
    let ben = UserId::new("ben").unwrap();
    let now = SystemClock.now();
    let hour = Duration::from_secs(3_600);
    let bens = mint_hs256(&tokens(), &ben, now.before(hour), now.after(hour)).unwrap();
    let path = "/v1/users/ann/sessions/revoke";
    let node = site.start().with_bearer(&old);
    let mut ann = Events::new(Events::open(&node, "", None).await);
    ann.expect("welcome").await;

    let node = node.with_bearer(&bens);
    assert_eq!(node.post(path, "").await.problem(403).0, "not-allowed");
    let node = node.with_bearer(other.expose());
    assert_eq!(node.post(path, "").await.problem(403).0, "not-allowed");
    let node = node.with_bearer(revoker.expose());
    let future = json!({"before": now.after(hour)}).to_string();
    assert_eq!(node.post(path, future).await.problem(400).1, "before");
    // Before the token was issued: it stays.
    node.post(path, json!({"before": now.before(hour)}).to_string()).await.expect(200);
    let node = node.with_bearer(&old);
    node.get("/v1/users/me/inbox").await.expect(200);

    let node = node.with_bearer(revoker.expose());
    let answer = node.post(path, "").await.expect(200);
    assert!(answer["before"].as_str().unwrap() >= now.to_string().as_str());
    assert_eq!(ann.expect("close").await.data["code"], 4401);
    let mut running = Some(node);
    for _ in 0..2 {
        let node = running.take().unwrap_or_else(|| site.start()).with_bearer(&old);
        assert_eq!(node.get("/v1/users/me/inbox").await.problem(401).0, "not-authenticated");
        assert_eq!(Events::open(&node, "", None).await.status(), 401);
        let node = node.with_bearer(&bens);
        node.get("/v1/users/me/inbox").await.expect(200);
        let later = SystemClock.now().after(Duration::from_secs(2));
        let user = UserId::new("ann").unwrap();
        let new = mint_hs256(&tokens(), &user, later, later.after(hour)).unwrap();
        let node = node.with_bearer(&new);
        node.get("/v1/users/me/inbox").await.expect(200);
        node.stop();
    }
    // A user may do it alone.
    let node = site.start().with_bearer(&bens);
    node.post("/v1/users/me/sessions/revoke", "").await.expect(200);
    assert_eq!(node.get("/v1/users/me/inbox").await.problem(401).0, "not-authenticated");
}

/// Sessions that the node holds, by its metrics.
async fn sessions(node: &Node) -> Option<u64> {
    let metrics = node.get("/metrics").await;
    let line = metrics.text.lines().find_map(|it| it.strip_prefix("tidings_realtime_sessions "));
    line.and_then(|value| value.trim().parse().ok())
}

/// A client of its own making, which reads as it likes; it is welcome.
fn connect_raw(node: &Node) -> TcpStream {
    let mut client = TcpStream::connect(node.url().trim_start_matches("http://")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /v1/stream/sse?access_token=user:ann&last_seq=0 HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let mut start = [0; 12];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    client
}

/// Tells Ann of `count` events that are as long as events may be.
async fn send_long(node: &Node, count: u64) {
    let long = "x".repeat(16_000);
    for first in (0..count).step_by(100) {
        let line = |number| {
            let mut event = event(&format!("e{number}"), &["ann"]);
            event["data"] = json!({ "long": long });
            format!("{event}\n")
        };
        let lines: String = (first..first + 100).map(line).collect();
        let answer = node.post("/v1/events/batch", lines).await;
        assert_eq!(answer.json()["stored"], 100);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_misses_nothing_when_it_comes_back() {
    // Far more than connections hold.
    const EVENTS: u64 = 1_000;
    let site = Site::new("[realtime]\nslow_ms = 1000");
    let node = site.start();
    let _deaf = connect_raw(&node);
    assert_eq!(sessions(&node).await, Some(1));
    send_long(&node, EVENTS).await;
    let deadline = Instant::now() + PATIENCE;
    while sessions(&node).await != Some(0) {
        assert!(Instant::now() < deadline, "the session of a client that does not read stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut ann = Events::of(&node, "ann", Some(0)).await;
    ann.expect("welcome").await;
    for seq in 1..=EVENTS {
        assert_eq!(ann.expect("notification").await.id, Some(seq));
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_keeps_its_session_and_misses_nothing() {
    // Far more than its connection and its mailbox hold.
    const EVENTS: u64 = 1_000;
    let site = Site::new("");
    let node = site.start();
    let mut client = connect_raw(&node);
    send_long(&node, EVENTS).await;
    let reading = tokio::task::spawn_blocking(move || {
        let (mut heard, mut piece) = (Vec::new(), [0; 1024]);
        // A kilobyte at a time, with a rest after each: much slower than the node.
        for _ in 0..2_000 {
            let bytes = client.read(&mut piece).unwrap();
            heard.extend_from_slice(&piece[..bytes]);
            std::thread::sleep(Duration::from_millis(1));
        }
        let last = format!("\r\nid: {EVENTS}\n");
        let mut large = vec![0; 1 << 16];
        while !heard.ends_with(b"\n\n\r\n") || !contains(&heard, last.as_bytes()) {
            let bytes = client.read(&mut large).unwrap();
            assert!(bytes > 0, "cut off");
            heard.extend_from_slice(&large[..bytes]);
        }
        heard
    });
    let heard = String::from_utf8(reading.await.unwrap()).unwrap();
    // Each event is a chunk of the answer, and begins with its id.
    let ids: Vec<u64> = heard
        .split("\r\nid: ")
        .skip(2)
        .map(|rest| rest.lines().next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(ids, (1..=EVENTS).collect::<Vec<_>>());
}

/// Whether the last 64 KiB and a bit have these bytes.
fn contains(heard: &[u8], wanted: &[u8]) -> bool {
    let tail = &heard[heard.len().saturating_sub(100_000)..];
    tail.windows(wanted.len()).any(|window| window == wanted)
}
