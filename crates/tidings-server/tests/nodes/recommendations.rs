//! What users and servers have said about recommendations holds on every node.

use serde_json::{Value, json};

use crate::{
    harness::Node,
    redis::PrivateRedis,
    scene::{Scene, metric},
    until::until,
};

async fn recommends(node: &Node, name: &str) -> bool {
    let answer = node.get("/v1/users/ann/recommendations").await.expect(200);
    let listed = answer["recommendations"].as_array().unwrap();
    listed.iter().any(|it| it["user"] == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_dismissed_or_hidden_at_one_node_is_recommended_at_none() {
    let scene = Scene::new(PrivateRedis::start().await, 2, "[follow_events]\nnotify = false");
    let nodes = scene.start_all();
    let edge = |follower: &str, followee: &str| {
        format!("{}\n", json!({"follower": follower, "followee": followee}))
    };
    let mut lines = String::new();
    for known in ["k1", "k2", "k3"] {
        lines += &edge("ann", known);
        lines += &["x", "y", "z"].map(|name| edge(known, name)).concat();
    }
    // Each has a graph of its own.
    for node in &nodes {
        node.post("/v1/graph/import", lines.clone()).await.expect(200);
        for name in ["x", "y", "z"] {
            assert!(recommends(node, name).await, "{name}");
        }
    }
    let dismiss = json!({"users": ["x"]}).to_string();
    nodes[0].post("/v1/users/ann/recommendations/dismiss", dismiss).await.expect(204);
    assert!(!recommends(&nodes[1], "x").await, "it is the store's, and read for each list");
    nodes[0].delete("/v1/users/y/recommendable").await.expect(204);
    assert!(!recommends(&nodes[0], "y").await);
    until("the other node hides her", async || !recommends(&nodes[1], "y").await).await;
    assert_eq!(metric(&nodes[1], "tidings_recommendation_hidden_users").await, 1.0);
    nodes[1].put("/v1/users/y/recommendable", &Value::Null).await.expect(204);
    until("the other node shows her again", async || recommends(&nodes[0], "y").await).await;
    assert!(recommends(&nodes[1], "z").await);
    nodes.into_iter().for_each(|node| tokio::task::block_in_place(|| node.stop()));
    scene.remove().await;
}
