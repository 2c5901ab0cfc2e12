//! `tidings recommend`, against a node as users run it.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Node, Site};

const QUIET: &str = "[follow_events]\nnotify = false\n";
/// More than the command asks for at a time would be slow here; more than it writes at a time is not.
const FOLLOWERS: usize = 250;

fn recommend(node: &Node, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.arg("recommend").args(args).args(["--url", node.url()]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn lists(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn users(lists: &[Value]) -> Vec<&str> {
    lists.iter().map(|list| list["user"].as_str().unwrap()).collect()
}

/// Each of `f0`, `f1` … follows `known`, who follows five users; somebody blocks and mutes, too.
async fn populate(node: &Node) {
    let edge = |follower: &str, followee: &str| {
        format!("{}\n", json!({"follower": follower, "followee": followee}))
    };
    let mut lines = String::new();
    for number in 0..FOLLOWERS {
        lines += &edge(&format!("f{number}"), "known");
        lines += &edge(&format!("f{number}"), "also");
    }
    for number in 0..5 {
        lines += &edge("known", &format!("star{number}"));
    }
    lines += "{\"muter\":\"m\",\"muted\":\"f1\"}\n{\"blocker\":\"f2\",\"blocked\":\"star1\"}\n";
    node.post("/v1/graph/import", lines).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_who_follows_somebody_has_one_line_in_their_order() {
    let site = Site::new(QUIET);
    let node = site.start();
    populate(&node).await;
    let (done, out, err) = recommend(&node, &["--all", "--limit", "2"]);
    assert!(done && err.contains("251 users"), "{err}");
    let all = lists(&out);
    let mut once = users(&all);
    once.sort_unstable();
    once.dedup();
    assert_eq!((all.len(), once.len()), (FOLLOWERS + 1, FOLLOWERS + 1));
    for list in &all {
        let user = list["user"].as_str().unwrap();
        let path = format!("/v1/users/{user}/recommendations?limit=2");
        let expected = node.get(&path).await.expect(200)["recommendations"].clone();
        assert_eq!(list["recommendations"], expected, "{user}");
        assert!(expected.as_array().unwrap().len() <= 2, "{expected}");
    }

    // One that stopped goes on after a user.
    let file = site.path().join("lists.ndjson");
    let file = file.to_str().unwrap();
    std::fs::write(file, format!("{}\n{{\"user\": \"torn", all[99])).unwrap();
    let after = users(&all)[99];
    let args = ["--all", "--limit", "2", "--out", file, "--after", after, "--concurrency", "64"];
    let (done, out, err) = recommend(&node, &args);
    assert!(done && out.is_empty(), "{err}");
    let written = lists(&std::fs::read_to_string(file).unwrap());
    assert_eq!(users(&written), users(&all)[99..]);
    let (done, _, err) = recommend(&node, &["--all", "--after", "nobody"]);
    assert!(!done && err.contains("nobody"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn named_users_have_a_line_each_also_those_whom_nobody_knows() {
    let site = Site::new(QUIET);
    let node = site.start();
    populate(&node).await;
    let (done, out, err) = recommend(&node, &["f1", "stranger", "--explain"]);
    assert!(done, "{err}");
    let named = lists(&out);
    assert_eq!(users(&named), ["f1", "stranger"]);
    assert!(!named[0]["recommendations"].as_array().unwrap().is_empty(), "{out}");
    for args in [&[] as &[&str], &["f1", "--all"], &["f1", "--limit", "101"], &["", "f1"]] {
        let (done, _, err) = recommend(&node, args);
        assert!(!done && !err.is_empty(), "{args:?}: {err}");
    }
    // A file that is there is not overwritten by a slip.
    let file = site.path().join("lists.ndjson.gz");
    let file = file.to_str().unwrap();
    let (done, _, err) = recommend(&node, &["f1", "--out", file]);
    assert!(done, "{err}");
    let (done, _, err) = recommend(&node, &["f1", "--out", file]);
    assert!(!done && err.contains("lists.ndjson.gz"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_is_told_once_however_often_it_runs_in_a_week() {
    let site = Site::new(QUIET);
    let node = site.start();
    populate(&node).await;
    // Should the week end in between, the second run is the first of the next one.
    let (mut told, mut runs) = (String::new(), 0);
    while !told.contains(" 0 told") {
        let (done, out, err) = recommend(&node, &["--all", "--notify", "--title", "For you"]);
        assert!(done && out.is_empty(), "{err}");
        told = err;
        runs += 1;
        assert!(runs <= 3, "{told}");
        if runs == 1 {
            assert!(told.contains("251 users") && !told.contains(" 0 told"), "{told}");
        }
    }
    for user in ["f0", "f249"] {
        let inbox = node.get(&format!("/v1/users/{user}/notifications")).await.expect(200);
        let items = inbox["items"].as_array().unwrap();
        assert_eq!(items.len(), runs - 1, "{inbox}");
        assert_eq!(items[0]["type"], "people_to_follow");
        assert_eq!(items[0]["title"], "For you");
        let top = items[0]["data"]["recommendations"].as_array().unwrap();
        assert!((1..=3).contains(&top.len()), "{inbox}");
        assert!(top.iter().all(|it| it["user"].is_string() && it["reasons"].is_array()), "{inbox}");
    }
}
