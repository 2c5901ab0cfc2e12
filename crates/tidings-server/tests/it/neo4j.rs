//! A node whose graph is on Neo4j.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tidings_testkit::services::{neo4j_password, neo4j_uri, neo4j_user, redis_url, unique_name};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::harness::{Answer, Node, PATIENCE, Site};

/// One prefix for all runs: users of a test have names of their own.
fn toml(url: &str, password: &str) -> String {
    format!(
        "[graph.neo4j]\nurl = \"{url}\"\nuser = \"{}\"\npassword = \"{password}\"\n\
         prefix = \"TidingsNode\"\nconnections = 4\nconnect_timeout_ms = 1000\n\
         query_timeout_ms = 20000\n",
        neo4j_user()
    )
}

/// Passes bytes on to Neo4j while it is kept; port 0 is any.
async fn way_to_neo4j(from: &str) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind(from).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = neo4j_uri().strip_prefix("bolt://").unwrap().to_owned();
    let mut way = JoinSet::new();
    way.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut node, _)) = listener.accept().await {
            let server = server.clone();
            connections.spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                // Either end may close at any time.
                drop(copy_bidirectional(&mut node, &mut server).await);
            });
        }
    });
    (address, way)
}

fn start(site: &Site) -> Node {
    tokio::task::block_in_place(|| site.start())
}

async fn graph_part(node: &Node) -> serde_json::Value {
    let ready = node.get("/readyz").await.expect(200);
    let parts = ready["parts"].as_array().unwrap();
    parts.iter().find(|part| part["name"] == "graph").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_on_one_node_is_told_by_another() {
    let toml = toml(&neo4j_uri(), neo4j_password());
    let (one, other) = (Site::new(&toml), Site::new(&toml));
    let (one, other) = (start(&one), start(&other));
    let [ann, ben, cem] = ["ann", "ben", "cem"].map(unique_name);
    for fan in [&ben, &cem] {
        one.put(&format!("/v1/users/{fan}/following/{ann}"), &json!({})).await.expect(200);
    }
    other.put(&format!("/v1/users/{cem}/mutes/{ann}"), &json!({})).await.expect(200);
    let event = json!({
        "id": unique_name("event"), "source": "test", "type": "post", "title": "Hello",
        "actor": ann, "audience": {"followers_of": ann},
    });
    other.post("/v1/events", event.to_string()).await.expect(200);
    for (user, told) in [(&ben, 1), (&cem, 0)] {
        let path = format!("/v1/users/{user}/notifications");
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let inbox = other.get(&path).await.expect(200);
            let items = inbox["items"].as_array().unwrap();
            if items.len() == told {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{user}: {inbox}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let counts = one.get(&format!("/v1/users/{ann}/counts")).await.expect(200);
    assert_eq!(counts["followers"], 2);
    one.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_costs_that_neo4j_is_away() {
    let (address, way) = way_to_neo4j("127.0.0.1:0").await;
    let site = Site::new(&toml(&format!("bolt://{address}"), neo4j_password()));
    let node = start(&site);
    assert_eq!(graph_part(&node).await["up"], true);
    drop(way);
    let part = graph_part(&node).await;
    assert_eq!(part["up"], false, "{part}");
    assert!(part["costs"].as_str().unwrap().contains("follows"), "{part}");
    // What names its users goes on.
    let event = crate::harness::event("e1", &["ann"]).to_string();
    let Answer { status, .. } = node.post("/v1/events", event).await;
    assert_eq!(status, 200);
    assert!(!site.log().contains(neo4j_password()), "the password is in the log");
    node.stop();
}

#[test]
fn a_node_refuses_to_start_with_a_wrong_password_and_does_not_show_it() {
    let said = Site::new(&toml(&neo4j_uri(), "not-the-password")).refused();
    assert!(said.contains("graph.neo4j"), "{said}");
    assert!(!said.contains("not-the-password"), "{said}");
}

/// With a cache that all nodes of this prefix share.
fn cached_toml(prefix: &str) -> String {
    // The cache opens a hold after the first node starts, and a hold has to be longer than a change.
    let neo4j = toml(&neo4j_uri(), neo4j_password()).replace("20000", "5000");
    format!(
        "{neo4j}[graph.cache]\nenabled = true\n[graph.cache.redis]\nurl = \"{}\"\n\
         prefix = \"{prefix}\"\nlease_ms = 300\nanswer_timeout_ms = 200\nhold_ms = 6000\n",
        redis_url()
    )
}

async fn hits(node: &Node) -> f64 {
    let metrics = node.get("/metrics").await.text;
    let reads = metrics.lines().filter(|it| it.starts_with("tidings_graph_cache_reads_total{"));
    let kept = reads.filter(|it| it.contains("from=\"process\"") || it.contains("from=\"redis\""));
    kept.map(|it| it.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_a_cache_see_each_others_follows_at_once() {
    let toml = cached_toml(&unique_name("cache"));
    let sites = [Site::new(&toml), Site::new(&toml)];
    let nodes = [start(&sites[0]), start(&sites[1])];
    let [ann, ben] = ["ann", "ben"].map(unique_name);
    let check = json!({"follower": ann, "followees": [ben]}).to_string();
    let path = format!("/v1/users/{ann}/following/{ben}");
    // The cache opens when both nodes have been seen for a while.
    let deadline = std::time::Instant::now() + PATIENCE;
    while hits(&nodes[0]).await < 5.0 || hits(&nodes[1]).await < 5.0 {
        assert!(std::time::Instant::now() < deadline, "the cache keeps nothing");
        for node in &nodes {
            node.get(&format!("/v1/users/{ben}/counts")).await.expect(200);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for turn in 0..60 {
        let (writer, reader) = (&nodes[turn % 2], &nodes[1 - turn % 2]);
        let follows = turn % 3 != 2;
        if follows {
            writer.put(&path, &json!({})).await.expect(200);
        } else {
            writer.delete(&path).await.expect(204);
        }
        for node in [reader, writer] {
            let checked = node.post("/v1/graph/check", check.clone()).await.expect(200);
            assert_eq!(checked["following"], json!([follows]), "turn {turn}");
            let counts = node.get(&format!("/v1/users/{ben}/counts")).await.expect(200);
            assert_eq!(counts["followers"], u64::from(follows), "turn {turn}");
        }
    }
    for node in nodes {
        node.stop();
    }
}

#[test]
fn a_cache_before_the_embedded_graph_is_refused() {
    let said = Site::new("[graph.cache]\nenabled = true\n").refused();
    assert!(said.contains("graph.cache.enabled"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_whom_to_follow_is_kept_until_its_user_does_something() {
    let toml = format!(
        "{}[follow_events]\nnotify = false\n[recommendations]\nremote_cache_ms = 3600000\n",
        toml(&neo4j_uri(), neo4j_password())
    );
    let (one, other) = (Site::new(&toml), Site::new(&toml));
    let (one, other) = (start(&one), start(&other));
    let [ann, x, y] = ["ann", "x", "y"].map(unique_name);
    let edge = |follower: &str, followee: &str| {
        format!("{}\n", json!({"follower": follower, "followee": followee}))
    };
    let mut lines = String::new();
    for known in ["k1", "k2", "k3", "k4"].map(unique_name) {
        lines += &[edge(&ann, &known), edge(&known, &x), edge(&known, &y)].concat();
    }
    one.post("/v1/graph/import", lines).await.expect(200);
    let path = format!("/v1/users/{ann}/recommendations?limit=100");
    let lists = async |node: &Node, name: &str| {
        let answer = node.get(&path).await.expect(200);
        answer["recommendations"].as_array().unwrap().iter().any(|it| it["user"] == name)
    };
    for node in [&one, &other] {
        assert!(lists(node, &x).await && lists(node, &y).await);
    }
    one.put(&format!("/v1/users/{ann}/following/{x}"), &json!(null)).await.expect(200);
    assert!(!lists(&one, &x).await && lists(&one, &y).await, "her own follow is seen at once");
    assert!(lists(&other, &x).await, "what is done elsewhere when the list lapses");
    let dismiss = json!({"users": [y]}).to_string();
    let dismissing = format!("/v1/users/{ann}/recommendations/dismiss");
    other.post(&dismissing, dismiss).await.expect(204);
    assert!(!lists(&other, &x).await && !lists(&other, &y).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_drops_what_was_recommended_and_forgets_no_feedback() {
    let (address, way) = way_to_neo4j("127.0.0.1:0").await;
    // Each change is tried for as long as a query may take.
    let toml = toml(&format!("bolt://{address}"), neo4j_password()).replace("20000", "4000");
    let site = Site::new(&format!("{toml}[recommendations]\nremote_cache_ms = 3600000\n"));
    let node = start(&site);
    let [ann, ben, known, x] = ["ann", "ben", "known", "x"].map(unique_name);
    let edge = |follower: &str, followee: &str| {
        format!("{}\n", json!({"follower": follower, "followee": followee}))
    };
    let lines = [edge(&ann, &known), edge(&ben, &known), edge(&known, &x)].concat();
    node.post("/v1/graph/import", lines).await.expect(200);
    node.delete(&format!("/v1/users/{x}/recommendable")).await.expect(204);
    let list = async |node: &Node, user: &str| {
        node.get(&format!("/v1/users/{user}/recommendations")).await
    };
    for user in [&ann, &ben] {
        list(&node, user).await.expect(200);
    }
    drop(way);
    for user in [&ann, &ben] {
        // Given again without the graph.
        list(&node, user).await.expect(200);
    }
    // Nobody knows whether it took effect, so what ann was told before may be outdated.
    node.put(&format!("/v1/users/{ann}/following/{x}"), &json!({})).await.expect(503);
    list(&node, &ann).await.expect(503);
    list(&node, &ben).await.expect(200);
    // Who could not be erased from the graph must not be recommended meanwhile.
    node.delete(&format!("/v1/users/{x}/graph")).await.expect(503);
    list(&node, &ben).await.expect(503);
    node.stop();
    // What is stored counts: the node reads it at its start.
    let (_, _way) = way_to_neo4j(&address.to_string()).await;
    let node = start(&site);
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("tidings_recommendation_hidden_users 1"), "{metrics}");
    assert!(!list(&node, &ben).await.expect(200).to_string().contains(&x));
    node.stop();
}
