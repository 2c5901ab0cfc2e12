//! What a session promises, rule by rule.

use std::time::Duration;

use serde_json::json;
use tidings_core::{
    ids::Seq,
    inbox::{InboxState, Mark, Selection},
    ports::Presence,
};

use crate::doubles::{SLOW, Sent, Server, ann, until};

#[tokio::test(start_paused = true)]
async fn a_client_that_says_no_seq_gets_what_is_new() {
    let mut server = Server::new(8, 3);
    server.tell();
    let mut client = server.welcome(None).await;
    server.tell();
    assert_eq!(client.hear_seq().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_gets_everything_since_and_then_what_is_new() {
    let mut server = Server::new(8, 3);
    for _ in 0..10 {
        server.tell();
    }
    let mut client = server.welcome(Some(4)).await;
    server.tell();
    for seq in 5..=11 {
        assert_eq!(client.hear_seq().await, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_seq_that_the_inbox_does_not_have_counts_as_its_newest() {
    let mut server = Server::new(8, 3);
    server.tell();
    let mut client = server.welcome(Some(99)).await;
    server.tell();
    assert_eq!(client.hear_seq().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_loses_its_queue_and_not_one_notification() {
    let mut server = Server::new(2, 3);
    let mut client = server.connect(1);
    client.say(&json!({"type": "hello", "token": "user:ann"})).await;
    client.hear_frame("welcome").await;
    for _ in 0..50 {
        server.tell();
        tokio::task::yield_now().await;
    }
    for seq in 1..=50 {
        assert_eq!(client.hear_seq().await, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_for_so_long_is_cut_off_as_too_slow() {
    let mut server = Server::new(2, 3);
    let mut client = server.connect(1);
    client.say(&json!({"type": "hello", "token": "user:ann"})).await;
    client.hear_frame("welcome").await;
    for _ in 0..5 {
        server.tell();
    }
    // It reads again just in time to see why.
    tokio::time::sleep(SLOW + Duration::from_secs(1)).await;
    let mut last = client.hear().await;
    while let Sent::Frame(_) = last {
        last = client.hear().await;
    }
    assert_eq!(last, Sent::Close(4508));
    assert!(!server.pool.is_online(&ann()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_frame_now_and_then_is_not_cut_off_and_misses_nothing() {
    let mut server = Server::new(2, 3);
    let mut client = server.connect(1);
    client.say(&json!({"type": "hello", "token": "user:ann"})).await;
    client.hear_frame("welcome").await;
    for _ in 0..20 {
        server.tell();
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        tokio::time::sleep(SLOW.saturating_sub(Duration::from_secs(1))).await;
        client.pong();
        let Sent::Frame(frame) = client.hear().await else { panic!("cut off after {seen:?}") };
        if frame["type"] == "notification" {
            seen.push(frame["seq"].as_u64().unwrap());
        }
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_with_the_new_token_of_its_user() {
    let mut server = Server::new(8, 3);
    let mut client = server.connect(64);
    client.say(&json!({"type": "hello", "token": "user:ann:10"})).await;
    client.hear_frame("welcome").await;
    client.say(&json!({"type": "renew", "token": "user:ann:20"})).await;
    let renewed = client.hear_frame("renewed").await;
    assert_eq!(renewed["expires_ms"], 1_790_000_020_000_i64);
    tokio::time::sleep(Duration::from_secs(15)).await;
    server.tell();
    assert_eq!(client.hear_seq().await, 1, "the first token has ended by now");
    assert_eq!(client.hear().await, Sent::Close(4401));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_with_a_token_that_is_not_valid_changes_nothing() {
    let mut server = Server::new(8, 3);
    let mut client = server.connect(64);
    client.say(&json!({"type": "hello", "token": "user:ann:10"})).await;
    client.hear_frame("welcome").await;
    client.say(&json!({"type": "renew", "token": "forged"})).await;
    client.hear_frame("error").await;
    server.tell();
    assert_eq!(client.hear_seq().await, 1);
    assert_eq!(client.hear().await, Sent::Close(4401));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_with_the_token_of_another_user_is_closed_with_4403() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    client.say(&json!({"type": "renew", "token": "user:ben"})).await;
    assert_eq!(client.hear().await, Sent::Close(4403));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_ends_the_session_its_renewal_and_the_next_hello() {
    let mut server = Server::new(8, 3);
    let mut open = server.welcome(None).await;
    let mut renewed = server.welcome(None).await;
    server.tokens.revoke_all();
    renewed.say(&json!({"type": "renew", "token": "user:ann"})).await;
    assert_eq!(renewed.hear().await, Sent::Close(4401));
    server.pool.recheck_sessions(&ann());
    assert_eq!(open.hear().await, Sent::Close(4401));
    let mut late = server.connect(8);
    late.say(&json!({"type": "hello", "token": "user:ann"})).await;
    assert_eq!(late.hear().await, Sent::Close(4401));
    assert!(!server.pool.is_online(&ann()));
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_token_holds_stays_when_it_is_asked_to_look() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    server.pool.recheck_sessions(&ann());
    server.tell();
    assert_eq!(client.hear_seq().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_too_much_is_heard_at_its_pace_and_loses_nothing() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    let start = tokio::time::Instant::now();
    for _ in 0..130 {
        client.say(&json!({"type": "ping"})).await;
    }
    for _ in 0..130 {
        client.hear_frame("pong").await;
    }
    // Virtual time: a hundred at once, and thirty at ten per second.
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_device_of_a_hello_is_the_target_in_the_delivery_log() {
    let mut server = Server::new(8, 3);
    let mut client = server.connect(8);
    client.say(&json!({"type": "hello", "token": "user:ann", "device": "phone"})).await;
    client.hear_frame("welcome").await;
    server.tell();
    client.hear_seq().await;
    client.say(&json!({"type": "ack", "seq": 1})).await;
    server.acked(Seq(1)).await;
    assert_eq!(server.inbox.deliveries()[0].target, "phone");
    let mut long = server.connect(8);
    let device = "x".repeat(129);
    long.say(&json!({"type": "hello", "token": "user:ann", "device": device})).await;
    assert_eq!(long.hear().await, Sent::Close(4400));
}

#[tokio::test(start_paused = true)]
async fn an_ack_reaches_the_store_with_its_deliveries() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    for seq in 1..=3 {
        server.tell();
        assert_eq!(client.hear_seq().await, seq);
    }
    client.say(&json!({"type": "ack", "seq": 2})).await;
    client.say(&json!({"type": "ack", "seq": 2})).await;
    server.acked(Seq(2)).await;
    let seqs: Vec<_> =
        server.inbox.deliveries().iter().map(|delivery| delivery.notification.seq.0).collect();
    assert_eq!(seqs, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_acknowledges_what_it_has() {
    let mut server = Server::new(8, 3);
    for _ in 0..3 {
        server.tell();
    }
    let _client = server.welcome(Some(2)).await;
    server.acked(Seq(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_acknowledges_nothing_of_what_came_before_it_began() {
    let mut server = Server::new(8, 3);
    for _ in 0..3 {
        server.tell();
    }
    let mut client = server.welcome(None).await;
    for seq in 4..=5 {
        server.tell();
        assert_eq!(client.hear_seq().await, seq);
    }
    client.say(&json!({"type": "ack", "seq": 4})).await;
    server.acked(Seq(4)).await;
    assert_eq!(server.inbox.acked().after, Seq(3));
    drop(client);
    // When it comes back it says where it began.
    let hello = json!({"type": "hello", "token": "user:ann", "last_seq": 5, "after_seq": 3});
    let mut client = server.connect(8);
    client.say(&hello).await;
    client.hear_frame("welcome").await;
    server.acked(Seq(5)).await;
    assert_eq!(server.inbox.acked().after, Seq(3));
    // One that has everything says so.
    let _whole = server.welcome(Some(5)).await;
    until(|| server.inbox.acked().after == Seq::ZERO).await;
    assert_eq!(server.inbox.acked().upto, Seq(5));
}

#[tokio::test(start_paused = true)]
async fn marks_are_mirrored_to_all_the_users_sessions() {
    let mut server = Server::new(8, 3);
    server.tell();
    let mut phone = server.welcome(None).await;
    let mut laptop = server.welcome(None).await;
    phone.say(&json!({"type": "read", "up_to_seq": 1})).await;
    for client in [&mut phone, &mut laptop] {
        let update = client.hear_frame("update").await;
        assert_eq!(
            update,
            json!({"type": "update", "read": {"up_to_seq": 1}, "unread": 0, "seq": 1})
        );
    }
    // What is not there yet was not marked.
    laptop.say(&json!({"type": "read", "up_to_seq": 99})).await;
    assert_eq!(laptop.hear_frame("update").await["read"], json!({"up_to_seq": 1}));
    let state = InboxState { last_seq: Seq(1), ..InboxState::default() };
    server.pool.broadcast_mark(&ann(), Mark::Archived, &Selection::UpTo(Seq(1)), &state);
    assert_eq!(laptop.hear_frame("update").await["archived"], json!({"up_to_seq": 1}));
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_closed_with_4400() {
    for text in [
        "not json",
        "[]",
        r#"{"type":"hello","token":"user:ann"}"#,
        r#"{"type":"ack","seq":1}"#,
        r#"{"type":"ack"}"#,
        r#"{"type":"read"}"#,
        r#"{"type":"read","up_to_seq":1,"ids":[]}"#,
    ] {
        let mut server = Server::new(8, 3);
        let mut client = server.welcome(None).await;
        client.say_text(text).await;
        assert_eq!(client.hear().await, Sent::Close(4400), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_frame_has_to_be_a_hello_with_a_valid_token_in_time() {
    for (first, code) in [
        (r#"{"type":"ping"}"#, 4400),
        (r#"{"type":"hello"}"#, 4400),
        (r#"{"type":"hello","token":"user:ann","ticket":"t"}"#, 4400),
        (r#"{"type":"hello","ticket":"forged"}"#, 4401),
        (r#"{"type":"wave"}"#, 4400),
        (r#"{"type":"hello","token":"forged"}"#, 4401),
    ] {
        let mut server = Server::new(8, 3);
        let mut client = server.connect(8);
        client.say_text(first).await;
        assert_eq!(client.hear().await, Sent::Close(code), "{first}");
    }
    let mut server = Server::new(8, 3);
    let mut silent = server.connect(8);
    assert_eq!(silent.hear().await, Sent::Close(4408));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_frame_is_answered_and_the_session_goes_on() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    client.say(&json!({"type": "wave".repeat(10_000)})).await;
    let error = client.hear_frame("error").await;
    assert!(error["reason"].as_str().unwrap().len() < 200, "a long name is not said back whole");
    client.say(&json!({"type": "ping"})).await;
    client.hear_frame("pong").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_after_a_heartbeat_and_closed_after_two() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    client.hear_frame("ping").await;
    client.say(&json!({"type": "pong"})).await;
    client.hear_frame("ping").await;
    assert_eq!(client.hear().await, Sent::Close(4408));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token() {
    let mut server = Server::new(8, 3);
    let mut client = server.connect(8);
    client.say(&json!({"type": "hello", "token": "user:ann:0"})).await;
    client.hear_frame("welcome").await;
    assert_eq!(client.hear().await, Sent::Close(4401));
}

#[tokio::test(start_paused = true)]
async fn one_session_too_many_is_closed_with_4429() {
    let mut server = Server::new(8, 3);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(server.welcome(None).await);
    }
    let mut fourth = server.connect(8);
    fourth.say(&json!({"type": "hello", "token": "user:ann"})).await;
    assert_eq!(fourth.hear().await, Sent::Close(4429));
    drop(open);
    until(|| !server.pool.is_online(&ann())).await;
    server.welcome(None).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_says_bye_and_closes_with_1012() {
    let mut server = Server::new(8, 3);
    let mut client = server.welcome(None).await;
    server.stop.cancel();
    let bye = client.hear_frame("bye").await;
    assert!(bye["retry_ms"].as_u64().unwrap() <= 5_000);
    assert_eq!(client.hear().await, Sent::Close(1012));
}

#[tokio::test(start_paused = true)]
async fn a_session_costs_next_to_nothing_beside_its_socket() {
    let server = Server::new(8, 3);
    let bytes = server.size_of_session();
    assert!(bytes <= 2_048, "{bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_the_session_of_its_user_in_place_of_the_token() {
    let mut server = Server::new(8, 3);
    server.tell();
    let mut client = server.connect(8);
    client.say(&json!({"type": "hello", "token": "user:ann"})).await;
    let ticket = client.hear_frame("welcome").await["ticket"].clone();
    for _ in 0..2 {
        let mut again = server.connect(8);
        again.say(&json!({"type": "hello", "ticket": ticket, "last_seq": 0})).await;
        let welcome = again.hear_frame("welcome").await;
        assert_eq!((&welcome["user"], &welcome["seq"]), (&json!("ann"), &json!(1)));
        assert!(welcome["ticket"].is_string());
        assert_eq!(again.hear_seq().await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_ends_when_its_token_would_have_and_when_that_is_revoked() {
    let mut server = Server::new(8, 3);
    let mut tickets = Vec::new();
    for token in ["user:ann:0", "user:ann"] {
        let mut client = server.connect(8);
        client.say(&json!({"type": "hello", "token": token})).await;
        tickets.push(client.hear_frame("welcome").await["ticket"].clone());
    }
    server.tokens.revoke_all();
    for ticket in tickets {
        let mut again = server.connect(8);
        again.say(&json!({"type": "hello", "ticket": ticket})).await;
        assert_eq!(again.hear().await, Sent::Close(4401));
    }
}
