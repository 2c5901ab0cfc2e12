//! Positions in Kafka, through the API and the command line.

use std::process::Command;

use serde_json::json;

use crate::harness::Site;

#[tokio::test]
async fn a_position_is_moved_by_hand_and_listed() {
    let node_toml = "[kafka]\nbrokers = \"127.0.0.1:1\"\ntopics = [{ name = \"events\" }]";
    let site = Site::new(node_toml);
    let node = site.start();
    assert_eq!(node.get("/v1/offsets").await.expect(200), json!([]));
    let moved = node.put("/v1/offsets/events/3", &json!({"next_offset": 120})).await.expect(200);
    assert_eq!((&moved["next_offset"], &moved["partition"]), (&json!(120), &json!(3)));
    let epoch = moved["epoch"].as_u64().unwrap();
    let reset = node.put("/v1/offsets/events/3", &json!({"next_offset": null})).await.expect(200);
    assert!(reset.get("next_offset").is_none(), "{reset}");
    assert!(reset["epoch"].as_u64().unwrap() > epoch, "whoever reads it is fenced");
    for (path, field) in [("events/-1", "partition"), ("events/x", "partition")] {
        let path = format!("/v1/offsets/{path}");
        assert_eq!(node.put(&path, &json!({"next_offset": 1})).await.problem(400).1, field);
    }
    // What is missing or misspelt moves nothing.
    for body in [json!({}), json!({"offset": 1}), json!({"next_offset": "1"}), json!(7)] {
        node.put("/v1/offsets/events/3", &body).await.problem(400);
    }
    for topic in ["event", "Events", "other"] {
        let path = format!("/v1/offsets/{topic}/3");
        let answer = node.put(&path, &json!({"next_offset": 1})).await;
        assert!(answer.json()["detail"].as_str().unwrap().contains(topic), "{answer:?}");
        assert_eq!(answer.problem(404), ("unknown-topic".to_owned(), "topic".to_owned()));
    }
    assert_eq!(node.get("/v1/offsets").await.expect(200), json!([reset]));
    let body = json!({"next_offset": -1});
    assert_eq!(node.put("/v1/offsets/events/3", &body).await.problem(400).1, "next_offset");

    let tidings = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        let output = command.arg("offsets").args(args).args(["--url", node.url()]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let set = ["set", "--topic", "events", "--partition", "3", "--offset", "77"];
    assert!(tidings(&set).starts_with("events/3  77"));
    assert!(tidings(&["list"]).starts_with("events/3  77"));
    assert!(
        tidings(&["set", "--topic", "events", "--partition", "3", "--reset"])
            .starts_with("events/3  not read yet")
    );
}
