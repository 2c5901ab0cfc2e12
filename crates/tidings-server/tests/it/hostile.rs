//! Peers that vanish, dawdle, flood, and come by the thousand.

use std::time::{Duration, Instant};

use crate::{
    harness::{Node, PATIENCE, Site, event},
    wire::{CLOSE, PING, PONG, TEXT, Told, UNPACED, Wire, close, frame, hello, request},
};

/// Resident memory of the node, in bytes.
fn resident(node: &Node) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Waits until the node has exactly so many live sessions.
async fn until_sessions(node: &Node, sessions: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = node.get("/metrics").await;
        let line = metrics.text.lines().find(|it| it.starts_with("tidings_realtime_sessions "));
        let count = line.map_or(0, |it| it.rsplit(' ').next().unwrap().parse().unwrap());
        if count == sessions {
            return;
        }
        assert!(Instant::now() < deadline, "{count} sessions instead of {sessions}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_peer_that_vanishes_is_found_by_its_silence() {
    let site = Site::new("[realtime]\nheartbeat_ms = 1000");
    let node = site.start();
    let mut gone = Wire::welcome(&node, "gone");
    let mut here = Wire::welcome(&node, "here");
    // It stays connected as far as TCP knows, as behind a cable that was pulled.
    until_sessions(&node, 2).await;
    tokio::task::spawn_blocking(move || {
        loop {
            match here.hear() {
                Told::Frame(TEXT, text) if text == br#"{"type":"ping"}"# => {
                    here.say(&frame(PONG, b""));
                }
                other => return assert!(matches!(other, Told::Frame(TEXT, _)), "{other:?}"),
            }
        }
    });
    until_sessions(&node, 1).await;
    assert_eq!(gone.hear_json()["type"], "ping");
    assert_eq!(gone.hear_close(), Some(4408));
    node.stop();
}

#[test]
fn a_request_that_dawdles_is_cut_off() {
    let site = Site::new("[server]\nheader_timeout_ms = 500");
    let node = site.start();
    let pause = Duration::from_millis(50);
    Wire::connect(&node).trickle(request().repeat(100).as_bytes(), pause);
    Wire::connect(&node).trickle(b"G", PATIENCE / 2);
    // So is a connection that waits for its next request.
    let mut idle = Wire::connect(&node);
    idle.say(b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n");
    assert!(idle.hear_head().starts_with("HTTP/1.1 200 "));
    idle.trickle(b"", PATIENCE / 2);
    // A session is not: it has a heartbeat of its own.
    Wire::welcome(&node, "ann");
    node.stop();
}

#[tokio::test]
async fn a_body_that_does_not_end_is_let_go_of_and_does_not_hold_up_a_stop() {
    let site = Site::new("[server]\nrequest_timeout_ms = 1500\n[intake]\nanswer_wait_ms = 1000");
    let node = site.start();
    let endless = || {
        let mut wire = Wire::connect(&node);
        wire.say(
            b"POST /v1/events HTTP/1.1\r\nHost: node\r\nIdempotency-Key: k\r\n\
              Content-Length: 9000\r\n\r\n{",
        );
        wire
    };
    let mut first = endless();
    let answer = tokio::task::spawn_blocking(move || first.hear_head()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    // Its key is free again.
    let begun = Instant::now();
    loop {
        let request =
            node.request(reqwest::Method::POST, "/v1/events").header("Idempotency-Key", "k");
        let body = event("e1", &["ann"]).to_string();
        match request.body(body).send().await.unwrap().status().as_u16() {
            200 => break,
            other => assert!(other == 409 && begun.elapsed() < PATIENCE, "{other}"),
        }
    }
    let _late = endless();
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.stop();
    assert!(!site.log().contains("cut off"), "{}", site.log());
}

#[test]
fn a_frame_that_dawdles_is_no_sign_of_life() {
    let site = Site::new("[realtime]\nheartbeat_ms = 1000");
    let node = site.start();
    let mut wire = Wire::welcome(&node, "ann");
    let endless = frame(TEXT, &[b' '; 60_000]);
    assert_eq!(wire.trickle(&endless, Duration::from_millis(50)), Some(4408));
    // Nor are fragments of nothing.
    let mut wire = Wire::welcome(&node, "ann");
    wire.say(&frame(0x01, b""));
    let empty = frame(0x00, b"");
    assert_eq!(wire.trickle(&empty, Duration::from_millis(10)), Some(4408));
    node.stop();
}

#[test]
fn a_hello_that_does_not_come_is_not_waited_for() {
    let site = Site::new("[realtime]\nhello_timeout_ms = 300");
    let node = site.start();
    assert_eq!(Wire::open(&node).hear_close(), Some(4408));
    let dawdling = Wire::open(&node).trickle(&hello("ann"), Duration::from_millis(20));
    assert_eq!(dawdling, Some(4408));
    node.stop();
}

#[test]
fn a_flood_of_pings_costs_no_memory_and_holds_up_nobody() {
    let site = Site::new(UNPACED);
    let node = site.start();
    let mut flood = Wire::welcome(&node, "flood");
    let mut other = Wire::welcome(&node, "other");
    let before = resident(&node);
    // 40 MB of pings, and not one pong is read: the answers fill the system's buffers, and no others.
    let pings = frame(PING, &[b'x'; 125]).repeat(800);
    for _ in 0..400 {
        flood.say(&pings);
    }
    other.say(&frame(TEXT, br#"{"type":"ping"}"#));
    assert_eq!(other.hear_json()["type"], "pong");
    flood.say(&frame(PING, b"last"));
    let mut answers = 0_usize;
    loop {
        match flood.hear() {
            Told::Frame(PONG, payload) if payload == b"last" => break,
            Told::Frame(PONG, payload) => assert_eq!(payload, [b'x'; 125]),
            other => panic!("{other:?}"),
        }
        answers += 1;
    }
    println!("{answers} of 320000 pings were answered");
    assert!(answers > 0);
    let grown = resident(&node).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    node.stop();
}

/// Connects, says hello, and returns the connection if it is welcome.
fn try_session(node: &Node, user: &str) -> Option<Wire> {
    let mut wire = Wire::open(node);
    wire.say(&hello(user));
    match wire.hear() {
        Told::Frame(TEXT, _) => Some(wire),
        Told::Frame(CLOSE, payload) => {
            assert_eq!(payload[..2], 4429_u16.to_be_bytes());
            // Not all are so polite as to answer.
            wire.say(&close(4429, b""));
            None
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn ten_thousand_connects_of_one_user_get_the_users_places_and_no_more() {
    // It is not about how many are let in per second: a fast machine makes more than the default.
    let site = Site::new("[realtime]\nsessions_per_user_max = 20\naccepts_per_s = 1000000");
    let node = site.start();
    let rounds = |connects: usize| {
        std::thread::scope(|scope| {
            let herd = || (0..connects / 4).filter_map(|_| try_session(&node, "ann"));
            let herds: Vec<_> = (0..4).map(|_| scope.spawn(move || herd().collect())).collect();
            let welcome = herds.into_iter().flat_map(|it| {
                let wires: Vec<Wire> = it.join().unwrap();
                wires
            });
            welcome.collect::<Vec<_>>()
        })
    };
    let first = rounds(1_000);
    assert_eq!(first.len(), 20);
    drop(first);
    until_sessions(&node, 0).await;
    let before = resident(&node);
    let welcome = rounds(10_000);
    assert_eq!(welcome.len(), 20);
    until_sessions(&node, 20).await;
    // Others still get in.
    let _ben = Wire::welcome(&node, "ben");
    drop(welcome);
    until_sessions(&node, 1).await;
    let grown = resident(&node).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    let _again = Wire::welcome(&node, "ann");
    node.stop();
}
