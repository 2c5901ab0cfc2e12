//! Every notification once and in order, whatever the server does.

use std::time::Duration;

use serde_json::json;
use tidings_client::{Subscription, SubscriptionError, SubscriptionEvent};
use tidings_core::retry::RetryPolicy;

use crate::server::{Server, Watched, soon};

#[tokio::test]
async fn a_client_that_begins_now_says_no_seq_and_resumes_from_the_welcome() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(None));
    let (mut session, hello) = server.welcome(7).await;
    assert_eq!(hello, json!({"type": "hello", "token": "user:ann"}));
    client.words(&["welcome 7 0"]).await;
    session.notify(8).await;
    client.words(&["notification 8"]).await;
    drop(session);
    client.words(&["disconnected"]).await;
    let (mut session, hello) = server.welcome(9).await;
    assert_eq!(hello["last_seq"], 8);
    session.notify(9).await;
    client.words(&["welcome 9 0", "notification 9"]).await;
}

#[tokio::test]
async fn a_gap_is_filled_by_resuming_before_it() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(Some(0)));
    let (mut session, _) = server.welcome(4).await;
    for seq in [1, 2, 4] {
        session.notify(seq).await;
    }
    client.words(&["welcome 4 0", "notification 1", "notification 2", "gap 2 4"]).await;
    let (mut session, hello) = server.welcome(4).await;
    assert_eq!(hello["last_seq"], 2);
    for seq in [3, 4] {
        session.notify(seq).await;
    }
    client.words(&["welcome 4 0", "notification 3", "notification 4"]).await;
}

#[tokio::test]
async fn a_server_that_leaves_the_same_out_again_and_again_spends_the_budget() {
    let server = Server::start().await;
    let mut config = server.config(Some(0));
    config.retry = RetryPolicy { max_attempts: 3, base_ms: 1, cap_ms: 1 };
    let mut client = Watched::open(config);
    for attempt in 1..=3 {
        let (mut session, _) = server.welcome(9).await;
        session.notify(9).await;
        client.words(&["welcome 9 0"]).await;
        match client.next().await {
            Ok(SubscriptionEvent::Gap { after: 0, got: 9 }) if attempt < 3 => {}
            Err(SubscriptionError::GaveUp { attempts: 3, .. }) if attempt == 3 => {}
            other => panic!("{other:?} at {attempt}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_never_fills_a_gap_is_asked_more_and_more_seldom() {
    const SPAN: Duration = Duration::from_millis(1_500);
    let server = Server::start().await;
    let mut config = server.config(Some(0));
    config.retry = RetryPolicy { max_attempts: u32::MAX, base_ms: 20, cap_ms: 100_000 };
    let _client = Watched::open(config);
    let mut asked = 0;
    let asking = async {
        loop {
            let (mut session, _) = server.welcome(9).await;
            session.notify(9).await;
            asked += 1;
        }
    };
    let over = tokio::time::timeout(SPAN, asking).await;
    assert!(over.is_err());
    // Seven or eight as the waits double; a hundred and more if they did not.
    assert!((2..25).contains(&asked), "{asked} times");
}

#[tokio::test]
async fn what_comes_again_is_told_apart_and_not_acknowledged_twice() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(Some(0)));
    let (mut session, _) = server.welcome(2).await;
    session.notify(1).await;
    assert_eq!(session.hear().await, json!({"type": "ack", "seq": 1}));
    session.notify(1).await;
    session.notify(2).await;
    assert_eq!(session.hear().await, json!({"type": "ack", "seq": 2}));
    client.words(&["welcome 2 0", "notification 1", "repeated 1", "notification 2"]).await;
}

#[tokio::test]
async fn acks_are_gathered_and_reach_the_newest() {
    let server = Server::start().await;
    let mut config = server.config(Some(0));
    config.ack_every = 10;
    let _client = Watched::open(config);
    let (mut session, _) = server.welcome(25).await;
    for seq in 1..=25 {
        session.notify(seq).await;
    }
    let mut last = 0;
    while last < 25 {
        let ack = session.hear().await["seq"].as_u64().unwrap();
        assert!(last < ack && ack <= last + 10, "{ack} after {last}");
        last = ack;
    }
}

#[tokio::test]
async fn what_was_not_handed_over_is_not_acknowledged() {
    let server = Server::start().await;
    let mut client = Subscription::open(server.config(Some(0)));
    let (welcomed, (mut session, _)) = tokio::join!(soon(client.next()), server.welcome(2));
    assert!(matches!(welcomed, Ok(SubscriptionEvent::Welcome { .. })));
    session.notify(1).await;
    session.notify(2).await;
    let first = soon(client.next()).await;
    assert!(matches!(first, Ok(SubscriptionEvent::Notification(it)) if it.seq == 1));
    // Nobody asked for the second.
    let ((), ack) = tokio::join!(soon(client.close()), session.hear());
    assert_eq!(ack, json!({"type": "ack", "seq": 1}));
}

#[tokio::test]
async fn a_client_follows_a_server_that_was_set_back() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(Some(50)));
    let (mut session, hello) = server.welcome(40).await;
    assert_eq!(hello["last_seq"], 50);
    session.notify(41).await;
    client.words(&["welcome 40 0", "notification 41"]).await;
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_no_gap() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(Some(5)));
    let (mut session, hello) = server.session().await;
    assert_eq!(hello["last_seq"], 5);
    let welcome = json!({"type": "welcome", "session": "s", "user": "ann", "seq": 42, "unread": 0,
        "heartbeat_ms": 25_000, "forgotten_seq": 40});
    session.say(&welcome).await;
    session.notify(41).await;
    client.words(&["welcome 42 0", "notification 41"]).await;
}

#[tokio::test]
async fn many_sessions_can_wait_at_once() {
    let server = Server::start().await;
    let mut client = Subscription::open(server.config(None));
    let (subscription, waiting) = (size_of_val(&client), size_of_val(&client.next()));
    assert!(subscription <= 2_048 && waiting <= 2_048, "{subscription} and {waiting} bytes");
}
