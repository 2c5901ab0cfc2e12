//! Follows that tell, and events that make follows.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Node, Site};

async fn follow(node: &Node, follower: &str, followee: &str) -> Value {
    node.put(&format!("/v1/users/{follower}/following/{followee}"), &json!({})).await.expect(200)
}

async fn unfollow(node: &Node, follower: &str, followee: &str) {
    node.delete(&format!("/v1/users/{follower}/following/{followee}")).await.expect(204);
}

async fn inbox(node: &Node, user: &str) -> Vec<Value> {
    let page = node.get(&format!("/v1/users/{user}/notifications?limit=1000")).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

/// Who did what a user was told of, the newest first.
async fn actors(node: &Node, user: &str) -> Vec<String> {
    inbox(node, user).await.iter().map(|it| it["actor"].as_str().unwrap().to_owned()).collect()
}

async fn following(node: &Node, follower: &str, followee: &str) -> bool {
    let question = json!({"follower": follower, "followees": [followee]}).to_string();
    let answer = node.post("/v1/graph/check", question).await.expect(200);
    answer["following"][0].as_bool().unwrap()
}

/// An event of a backend about `actor` and one user.
fn event(id: &str, kind: &str, actor: &str, user: &str) -> Value {
    json!({
        "id": id, "source": "app", "type": kind, "actor": actor, "title": format!("title of {id}"),
        "audience": {"users": [user]},
    })
}

async fn post(node: &Node, event: &Value) -> Value {
    node.post("/v1/events", event.to_string()).await.expect(200)
}

#[tokio::test]
async fn a_follow_tells_the_followed_user_once_and_for_good() {
    let site = Site::new("");
    let node = site.start();
    assert_eq!(follow(&node, "ann", "ben").await, json!({"changed": true}));
    let told = inbox(&node, "ben").await;
    assert_eq!(told.len(), 1);
    for (member, expected) in [
        ("type", "follow"),
        ("source", "tidings.graph"),
        ("actor", "ann"),
        ("title", "ann follows you"),
        ("group", "follow"),
    ] {
        assert_eq!(told[0][member], expected, "{member}");
    }
    assert_eq!(follow(&node, "ann", "ben").await, json!({"changed": false}));
    unfollow(&node, "ann", "ben").await;
    assert_eq!(follow(&node, "ann", "ben").await, json!({"changed": true}));
    assert_eq!(inbox(&node, "ben").await, told, "once for each follower");
    follow(&node, "cat", "ben").await;
    follow(&node, "ben", "ann").await;
    assert_eq!(actors(&node, "ben").await, ["cat", "ann"]);
    assert_eq!(actors(&node, "ann").await, ["ben"]);

    // Whoever turned away hears nothing, and an import tells nobody.
    node.put("/v1/users/ben/mutes/dan", &json!({})).await.expect(200);
    assert_eq!(follow(&node, "dan", "ben").await, json!({"changed": true}));
    node.put("/v1/users/ben/blocks/eve", &json!({})).await.expect(200);
    let refused = node.put("/v1/users/eve/following/ben", &json!({})).await;
    assert_eq!(refused.problem(409).0, "blocked");
    let lines = json!({"follower": "fay", "followee": "ben"}).to_string();
    node.post("/v1/graph/import", lines).await.expect(200);
    assert_eq!(actors(&node, "ben").await, ["cat", "ann"]);

    let post = json!({
        "id": "p", "source": "app", "type": "post", "audience": {"followers_of": "ben"},
    });
    node.post("/v1/events", post.to_string()).await.expect(200);
    for follower in ["ann", "cat", "fay"] {
        assert_eq!(inbox(&node, follower).await[0]["type"], "post", "{follower}");
    }
}

#[tokio::test]
async fn what_a_follow_tells_is_configured() {
    let site = Site::new(
        "[follow_events]\ntitle = \"New: {follower}!\"\nnotification_type = \"fan\"\ngroup = \"\"",
    );
    let node = site.start();
    follow(&node, "ann", "ben").await;
    let told = inbox(&node, "ben").await;
    assert_eq!((&told[0]["title"], &told[0]["type"]), (&json!("New: ann!"), &json!("fan")));
    assert!(told[0]["group"].is_null(), "{}", told[0]);
    for (bad, option) in [
        ("title = \"\"", "title"),
        ("title = \"{follower} and {follower} again\"", "title"),
        ("notification_type = \"\"", "notification_type"),
        ("follow_type = \"f\"\nunfollow_type = \"f\"", "unfollow_type"),
    ] {
        let said = Site::new(&format!("[follow_events]\n{bad}")).refused();
        assert!(said.contains(&format!("follow_events.{option}")), "{bad}: {said}");
    }
}

#[tokio::test]
async fn a_follow_that_was_made_and_not_told_is_told_when_it_is_asked_for_again() {
    let site = Site::new("[follow_events]\nnotify = false");
    let node = site.start();
    assert_eq!(follow(&node, "ann", "ben").await, json!({"changed": true}));
    assert_eq!(actors(&node, "ben").await, [""; 0]);
    node.kill();
    // As if the node had died between the edge and the event.
    let site = site.with_toml("");
    let node = site.start();
    assert_eq!(follow(&node, "ann", "ben").await, json!({"changed": false}));
    assert_eq!(actors(&node, "ben").await, ["ann"]);
}

/// Makes everyone of `followers` follow `star`, and gives those whose follow was not answered.
async fn follow_until_gone(node: &Node, followers: Vec<String>) -> Vec<String> {
    let mut requests = JoinSet::new();
    for part in followers.chunks(followers.len().div_ceil(8).max(1)) {
        let (part, url) = (part.to_vec(), node.url().to_owned());
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        requests.spawn(async move {
            let mut left = Vec::new();
            for follower in part {
                let url = format!("{url}/v1/users/{follower}/following/star");
                match http.put(url).send().await {
                    Ok(answer) => assert_eq!(answer.status(), 200),
                    Err(_) => left.push(follower),
                }
            }
            left
        });
    }
    requests.join_all().await.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_are_made_and_told_once_each_though_the_node_is_killed() {
    let site = Site::new("");
    let everyone: Vec<_> = (0..900).map(|n| format!("f{n}")).collect();
    let mut left = everyone.clone();
    let mut kills = 0;
    while !left.is_empty() {
        let node = site.start();
        // Long enough for some, and too short for all, unless the machine is very quick.
        let wait = Duration::from_millis(if kills < 3 { 60 + 40 * kills } else { 60_000 });
        let before = left.len();
        tokio::select! {
            () = tokio::time::sleep(wait) => {
                println!("kill {kills} with {before} to go");
                node.kill();
                kills += 1;
                // Nobody knows what was answered: all are asked for again, which has to be harmless.
            }
            rest = follow_until_gone(&node, left.clone()) => {
                left = rest;
                node.stop();
            }
        }
    }
    assert!(kills > 0, "the node was killed at least once");
    let node = site.start();
    let counts = node.get("/v1/users/star/counts").await.expect(200);
    assert_eq!(counts["followers"], 900);
    let mut told = actors(&node, "star").await;
    told.sort();
    let mut expected = everyone;
    expected.sort();
    assert_eq!(told, expected, "everyone is told of, once");
}

const MAKING: &str = "[follow_events]\nfollow_type = \"follow\"\nunfollow_type = \"unfollow\"";

#[tokio::test]
async fn an_event_makes_a_follow_before_it_tells_and_another_ends_it() {
    let site = Site::new(MAKING);
    let node = site.start();
    let mut made = event("1", "follow", "ann", "ben");
    made["time"] = json!("2026-01-02T03:04:05Z");
    assert_eq!(post(&node, &made).await["stored"], 1);
    let page = node.get("/v1/users/ann/following").await.expect(200);
    assert_eq!(page["items"][0]["user"], "ben");
    assert!(page["items"][0]["at"].as_str().unwrap().starts_with("2026-01-02T03:04:05"), "{page}");
    assert_eq!(inbox(&node, "ben").await[0]["title"], "title of 1");
    // Again, after a crash for example: nothing new, and nobody is told twice.
    assert_eq!(post(&node, &made).await["duplicates"], 1);
    assert_eq!(actors(&node, "ben").await, ["ann"]);

    let ended = event("2", "unfollow", "ann", "ben");
    for _ in 0..2 {
        let answer = post(&node, &ended).await;
        assert_eq!(answer["results"][0]["notifications"], 0, "an unfollow tells nobody");
        assert!(!following(&node, "ann", "ben").await);
    }
    assert_eq!(actors(&node, "ben").await, ["ann"]);

    // In one request the later one stands.
    let events = json!([
        event("3", "follow", "cat", "ben"),
        event("4", "unfollow", "cat", "ben"),
        event("5", "follow", "dan", "ben"),
        event("6", "unfollow", "dan", "ben"),
        event("7", "follow", "dan", "ben"),
    ]);
    node.post("/v1/events", events.to_string()).await.expect(200);
    assert!(!following(&node, "cat", "ben").await && following(&node, "dan", "ben").await);
}

#[tokio::test]
async fn an_event_makes_no_follow_that_cannot_be_and_none_of_its_own() {
    let site = Site::new(MAKING);
    let node = site.start();
    node.put("/v1/users/ben/blocks/eve", &json!({})).await.expect(200);
    post(&node, &event("1", "follow", "eve", "ben")).await;
    assert!(!following(&node, "eve", "ben").await, "a block refuses it");
    assert_eq!(actors(&node, "ben").await, [""; 0], "and hides it");
    post(&node, &event("2", "follow", "ann", "ann")).await;
    let mut two = event("3", "follow", "ann", "ben");
    two["audience"] = json!({"users": ["ben", "cat"]});
    post(&node, &two).await;
    let counts = node.get("/v1/users/ann/counts").await.expect(200);
    assert_eq!(counts, json!({"followers": 0, "following": 0}));
    assert_eq!(actors(&node, "cat").await, ["ann"], "it tells like any other event");
    // What a follow over the API tells of makes no follow: it may have been ended since.
    follow(&node, "ann", "ben").await;
    unfollow(&node, "ann", "ben").await;
    assert!(!following(&node, "ann", "ben").await);
    // Without the option an event is an event.
    let site = Site::new("");
    let node = site.start();
    post(&node, &event("1", "follow", "ann", "ben")).await;
    assert!(!following(&node, "ann", "ben").await);
    assert_eq!(actors(&node, "ben").await, ["ann"]);
}

#[tokio::test]
async fn an_event_reaches_those_who_follow_and_may_hear_of_it_when_it_is_planned() {
    let site = Site::new("[follow_events]\nnotify = false");
    let node = site.start();
    for follower in ["stays", "leaves", "mutes", "blocks"] {
        follow(&node, follower, "star").await;
    }
    unfollow(&node, "leaves", "star").await;
    node.put("/v1/users/mutes/mutes/star", &json!({})).await.expect(200);
    node.put("/v1/users/blocks/blocks/star", &json!({})).await.expect(200);
    let posted = json!({
        "id": "p1", "source": "app", "type": "post", "audience": {"followers_of": "star"},
    });
    assert_eq!(post(&node, &posted).await["results"][0]["notifications"], 1);
    // What changes later does not change what was told.
    for user in ["comes", "leaves"] {
        follow(&node, user, "star").await;
    }
    node.put("/v1/users/stays/blocks/star", &json!({})).await.expect(200);
    for (user, count) in [("stays", 1), ("leaves", 0), ("mutes", 0), ("blocks", 0), ("comes", 0)] {
        assert_eq!(inbox(&node, user).await.len(), count, "{user}");
    }
    // The same event, sent again, is planned again: it reaches those who follow by now as well.
    let again = post(&node, &posted).await;
    assert_eq!(again["results"][0]["notifications"], 2);
    for (user, count) in [("stays", 1), ("leaves", 1), ("mutes", 0), ("comes", 1)] {
        assert_eq!(inbox(&node, user).await.len(), count, "{user}");
    }
}
