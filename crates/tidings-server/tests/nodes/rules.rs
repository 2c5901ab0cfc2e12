//! What holds for users whose sessions are spread over nodes.

use serde_json::json;
use tidings_client::{Subscription, SubscriptionEvent};

use crate::{
    clients::subscription,
    harness::{Node, PATIENCE, event},
    redis::PrivateRedis,
    scene::{Scene, metric, until_bus, until_nodes},
    until::until,
};

/// Waits for the event that `is_it`, and passes over others.
async fn hear(subscription: &mut Subscription, is_it: impl Fn(&SubscriptionEvent) -> bool) {
    let hear = async { while !is_it(&subscription.next().await.unwrap()) {} };
    tokio::time::timeout(PATIENCE, hear).await.unwrap();
}

/// Users of other nodes that this one knows of.
async fn elsewhere(node: &Node) -> f64 {
    metric(node, "tidings_bus_users_elsewhere").await
}

async fn nodes_agree(redis: PrivateRedis, sections: &str) {
    // An hour: whoever is pushed to within it counted as absent.
    let sections = format!("{sections}\n[routing]\nack_wait_ms = 3600000");
    let scene = Scene::new(redis, 2, &sections);
    let nodes = scene.start_all();
    until_bus(&nodes, true).await;
    until_nodes(&nodes, 1).await;

    let mut ann = subscription(nodes[0].url(), "ann");
    hear(&mut ann, |it| matches!(it, SubscriptionEvent::Welcome { .. })).await;
    until("the other node knows that she is there", async || elsewhere(&nodes[1]).await == 1.0)
        .await;

    for user in ["ann", "ben"] {
        let device = json!({
            "platform": "fcm", "token": format!("token-of-{user}"), "app": "app.example",
        });
        nodes[1].put(&format!("/v1/users/{user}/devices/phone"), &device).await.expect(200);
    }
    let polls = metric(&nodes[0], "tidings_bus_repaired_users_total").await;
    nodes[1].post("/v1/events", event("e1", &["ann", "ben"]).to_string()).await.expect(200);
    hear(&mut ann, |it| matches!(it, SubscriptionEvent::Notification(it) if it.seq == 1)).await;
    let repaired = metric(&nodes[0], "tidings_bus_repaired_users_total").await;
    assert_eq!(repaired, polls, "it came over the bus, and not from the store");
    let late = "SELECT count(*) FROM due_push WHERE \
                due_ms > 1000 * extract(epoch FROM now() + interval '30 minutes')";
    assert_eq!(scene.number(late).await, 1, "her push waits for her, and Ben's does not wait");

    let marks = json!({"up_to_seq": 1}).to_string();
    nodes[1].post("/v1/users/ann/notifications/read", marks).await.expect(200);
    hear(&mut ann, |it| matches!(it, SubscriptionEvent::Unread { unread: 0 })).await;

    let mut ben = subscription(nodes[0].url(), "ben");
    hear(&mut ben, |it| matches!(it, SubscriptionEvent::Welcome { .. })).await;
    nodes[1].post("/v1/users/ben/sessions/revoke", "").await.expect(200);
    let revoked = async { while ben.next().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, revoked).await.unwrap();
    until("the other node knows that he is gone", async || elsewhere(&nodes[1]).await == 1.0).await;

    ann.close().await;
    until("the other node knows that she has left", async || elsewhere(&nodes[1]).await == 0.0)
        .await;
    nodes.into_iter().for_each(|node| tokio::task::block_in_place(|| node.stop()));
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_marks_and_presence_reach_every_node() {
    nodes_agree(PrivateRedis::start().await, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_also_do_over_the_sharded_channels_of_a_cluster() {
    nodes_agree(PrivateRedis::start_cluster().await, "sharded = true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_a_node_that_was_killed_are_absent_soon() {
    let scene = Scene::new(PrivateRedis::start().await, 2, "");
    let mut nodes = scene.start_all();
    until_nodes(&nodes, 1).await;
    let mut ann = subscription(nodes[0].url(), "ann");
    hear(&mut ann, |it| matches!(it, SubscriptionEvent::Welcome { .. })).await;
    until("she is known to be there", async || elsewhere(&nodes[1]).await == 1.0).await;
    nodes.remove(0).kill();
    until("she is known to be gone", async || elsewhere(&nodes[0]).await == 0.0).await;
    assert_eq!(metric(&nodes[0], "tidings_bus_nodes").await, 0.0);
    nodes.into_iter().for_each(|node| tokio::task::block_in_place(|| node.stop()));
    scene.remove().await;
}
