//! Stores that are gone, clients that do not read, commits at the worst moment.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidings_core::ports::{LiveNotifications, Presence};

use crate::doubles::{HEARTBEAT, Sent, Server, ann, until};

#[tokio::test(start_paused = true)]
async fn what_is_committed_while_a_client_is_let_in_is_not_missed() {
    for last_seq in [None, Some(0)] {
        let mut server = Server::new(8, 3);
        let pool = Arc::clone(&server.pool);
        server.inbox.before_counters(move |inbox| pool.broadcast_notification(&inbox.append_one()));
        let pool = Arc::clone(&server.pool);
        server.inbox.after_counters(move |inbox| pool.broadcast_notification(&inbox.append_one()));
        let mut client = server.welcome(last_seq).await;
        // Without a seq the client begins at the head of its welcome, which has the first of the two.
        for seq in last_seq.map_or(2, |_| 1)..=2 {
            assert_eq!(client.hear_seq().await, seq);
        }
        server.tell();
        assert_eq!(client.hear_seq().await, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_prompted_finds_what_was_never_broadcast_and_nothing_twice() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    server.inbox.append_one();
    server.pool.prompt_look(&ann());
    assert_eq!(client.hear_seq().await, 1);
    server.tell();
    // Also what waits in the mailbox.
    server.pool.prompt_look(&ann());
    assert_eq!(client.hear_seq().await, 2);
    server.tell();
    assert_eq!(client.hear_seq().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_the_store_still_hears_and_pings_its_client() {
    let mut server = Server::new(2, 3);
    let mut client = server.welcome(None).await;
    server.inbox.set_gone(true);
    server.inbox.append_one();
    server.tell();
    for _ in 0..20 {
        client.hear_frame("ping").await;
        client.say(&json!({"type": "pong"})).await;
    }
    client.say(&json!({"type": "ping"})).await;
    client.hear_frame("pong").await;
    server.inbox.set_gone(false);
    assert_eq!(client.hear_seq().await, 1);
    assert_eq!(client.hear_seq().await, 2);
    client.hear_frame("ping").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_is_closed_after_a_ping_and_not_before_also_when_the_store_was_gone() {
    let mut server = Server::new(2, 3);
    let mut client = server.welcome(None).await;
    server.inbox.set_gone(true);
    server.inbox.append_one();
    server.tell();
    client.hear_frame("ping").await;
    assert_eq!(client.hear().await, Sent::Close(4408));
}

#[tokio::test(start_paused = true)]
async fn a_token_also_ends_while_the_store_is_gone() {
    let mut server = Server::new(2, 3);
    for _ in 0..4 {
        server.inbox.append_one();
    }
    // The first page comes with the counters; the second never does.
    server.inbox.after_counters(|inbox| inbox.set_gone(true));
    let mut client = server.connect(8);
    client.say(&json!({"type": "hello", "token": "user:ann:0", "last_seq": 0})).await;
    client.hear_frame("welcome").await;
    for seq in 1..=3 {
        assert_eq!(client.hear_seq().await, seq);
    }
    assert_eq!(client.hear().await, Sent::Close(4401));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_heard_while_it_catches_up() {
    let mut server = Server::new(8, 10);
    for _ in 0..500 {
        server.inbox.append_one();
    }
    let mut client = server.connect(1_000);
    client.say(&json!({"type": "hello", "token": "user:ann", "last_seq": 0})).await;
    client.say(&json!({"type": "ping"})).await;
    client.hear_frame("welcome").await;
    let mut before = 0;
    while let Sent::Frame(frame) = client.hear().await {
        if frame["type"] == "pong" {
            break;
        }
        before += 1;
    }
    assert!(before < 500, "heard only after the whole replay");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_let_go() {
    let mut server = Server::new(2, 3);
    let mut client = server.connect(1);
    client.say(&json!({"type": "hello", "token": "user:ann"})).await;
    client.hear_frame("welcome").await;
    for _ in 0..5 {
        server.tell();
    }
    // Nothing is read any more, so not even a close can be said.
    until(|| client.is_closed()).await;
    assert!(!server.pool.is_online(&ann()));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_does_not_wait_for_a_client_that_does_not_read() {
    let mut server = Server::new(2, 3);
    let mut client = server.connect(1);
    client.say(&json!({"type": "hello", "token": "user:ann"})).await;
    client.hear_frame("welcome").await;
    for _ in 0..5 {
        server.tell();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let start = tokio::time::Instant::now();
    server.stop.cancel();
    until(|| client.is_closed()).await;
    assert!(start.elapsed() < HEARTBEAT, "virtual time: the stop comes before the slow send ends");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_while_the_store_is_gone_is_asked_to_come_back() {
    let mut server = Server::new(2, 3);
    server.inbox.set_gone(true);
    let mut client = server.connect(8);
    client.say(&json!({"type": "hello", "token": "user:ann"})).await;
    assert_eq!(client.hear().await, Sent::Close(1012));
    assert!(!server.pool.is_online(&ann()));
}
