//! When a client comes back, when it does not, and with which token.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tidings_client::{Subscription, SubscriptionConfig, SubscriptionError, SubscriptionEvent};
use tidings_core::retry::RetryPolicy;
use tokio::io::AsyncReadExt;

use crate::server::{Server, Tokens, Watched, soon};

#[tokio::test]
async fn a_bye_says_when_to_come_back() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(None));
    let (mut session, _) = server.welcome(0).await;
    session.say(&json!({"type": "bye", "reason": "stopping", "retry_ms": 37})).await;
    session.close(1012, "stopping").await;
    client.words(&["welcome 0 0"]).await;
    let Ok(SubscriptionEvent::Disconnected { reason, retry_in }) = client.next().await else {
        panic!("still connected")
    };
    assert_eq!((reason.as_str(), retry_in), ("stopping", Duration::from_millis(37)));
    server.welcome(0).await;
    client.words(&["welcome 0 0"]).await;
}

#[tokio::test]
async fn a_node_that_takes_nobody_in_says_when_to_come_back() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(None));
    server.answer("HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\n\r\n").await;
    let Ok(SubscriptionEvent::Disconnected { retry_in, .. }) = client.next().await else {
        panic!("connected")
    };
    assert_eq!(retry_in, Duration::from_secs(7));
}

#[tokio::test]
async fn pings_are_answered_and_frames_of_a_later_version_passed_over() {
    let server = Server::start().await;
    let mut client = Watched::open(server.config(None));
    let (mut session, _) = server.welcome(0).await;
    session.say(&json!({"type": "weather", "sun": true})).await;
    session.say(&json!({"type": "ping"})).await;
    assert_eq!(session.hear().await, json!({"type": "pong"}));
    session.say(&json!({"type": "update", "read": {"up_to_seq": 1}, "unread": 3})).await;
    client.words(&["welcome 0 0", "unread 3"]).await;
}

#[tokio::test]
async fn closes_that_would_come_again_end_the_subscription() {
    for code in [1002, 1007, 1009, 4400, 4401, 4403, 4409] {
        let server = Server::start().await;
        let mut client = Watched::open(server.config(None));
        let (mut session, _) = server.session().await;
        session.close(code, "no").await;
        match client.next().await {
            Err(SubscriptionError::Refused { code: got, reason }) => {
                assert_eq!((got, reason.as_str()), (code, "no"));
            }
            other => panic!("{other:?} after {code}"),
        }
    }
}

#[tokio::test]
async fn a_token_that_ends_in_mid_session_is_replaced() {
    let server = Server::start().await;
    let mut config = server.config(None);
    config.tokens = Arc::new(Tokens(Mutex::new(vec!["monday", "tuesday"])));
    let mut client = Watched::open(config);
    let (mut session, hello) = server.welcome(0).await;
    assert_eq!(hello["token"], "monday");
    session.close(4401, "expired").await;
    let (_session, hello) = server.welcome(0).await;
    assert_eq!(hello["token"], "tuesday");
    client.words(&["welcome 0 0", "disconnected", "welcome 0 0"]).await;
}

#[tokio::test]
async fn a_new_token_that_is_not_accepted_either_is_the_end() {
    let server = Server::start().await;
    let mut config = server.config(None);
    config.tokens = Arc::new(Tokens(Mutex::new(vec!["bad", "worse", "worst"])));
    let mut client = Watched::open(config);
    for token in ["bad", "worse"] {
        let (mut session, hello) = server.session().await;
        assert_eq!(hello["token"], token);
        session.close(4401, "no").await;
    }
    client.words(&["disconnected"]).await;
    assert!(matches!(client.next().await, Err(SubscriptionError::Refused { code: 4401, .. })));
}

#[tokio::test]
async fn who_was_given_a_ticket_comes_back_with_it_and_asks_for_no_token() {
    let server = Server::start().await;
    let mut config = server.config(None);
    // A second token would be an empty one, which is an error.
    config.tokens = Arc::new(Tokens(Mutex::new(vec!["monday", ""])));
    let mut client = Watched::open(config);
    let (mut session, hello) = server.session().await;
    assert_eq!((&hello["token"], hello.get("ticket")), (&json!("monday"), None));
    session.welcome_with_ticket(3, "first").await;
    session.say(&json!({"type": "renewed", "expires_ms": 1, "ticket": "second"})).await;
    drop(session);
    let (mut session, hello) = server.session().await;
    assert_eq!((hello.get("token"), &hello["ticket"]), (None, &json!("second")));
    assert_eq!(hello["last_seq"], 3);
    session.welcome_with_ticket(3, "third").await;
    drop(session);
    let (_session, hello) = server.session().await;
    assert_eq!(hello["ticket"], "third");
    client.words(&["welcome 3 0", "disconnected", "welcome 3 0", "disconnected"]).await;
}

#[tokio::test]
async fn a_ticket_that_is_not_accepted_is_replaced_by_the_token() {
    let server = Server::start().await;
    let mut config = server.config(None);
    config.tokens = Arc::new(Tokens(Mutex::new(vec!["monday"])));
    let mut client = Watched::open(config);
    let (mut session, _) = server.session().await;
    session.welcome_with_ticket(0, "ticket").await;
    drop(session);
    let (mut session, hello) = server.session().await;
    assert_eq!(hello["ticket"], "ticket");
    session.close(4401, "another key").await;
    // The same token as before: it was not this that was refused.
    let (mut session, hello) = server.session().await;
    assert_eq!((&hello["token"], hello.get("ticket")), (&json!("monday"), None));
    session.close(4401, "expired").await;
    client.words(&["welcome 0 0", "disconnected", "disconnected"]).await;
    assert!(matches!(client.next().await, Err(SubscriptionError::Refused { code: 4401, .. })));
}

#[tokio::test]
async fn a_source_without_a_token_is_asked_again() {
    let server = Server::start().await;
    let mut config = server.config(None);
    config.tokens = Arc::new(Tokens(Mutex::new(vec!["", "", "monday"])));
    let mut client = Watched::open(config);
    let (_session, hello) = server.welcome(0).await;
    assert_eq!(hello["token"], "monday");
    client.words(&["disconnected", "disconnected", "welcome 0 0"]).await;
}

#[tokio::test]
async fn the_budget_counts_attempts_without_a_welcome() {
    let server = Server::start().await;
    let mut config = server.config(None);
    config.retry = RetryPolicy { max_attempts: 2, base_ms: 1, cap_ms: 1 };
    let mut client = Watched::open(config);
    drop(server.tcp().await);
    client.words(&["disconnected"]).await;
    drop(server.welcome(0).await);
    client.words(&["welcome 0 0", "disconnected"]).await;
    drop(server.tcp().await);
    assert!(matches!(client.next().await, Err(SubscriptionError::GaveUp { attempts: 2, .. })));
}

#[tokio::test]
async fn a_node_that_is_not_there_is_given_up_when_the_budget_is_spent() {
    let server = Server::start().await;
    let mut config = server.config(None);
    config.retry = RetryPolicy { max_attempts: 3, base_ms: 1, cap_ms: 1 };
    drop(server);
    let mut client = Watched::open(config);
    client.words(&["disconnected", "disconnected"]).await;
    assert!(matches!(client.next().await, Err(SubscriptionError::GaveUp { attempts: 3, .. })));
}

#[tokio::test]
async fn an_https_address_is_spoken_to_in_tls() {
    let server = Server::start().await;
    let config = SubscriptionConfig { url: server.url("https"), ..server.config(None) };
    let mut client = Watched::open(config);
    let mut stream = server.tcp().await;
    // A TLS record that holds a handshake (RFC 8446, section 5.1).
    assert_eq!(soon(stream.read_u8()).await.unwrap(), 22);
    drop(stream);
    client.words(&["disconnected"]).await;
}

#[tokio::test]
async fn what_is_no_address_of_a_node_is_an_error_at_once() {
    for url in ["", "ftp://example.org", "http://exa mple"] {
        let mut client = Subscription::open(SubscriptionConfig::new(url, "user:ann"));
        let outcome = soon(client.next()).await;
        assert!(matches!(outcome, Err(SubscriptionError::Address { .. })), "{url}");
    }
}

#[tokio::test]
async fn a_call_that_was_dropped_loses_nothing() {
    let server = Server::start().await;
    let mut client = Subscription::open(server.config(Some(0)));
    let (welcomed, (mut session, _)) = tokio::join!(soon(client.next()), server.welcome(50));
    assert!(matches!(welcomed, Ok(SubscriptionEvent::Welcome { .. })));
    let reading = async {
        let mut seqs = Vec::new();
        while seqs.len() < 50 {
            let event = tokio::select! {
                biased;
                event = client.next() => event.unwrap(),
                // Dropped wherever it waits.
                () = tokio::task::yield_now() => continue,
            };
            match event {
                SubscriptionEvent::Notification(arrival) => seqs.push(arrival.seq),
                other => panic!("{other:?}"),
            }
        }
        seqs
    };
    let serving = async {
        for seq in 1..=50 {
            session.say(&json!({"type": "ping"})).await;
            while session.hear().await["type"] != "pong" {}
            session.notify(seq).await;
        }
    };
    let (seqs, ()) = tokio::join!(soon(reading), soon(serving));
    assert_eq!(seqs, (1..=50).collect::<Vec<u64>>());
}
