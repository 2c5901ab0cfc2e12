//! Blocks and mutes over HTTP.

use serde_json::{Value, json};

use crate::harness::Site;

fn users(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|it| it["user"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_block_ends_follows_and_refuses_new_ones_until_it_is_removed() {
    let site = Site::new("");
    let node = site.start();
    let nothing = json!({});
    node.put("/v1/users/ann/following/ben", &nothing).await.expect(200);
    node.put("/v1/users/ben/following/ann", &nothing).await.expect(200);
    let answer = node.put("/v1/users/ann/blocks/ben", &nothing).await.expect(200);
    assert_eq!(answer, json!({"changed": true}));
    let answer = node.put("/v1/users/ann/blocks/ben", &nothing).await.expect(200);
    assert_eq!(answer, json!({"changed": false}));
    for user in ["ann", "ben"] {
        let counts = node.get(&format!("/v1/users/{user}/counts")).await.expect(200);
        assert_eq!(counts, json!({"followers": 0, "following": 0}));
    }
    for path in ["/v1/users/ann/following/ben", "/v1/users/ben/following/ann"] {
        assert_eq!(node.put(path, &nothing).await.problem(409).0, "blocked", "{path}");
    }
    let blocks = node.get("/v1/users/ann/blocks").await.expect(200);
    assert_eq!(users(&blocks), ["ben"]);
    assert!(blocks["items"][0]["at"].is_string(), "{blocks}");
    assert_eq!(node.get("/v1/users/ben/blocks").await.expect(200), json!({"items": []}));

    for _ in 0..2 {
        node.delete("/v1/users/ann/blocks/ben").await.expect(204);
    }
    node.put("/v1/users/ben/following/ann", &nothing).await.expect(200);
    assert_eq!(node.put("/v1/users/a/blocks/a", &nothing).await.problem(400).1, "other");
}

#[tokio::test]
async fn a_mute_leaves_follows_and_is_listed_in_pages() {
    let site = Site::new("");
    let node = site.start();
    let nothing = json!({});
    node.put("/v1/users/ann/following/ben", &nothing).await.expect(200);
    for other in ["ben", "cat", "dan"] {
        let path = format!("/v1/users/ann/mutes/{other}");
        assert_eq!(node.put(&path, &nothing).await.expect(200)["changed"], true);
        assert_eq!(node.put(&path, &nothing).await.expect(200)["changed"], false);
    }
    assert_eq!(users(&node.get("/v1/users/ann/following").await.expect(200)), ["ben"]);
    let first = node.get("/v1/users/ann/mutes?limit=2").await.expect(200);
    assert_eq!(users(&first), ["dan", "cat"]);
    let next = first["next"].as_str().unwrap();
    let rest = node.get(&format!("/v1/users/ann/mutes?limit=2&cursor={next}")).await.expect(200);
    assert_eq!(users(&rest), ["ben"]);
    let wrong = node.get(&format!("/v1/users/ann/blocks?cursor={next}")).await;
    assert_eq!(wrong.problem(400).1, "cursor");
    node.delete("/v1/users/ann/mutes/cat").await.expect(204);
    assert_eq!(users(&node.get("/v1/users/ann/mutes").await.expect(200)), ["dan", "ben"]);
    assert_eq!(node.put("/v1/users/a/mutes/a", &nothing).await.problem(400).1, "other");
}
