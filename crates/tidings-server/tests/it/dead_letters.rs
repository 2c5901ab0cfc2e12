//! Dead letters, through the API and the command line.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Node, Site, event};

/// A letter about an event whose title is too long, and its number.
async fn one_letter(node: &Node, id: &str) -> u64 {
    let mut bad = event(id, &["ann"]);
    bad["title"] = "x".repeat(257).into();
    let array = json!([bad, event("good", &["ben"])]);
    node.post("/v1/events", array.to_string()).await.expect(207);
    let letters = node.get("/v1/dead-letters?limit=1").await.expect(200);
    letters["items"][0]["id"].as_u64().unwrap()
}

fn dlq(node: &Node, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.arg("dlq").args(args).args(["--url", node.url()]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_letter_says_what_was_wrong_with_which_input() {
    let site = Site::new("");
    let node = site.start();
    let id = one_letter(&node, "e1").await;
    let letter = node.get(&format!("/v1/dead-letters/{id}")).await.expect(200);
    assert_eq!((&letter["origin"], &letter["stage"]), (&json!("http"), &json!("decode")));
    assert!(letter["reason"].as_str().unwrap().starts_with("title:"), "{letter}");
    let payload = letter["payload"].as_str().unwrap();
    assert_eq!(letter["payload_bytes"], payload.len());
    assert_eq!(serde_json::from_str::<Value>(payload).unwrap()["id"], "e1");
    assert_eq!(node.get("/v1/dead-letters").await.expect(200)["total"], 1);
    assert_eq!(node.get("/v1/dead-letters/999").await.problem(404).0, "not-found");
    assert_eq!(node.get("/v1/dead-letters/x").await.problem(400).1, "id");
}

#[tokio::test]
async fn a_list_shows_how_inputs_begin_and_the_letter_all_of_it() {
    let site = Site::new("");
    let node = site.start();
    // 3 bytes a character: the 256th byte is in the middle of one.
    let bad = format!("\"a{}\"", "€".repeat(20_000));
    let mut array = vec![bad.clone(); 40];
    array.push(event("good", &["ben"]).to_string());
    node.post("/v1/events", format!("[{}]", array.join(","))).await.expect(207);
    let answer = node.get("/v1/dead-letters?limit=35").await;
    assert!(answer.text.len() < 35 * 1_200, "{} bytes", answer.text.len());
    let page = answer.expect(200);
    let items = page["items"].as_array().unwrap();
    assert_eq!((items.len(), &page["total"]), (35, &json!(40)));
    for item in items {
        assert_eq!(item["preview"], bad[..254]);
        assert_eq!((&item["payload_bytes"], item.get("payload")), (&json!(bad.len()), None));
    }
    let rest = format!("/v1/dead-letters?cursor={}", page["next"].as_str().unwrap());
    let rest = node.get(&rest).await.expect(200);
    assert_eq!((rest["items"].as_array().unwrap().len(), rest.get("next")), (5, None));
    let letter = node.get(&format!("/v1/dead-letters/{}", items[0]["id"])).await.expect(200);
    assert_eq!(letter["payload"], bad);
}

#[tokio::test]
async fn whatever_a_path_names_is_answered_by_a_problem_or_as_asked() {
    let site = Site::new("");
    let node = site.start();
    let id = one_letter(&node, "e1").await;
    for (name, status) in [
        ("999", 404),
        ("18446744073709551615", 404),
        ("0", 404),
        ("18446744073709551616", 400),
        ("x", 400),
        (&format!("{id}x"), 400),
        (&format!("+{id}"), 400),
        (&format!("-{id}"), 400),
        ("%FF", 400),
    ] {
        let path = format!("/v1/dead-letters/{name}");
        node.get(&path).await.problem(status);
        node.post(&format!("{path}/replay"), "").await.problem(status);
        if status == 400 {
            node.delete(&path).await.problem(400);
        } else {
            node.delete(&path).await.expect(204);
        }
    }
    assert_eq!(node.post("/v1/dead-letters//replay", "").await.problem(400).1, "id");
    for body in ["7", "[]", "{", "\u{0}"] {
        let path = format!("/v1/dead-letters/{id}/replay");
        assert_eq!(node.post(&path, body).await.problem(400).0, "invalid-event", "{body}");
    }
    assert_eq!(node.get("/v1/dead-letters").await.expect(200)["total"], 1, "it is kept");
    let (done, out, err) = dlq(&node, &["replay", "999", &id.to_string(), &id.to_string()]);
    assert!(!done && out.contains("0 replayed, 2 refused"), "{out}{err}");
}

#[tokio::test]
async fn a_letter_is_replayed_as_it_is_or_as_it_should_have_been() {
    let site = Site::new("");
    let node = site.start();
    let id = one_letter(&node, "e1").await;
    let path = format!("/v1/dead-letters/{id}/replay");
    let refused = node.post(&path, "").await.problem(422);
    assert_eq!(refused, ("invalid-event".to_owned(), "title".to_owned()));
    assert_eq!(node.get("/v1/dead-letters").await.expect(200)["total"], 1, "it is kept");
    let answer = node.post(&path, event("e1", &["ann"]).to_string()).await.expect(200);
    assert_eq!(answer["results"][0]["notifications"], 1);
    assert_eq!(node.post(&path, "").await.problem(404).0, "not-found");
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!(page["items"][0]["event_id"], "e1");
}

#[tokio::test]
async fn the_command_line_lists_shows_replays_and_drops() {
    let site = Site::new("");
    let node = site.start();
    let first = one_letter(&node, "e1").await.to_string();
    let second = one_letter(&node, "e2").await.to_string();
    let (done, out, err) = dlq(&node, &["list"]);
    assert!(done && out.lines().count() == 2 && out.contains("title:"), "{out}{err}");
    let (_, out, _) = dlq(&node, &["list", "--json", "--limit", "1"]);
    let letter: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(letter["id"].to_string(), second);
    let (_, out, _) = dlq(&node, &["show", &first]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["stage"], "decode");

    let mended = site.path().join("mended.json");
    std::fs::write(&mended, event("e1", &["ann"]).to_string()).unwrap();
    let (done, out, err) = dlq(&node, &["replay", &first, "--event", mended.to_str().unwrap()]);
    assert!(done && out.contains("1 replayed, 0 refused"), "{out}{err}");
    let (done, _, err) = dlq(&node, &["replay", "--all"]);
    assert!(!done && err.contains("title"), "{err}");
    let (done, out, err) = dlq(&node, &["drop", "--all"]);
    assert!(done && out.contains("1 removed"), "{out}{err}");
    assert_eq!(node.get("/v1/dead-letters").await.expect(200)["total"], 0);
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!(page["last_seq"], 1);
}
