//! The delivery log, through the API and the command line.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    device::{Device, Platform, PushToken},
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    inbox::{Acknowledgement, Stretch},
    ports::{DeviceStore, NotificationStore},
};
use tidings_server::auth::ApiKey;
use tidings_store::{SqliteConfig, SqliteStore};

use crate::{
    harness::{Node, Site, event},
    pushing::{Pushing, deliveries, register},
};

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000).after(Duration::from_secs(secs))
}

/// An attempt for the first inbox of a store.
fn attempt(user: &str, seq: u64, secs: u64) -> Delivery {
    Delivery {
        notification: NotificationId { inbox: InboxNumber(1), seq: Seq(seq) },
        user: UserId::new(user).unwrap(),
        channel: Channel::Apns,
        target: format!("at-{secs}"),
        attempt: 1,
        at: at(secs),
        latency_ms: 3,
        outcome: Outcome::Delivered,
        reason: None,
        provider_id: None,
    }
}

/// Writes a log before a node is there.
async fn write(site: &Site, deliveries: Vec<Delivery>) {
    let store = SqliteStore::open(SqliteConfig::new(site.path().join("data"))).unwrap();
    let user = deliveries[0].user.clone();
    // So that there is an inbox.
    let device = Device::new(
        user.clone(),
        DeviceId::new("phone").unwrap(),
        Platform::Apns,
        "app",
        PushToken::new("ab".repeat(32)).unwrap(),
        at(0),
    );
    store.put_device(device).await.unwrap();
    let noted = Acknowledgement { user, has: Stretch::default(), deliveries };
    store.acknowledge(Arc::new([noted])).await.unwrap();
    store.close().await;
}

fn targets(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|it| it["target"].as_str().unwrap()).collect()
}

/// A site whose log is kept however old it is.
fn site() -> Site {
    Site::new("[retention]\ndeliveries_days = 0\ndevices_days = 0")
}

#[tokio::test]
async fn a_users_log_is_paged_newest_first_and_filtered() {
    let site = site();
    let mut rows: Vec<_> = (1..=4).map(|seq| attempt("ann", seq, seq)).collect();
    rows.push(Delivery { outcome: Outcome::Failed, ..attempt("ann", 2, 9) });
    rows.push(Delivery { channel: Channel::WebSocket, ..attempt("ann", 1, 10) });
    write(&site, rows).await;
    let node = site.start();
    let get = async |query: &str| node.get(&format!("/v1/users/ann/deliveries{query}")).await;
    let all = get("").await.expect(200);
    assert_eq!(targets(&all), ["at-4", "at-3", "at-9", "at-2", "at-10", "at-1"]);
    assert_eq!((&all["items"][0]["channel"], all.get("next")), (&json!("apns"), None));
    let first = get("?limit=4").await.expect(200);
    assert_eq!(targets(&first), ["at-4", "at-3", "at-9", "at-2"]);
    let next = format!("?limit=4&cursor={}", first["next"].as_str().unwrap());
    let second = get(&next).await.expect(200);
    assert_eq!((targets(&second), second.get("next")), (vec!["at-10", "at-1"], None));
    for (query, expected) in [
        ("?outcome=failed", vec!["at-9"]),
        ("?channel=websocket", vec!["at-10"]),
        ("?channel=apns&outcome=skipped", vec![]),
        (&format!("?since={}", at(4)), vec!["at-4", "at-9", "at-10"]),
        (&format!("?until={}", at(2)), vec!["at-1"]),
    ] {
        assert_eq!(targets(&get(query).await.expect(200)), expected, "{query}");
    }
    for (query, field) in [
        ("?channel=sms", "channel"),
        ("?outcome=lost", "outcome"),
        ("?since=yesterday", "since"),
        ("?until=2026-11-01T00:00:00", "until"),
        ("?limit=0", "limit"),
        ("?cursor=7", "cursor"),
        ("?cursor=%2B7.1", "cursor"),
        ("?offset=1", "query"),
    ] {
        assert_eq!(get(query).await.problem(400).1, field, "{query}");
    }
    assert_eq!(node.get("/v1/users/ben/deliveries").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn the_log_of_one_notification_is_paged_oldest_first_and_filtered() {
    const ROWS: u64 = 1_250;
    let site = site();
    let mut node = site.start();
    node.post("/v1/events", event("e1", &["ann"]).to_string()).await.expect(200);
    let inbox = node.get("/v1/users/ann/notifications").await.expect(200);
    let id = inbox["items"][0]["id"].as_str().unwrap().to_owned();
    node.stop();
    let rows = (1..=ROWS).map(|secs| Delivery {
        outcome: if secs == ROWS { Outcome::Delivered } else { Outcome::Retrying },
        // Pairs have the same time.
        at: at(secs / 2),
        ..attempt("ann", 1, secs)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.push(Delivery { channel: Channel::WebSocket, ..attempt("ann", 1, ROWS + 1) });
    write(&site, rows).await;
    node = site.start();
    let path = format!("/v1/notifications/{id}/deliveries");
    let get = async |query: &str| node.get(&format!("{path}{query}")).await;

    let (mut listed, mut query) = (Vec::new(), "?limit=500".to_owned());
    loop {
        let page = get(&query).await.expect(200);
        assert!(targets(&page).len() <= 500);
        listed.extend(targets(&page).into_iter().map(str::to_owned));
        let Some(next) = page.get("next") else { break };
        query = format!("?limit=500&cursor={}", next.as_str().unwrap());
    }
    let expected: Vec<_> = (1..=ROWS + 1).map(|secs| format!("at-{secs}")).collect();
    assert_eq!(listed, expected);
    let (done, lines, err) = deliveries_command(&node, &["show", &id]);
    assert!(done, "{err}");
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), expected.len());
    let first = format!("{}  apns       at-1  attempt 1  retrying   3 ms", at(0));
    assert_eq!(lines[0], first);
    assert!(lines[1_250].contains("websocket  at-1251  attempt 1  delivered"), "{}", lines[1_250]);
    let (_, json, _) = deliveries_command(&node, &["show", &id, "--json"]);
    let of_line = |line| serde_json::from_str::<Value>(line).unwrap()["target"].clone();
    assert_eq!(json.lines().map(of_line).collect::<Vec<_>>(), expected);
    let absent = id.replace(&id[..8], "ffffffff");
    let (done, _, err) = deliveries_command(&node, &["show", &absent]);
    assert!(!done && err.contains("no such notification"), "{err}");
    assert_eq!(targets(&get("").await.expect(200)).len(), 50);
    let window = format!("?since={}&until={}", at(3), at(4));
    for (query, expected) in [
        ("?outcome=delivered", vec!["at-1250", "at-1251"]),
        ("?outcome=delivered&channel=apns", vec!["at-1250"]),
        ("?channel=websocket", vec!["at-1251"]),
        (&window, vec!["at-6", "at-7"]),
        ("?channel=fcm", vec![]),
    ] {
        assert_eq!(targets(&get(query).await.expect(200)), expected, "{query}");
    }
    for (query, field) in [
        ("?channel=sms", "channel"),
        ("?outcome=lost", "outcome"),
        ("?since=yesterday", "since"),
        ("?limit=1001", "limit"),
        ("?cursor=1.1", "cursor"),
        ("?cursor=", "cursor"),
        ("?cursor=-1", "cursor"),
        ("?offset=1", "query"),
    ] {
        assert_eq!(get(query).await.problem(400).1, field, "{query}");
    }
}

#[tokio::test]
async fn the_whole_log_is_read_as_it_was_written_and_gone_on_with() {
    let site = site();
    write(&site, (1..=5).map(|secs| attempt("ann", 1, secs)).collect()).await;
    let node = site.start();
    let get = async |query: &str| node.get(&format!("/v1/deliveries{query}")).await;
    let first = get("?limit=3").await.expect(200);
    assert_eq!(targets(&first), ["at-1", "at-2", "at-3"]);
    let second = get(&format!("?cursor={}", first["next"].as_str().unwrap())).await.expect(200);
    assert_eq!((targets(&second), second.get("next")), (vec!["at-4", "at-5"], None));
    assert_eq!(second["upto"], second["items"][1]["number"]);
    let again = get(&format!("?cursor={}", second["upto"])).await.expect(200);
    assert_eq!((targets(&again), &again["upto"]), (vec![], &second["upto"]));
    let by_number = get(&format!("?cursor={}", first["items"][0]["number"])).await.expect(200);
    assert_eq!(targets(&by_number), ["at-2", "at-3", "at-4", "at-5"]);
    assert_eq!(targets(&get("?user=ben").await.expect(200)), [""; 0]);
    assert_eq!(targets(&get(&format!("?since={}", at(5))).await.expect(200)), ["at-5"]);
    for (query, field) in
        [("?cursor=x", "cursor"), ("?user=", "user"), ("?channel=x", "channel"), ("?x=1", "query")]
    {
        assert_eq!(get(query).await.problem(400).1, field, "{query}");
    }
}

#[tokio::test]
async fn the_log_opens_to_its_scope_and_a_users_own_to_the_user() {
    let [reader, other] = [(); 2].map(|()| ApiKey::generate().unwrap());
    let key = |name, key: &ApiKey, scope| {
        let digest = key.digest_hex();
        format!("[[auth.keys]]\nname = \"{name}\"\nsha256 = \"{digest}\"\nscopes = [\"{scope}\"]\n")
    };
    let secret = "a secret of at least thirty-two bytes";
    let site = Site::new(&format!(
        "{}{}[auth.tokens]\nhs256_secret = \"{secret}\"\n[retention]\ndeliveries_days = 0",
        key("reader", &reader, "deliveries:read"),
        key("other", &other, "inbox:read"),
    ));
    write(&site, vec![attempt("ann", 1, 1)]).await;
    let mut node = site.start().with_bearer(reader.expose());
    for path in ["/v1/deliveries", "/v1/users/ann/deliveries"] {
        assert_eq!(targets(&node.get(path).await.expect(200)), ["at-1"], "{path}");
    }
    node = node.with_bearer(other.expose());
    for path in ["/v1/deliveries", "/v1/users/ann/deliveries"] {
        assert_eq!(node.get(path).await.problem(403).0, "not-allowed", "{path}");
    }
    let token = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["token", "--user", "ann", "--config"])
        .arg(site.path().join("tidings.toml"))
        .output()
        .unwrap();
    node = node.with_bearer(String::from_utf8(token.stdout).unwrap().trim());
    assert_eq!(targets(&node.get("/v1/users/me/deliveries").await.expect(200)), ["at-1"]);
    for path in ["/v1/deliveries", "/v1/users/ben/deliveries"] {
        assert_eq!(node.get(path).await.problem(403).0, "not-allowed", "{path}");
    }
}

fn export(node: &Node, args: &[&str], out: Option<&Path>) -> (bool, String, String) {
    let out = out.map(|it| it.to_str().unwrap());
    let out = out.iter().flat_map(|it| ["--out", *it]);
    let args: Vec<_> = std::iter::once("export").chain(args.iter().copied()).chain(out).collect();
    deliveries_command(node, &args)
}

/// Runs `tidings deliveries …`: whether it succeeded, and what it said.
fn deliveries_command(node: &Node, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.arg("deliveries").args(args).args(["--url", node.url()]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn numbers(lines: &str) -> Vec<u64> {
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64();
    lines.lines().map(|line| number(line).unwrap()).collect()
}

#[tokio::test]
async fn an_export_has_every_attempt_once_however_often_it_is_gone_on_with() {
    const ROWS: u64 = 12_500;
    let site = site();
    let row = |secs: u64| {
        let outcome = if secs.is_multiple_of(6_000) { Outcome::Failed } else { Outcome::Retrying };
        Delivery { outcome, ..attempt("ann", 1, secs) }
    };
    write(&site, (1..=ROWS).map(row).collect()).await;
    let node = site.start();
    let (done, out, err) = export(&node, &[], None);
    assert!(done, "{err}");
    assert_eq!(numbers(&out), (1..=ROWS).collect::<Vec<_>>());
    assert!(err.contains(&format!("{ROWS} attempts; later ones with --after {ROWS}")), "{err}");
    // What is rare is found beyond empty pages.
    let (_, out, _) = export(&node, &["--outcome", "failed", "--channel", "apns"], None);
    assert_eq!(numbers(&out), [6_000, 12_000]);
    let since = at(12_400).to_string();
    let until = at(12_403).to_string();
    let window = ["--since", &since, "--until", &until, "--user", "ann"];
    let (_, out, _) = export(&node, &window, None);
    assert_eq!(numbers(&out), [12_400, 12_401, 12_402]);
    let (done, _, err) = export(&node, &["--channel", "sms"], None);
    assert!(!done && err.contains("is none of websocket"), "{err}");

    // An export that was cut off in the middle of a line goes on behind the last whole one.
    let file = site.path().join("log.ndjson");
    let (done, _, err) = export(&node, &[], Some(&file));
    assert!(done, "{err}");
    let whole = std::fs::read_to_string(&file).unwrap();
    let cut: usize = whole.lines().take(700).map(|line| line.len() + 1).sum();
    std::fs::write(&file, &whole[..cut + 20]).unwrap();
    let (done, _, err) = export(&node, &[], Some(&file));
    assert!(!done && err.contains("log.ndjson"), "it is not overwritten: {err}");
    let (done, _, err) = export(&node, &["--after", "700"], Some(&file));
    assert!(done, "{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), whole);
}

#[tokio::test]
async fn neither_tokens_nor_texts_are_in_the_log() {
    let pushing = Pushing::new().await;
    let node = pushing.site.start();
    register(&node, "ann", "phone", "fcm", "token-of-the-phone").await;
    register(&node, "ann", "pad", "apns", &"ab".repeat(32)).await;
    register(&node, "ann", "old", "fcm", "token-that-is-gone").await;
    let unregistered = tidings_simulators::fcm::FcmDeviceState::Unregistered;
    pushing.fcm.control().set_device("token-that-is-gone", unregistered).unwrap();
    let mut told = event("e1", &["ann"]);
    told["body"] = json!("text of the body");
    told["data"] = json!({"secret": "text of the data"});
    node.post("/v1/events", told.to_string()).await.expect(200);
    deliveries(&node, "ann", |log| log.len() >= 3).await;
    let of_user = node.get("/v1/users/ann/deliveries").await;
    let whole = node.get("/v1/deliveries").await;
    let (_, exported, _) = export(&node, &[], None);
    for text in [&of_user.text, &whole.text, &exported] {
        assert!(text.contains("UNREGISTERED") && text.contains("\"pad\""), "{text}");
        for secret in ["token-", "abab", "text of", "title of"] {
            assert!(!text.to_ascii_lowercase().contains(secret), "{secret}: {text}");
        }
    }
}
