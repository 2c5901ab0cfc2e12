//! Records that nobody should send, and topics that are not as they should be, through a whole node.

use serde_json::{Value, json};

use crate::{
    scene::{Scene, Setup, StoreKind, start},
    story::{Draft, event_json},
    verify::{assert_exact, list_dead_letters, until_drained},
};

/// Events have at most so many bytes; what is longer is no event.
const MAX_EVENT_BYTES: usize = 2 << 20;

fn ann() -> Vec<String> {
    vec!["ann".to_owned()]
}

fn event_with(field: &str, value: Value) -> Option<Vec<u8>> {
    Some(event_json("bad", &ann(), &[(field, value)]).to_string().into_bytes())
}

/// Records that are no events, each with what its reason says.
fn bad() -> Vec<(Option<Vec<u8>>, &'static str)> {
    let raw = |fields: &str| {
        let event = r#"{"id":"bad","source":"s","type":"t","audience":{"users":["ann"]},"#;
        Some(format!("{event}{fields}}}").into_bytes())
    };
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    vec![
        (None, "no value"),
        (Some(Vec::new()), "EOF"),
        (Some(b"not json".to_vec()), "expected"),
        (Some(b"{\"id\":\"\xff\xfe\"}".to_vec()), "unicode"),
        (Some(vec![0; 300]), "expected"),
        (Some(b"[1,2,3]".to_vec()), "JSON object"),
        (raw(r#""id":"again""#), "duplicate field"),
        (raw(&format!(r#""data":{deep}"#)), "recursion"),
        (raw(r#""data":"\ud800""#), "data"),
        (raw(r#""title":"a\u0000b""#), "U+0000"),
        (raw(r#""ttl_seconds":0"#), "ttl_seconds"),
        (raw(r#""ttl_seconds":-1"#), "ttl_seconds"),
        (event_with("time", json!("tomorrow")), "time"),
        (event_with("audience", json!({"users": []})), "audience.users"),
        (event_with("audience", json!({"users": ["u"], "followers_of": "v"})), "audience"),
        (event_with("body", json!("x".repeat(4_097))), "body: has 4097 bytes"),
        (Some(vec![b' '; MAX_EVENT_BYTES + 1]), "the limit is"),
    ]
}

/// Odd records that are events all the same.
fn odd() -> Vec<Draft> {
    let users = ann();
    let telling = |id: &str, fields: &[(&str, Value)]| {
        Draft::telling(id, &users, event_json(id, &users, fields).to_string())
    };
    // As large as a record usually may be, most of it in a field that nobody knows.
    let large = telling("large", &[("unknown", json!("x".repeat((1 << 20) - 2_000)))]);
    let mut everyone: Vec<_> = (0..2_000).map(|n| format!("crowd{n}")).collect();
    everyone.push("ann".to_owned());
    let crowd = Draft::telling("crowd", &users, event_json("crowd", &everyone, &[]).to_string());
    let deep_unknown = format!(
        r#"{{"id":"deep","source":"s","type":"t","audience":{{"users":["ann"]}},"x":{}1{}}}"#,
        r#"{"x":"#.repeat(20_000),
        "}".repeat(20_000)
    );
    vec![
        large,
        crowd,
        Draft::telling("deep", &users, deep_unknown),
        telling("past", &[("time", json!("1970-01-01T00:00:00Z"))]),
        telling("future", &[("time", json!("9999-12-31T23:59:59Z")), ("ttl_seconds", json!(9))]),
        telling("expired", &[("time", json!("2001-01-01T00:00:00Z")), ("ttl_seconds", json!(1))]),
        telling("漢字 🙂 \u{202e}", &[("title", json!("\u{202e}🙂"))]),
        Draft::telling(
            "keys",
            &users,
            r#"{"id":"keys","source":"s","type":"t","audience":{"users":["ann"]},"data":{"k":1,"k":2}}"#,
        ),
    ]
}

async fn bad_records_hold_nothing_up(store: StoreKind) {
    let mut setup = Setup::new(store, 1);
    setup.kafka = "dead_letter_payload_bytes = 1000".to_owned();
    let topic = tidings_testkit::services::unique_name("events");
    let admin = crate::broker::Admin::of(&setup.brokers);
    admin.create_topic_with(&topic, 1, &[("max.message.bytes", "4000000")]).await;
    let scene = Scene::on_topic(setup, topic, "node-1").await;
    let (mut drafts, mut reasons) = (odd(), Vec::new());
    for (index, (value, reason)) in bad().into_iter().enumerate() {
        drafts.push(Draft::poison(value));
        reasons.push(reason);
        drafts.push(Draft::event(&format!("good{index}"), &ann()));
    }
    let mut writer = scene.writer();
    writer.write(&drafts).await;
    let node = scene.start();
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    let mut letters = list_dead_letters(&node).await;
    letters.reverse();
    for (letter, reason) in letters.iter().zip(&reasons) {
        assert!(letter["reason"].as_str().unwrap().contains(reason), "{reason}: {letter}");
        assert_eq!(letter["stage"], "decode");
    }
    let longest = format!("/v1/dead-letters/{}", letters.last().unwrap()["id"]);
    let longest = node.get(&longest).await.expect(200);
    assert_eq!(longest["payload_bytes"], MAX_EVENT_BYTES + 1);
    assert_eq!(longest["payload"].as_str().unwrap().len(), 1_000);
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_record_is_one_dead_letter_and_holds_nothing_up_on_sqlite() {
    bad_records_hold_nothing_up(StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_record_is_one_dead_letter_and_holds_nothing_up_on_postgres() {
    bad_records_hold_nothing_up(StoreKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_not_written_again_by_a_node_that_starts_again() {
    let scene = Scene::new(Setup::new(StoreKind::Postgres, 2)).await;
    let mut writer = scene.writer();
    for round in 0..3 {
        let bad = Draft::poison(Some(b"bad".to_vec())).on(round % 2);
        writer.write(&[bad, Draft::event(&format!("e{round}"), &ann())]).await;
        let node = start(&scene.site);
        until_drained(&node, &writer.ledger).await;
        assert_exact(&node, &writer.ledger).await;
        node.kill();
    }
    scene.remove().await;
}
