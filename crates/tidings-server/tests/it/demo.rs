//! The demo, as a user runs it.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_demo_tells_everyone_once_and_counts_it_on_their_screens() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["demo", "--json", "--events", "150", "--rate", "50", "--online", "200"])
        .args(["--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["events"], 150, "{summary}\n{errors}");
    assert_eq!((&summary["holes"], &summary["duplicates"]), (&0.into(), &0.into()), "{summary}");
    let count = |path: &str| summary.pointer(path).unwrap().as_u64().unwrap();
    assert!(count("/stored") >= 150 && count("/rss_bytes") > 0, "{summary}");
    for channel in ["websocket", "apns", "fcm"] {
        assert!(count(&format!("/delivered/{channel}")) > 0, "{summary}");
    }
    let latency = &summary["latency_ms"];
    assert!(latency["p50"].as_f64().unwrap() <= latency["p99"].as_f64().unwrap(), "{summary}");
}

/// All follow one user, whose phone gets more than FCM takes for one device in a minute.
#[test]
fn a_demo_that_is_as_fast_as_it_can_be_does_not_wait_for_quotas() {
    let graph = tempfile::NamedTempFile::new().unwrap();
    let follows: Vec<_> = (2..=40).map(|follower| format!("{follower} 1\n")).collect();
    std::fs::write(graph.path(), follows.concat()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["demo", "--json", "--events", "800", "--rate", "0", "--online", "1"])
        .args(["--listen", "127.0.0.1:0", "--graph"])
        .arg(graph.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&summary["holes"], &summary["duplicates"]), (&0.into(), &0.into()), "{summary}");
    assert!(summary.pointer("/delivered/fcm").unwrap().as_u64() > Some(240), "{summary}");
}

#[test]
fn a_demo_that_cannot_run_says_why() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["demo", "--graph", "/no/such/file"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("neither `small`, `medium` nor a readable edge list"), "{message}");
}
