//! Whom to follow, over HTTP: who is never recommended, and what users and servers have to say in it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings_core::{
    clock::{Clock, SystemClock},
    ids::UserId,
};
use tidings_server::auth::{ApiKey, mint_hs256};

use crate::harness::{Answer, Node, PATIENCE, Site};

const QUIET: &str = "[follow_events]\nnotify = false\n";

/// Ann follows `k0` to `k4`, each of whom follows all of `names`.
async fn make_known(node: &Node, names: &[&str]) {
    let mut lines = String::new();
    for known in 0..5 {
        lines += &format!("{}\n", json!({"follower": "ann", "followee": format!("k{known}")}));
        for name in names {
            lines += &format!("{}\n", json!({"follower": format!("k{known}"), "followee": name}));
        }
    }
    node.post("/v1/graph/import", lines).await.expect(200);
}

fn users(answer: &Value) -> Vec<String> {
    let listed = answer["recommendations"].as_array().unwrap();
    listed.iter().map(|it| it["user"].as_str().unwrap().to_owned()).collect()
}

async fn recommended(node: &Node, user: &str) -> Vec<String> {
    let path = format!("/v1/users/{user}/recommendations?limit=100");
    users(&node.get(&path).await.expect(200))
}

fn score(answer: &Value, user: &str) -> f64 {
    let listed = answer["recommendations"].as_array().unwrap();
    let it = listed.iter().find(|it| it["user"] == user);
    it.unwrap_or_else(|| panic!("{user} is not in {answer}"))["score"].as_f64().unwrap()
}

fn named(names: &[&str]) -> String {
    json!({"users": names}).to_string()
}

#[tokio::test]
async fn nobody_is_recommended_who_should_not_be() {
    let site = Site::new(QUIET);
    let node = site.start();
    let names =
        ["good", "ann", "followed", "blocked", "blocker", "muted", "dismissed", "hidden", "fine"];
    make_known(&node, &names).await;
    for path in [
        "/v1/users/ann/following/followed",
        "/v1/users/ann/blocks/blocked",
        "/v1/users/blocker/blocks/ann",
        "/v1/users/ann/mutes/muted",
    ] {
        node.put(path, &Value::Null).await.expect(200);
    }
    let dismiss = "/v1/users/ann/recommendations/dismiss";
    node.post(dismiss, named(&["dismissed", "nobody"])).await.expect(204);
    node.delete("/v1/users/hidden/recommendable").await.expect(204);
    let listed = recommended(&node, "ann").await;
    for name in ["good", "fine"] {
        assert!(listed.iter().any(|it| it == name), "{name} is not in {listed:?}");
    }
    for name in &names[1..8] {
        assert!(!listed.iter().any(|it| it == name), "{name} is in {listed:?}");
    }
    // A server's own candidates are no exception.
    let query = json!({"among": names, "limit": 100}).to_string();
    let asked = node.post("/v1/users/ann/recommendations/query", query).await.expect(200);
    let mut asked = users(&asked);
    asked.sort();
    assert_eq!(asked, ["fine", "good"]);

    // What was done can be undone, and both outlive the node.
    node.stop();
    let node = site.start();
    assert!(!recommended(&node, "ann").await.iter().any(|it| it == "hidden" || it == "dismissed"));
    for _ in 0..2 {
        node.delete("/v1/users/ann/recommendations/dismissed/dismissed").await.expect(204);
        node.put("/v1/users/hidden/recommendable", &Value::Null).await.expect(204);
    }
    let listed = recommended(&node, "ann").await;
    for name in ["dismissed", "hidden"] {
        assert!(listed.iter().any(|it| it == name), "{name} is not in {listed:?}");
    }
}

#[tokio::test]
async fn who_was_shown_in_vain_sinks_to_the_floor() {
    let site = Site::new(&format!("{QUIET}[recommendations]\nimpression_floor = 0.5\n"));
    let node = site.start();
    make_known(&node, &["x", "y"]).await;
    let query = async || {
        let query = json!({"among": ["x", "y"], "limit": 2}).to_string();
        node.post("/v1/users/ann/recommendations/query", query).await.expect(200)
    };
    let before = query().await;
    let ratio = |after: &Value, user: &str| score(after, user) / score(&before, user);
    for (times, expected) in [(1, 0.8), (2, 0.64), (20, 0.5)] {
        node.post("/v1/users/ann/recommendations/impressions", named(&["x"])).await.expect(204);
        let after = query().await;
        if times < 3 {
            assert!((ratio(&after, "x") - expected).abs() < 0.01, "{after} and {before}");
        }
        assert_eq!(users(&after), ["y", "x"]);
    }
    for _ in 0..4 {
        node.post("/v1/users/ann/recommendations/impressions", named(&["x"])).await.expect(204);
    }
    assert!((ratio(&query().await, "x") - 0.5).abs() < 0.01);
}

#[tokio::test]
async fn a_server_may_name_candidates_and_lift_some() {
    let site = Site::new(QUIET);
    let node = site.start();
    make_known(&node, &["x", "y", "z"]).await;
    let query = async |query: Value| {
        node.post("/v1/users/ann/recommendations/query", query.to_string()).await
    };
    let plain = query(json!({"among": ["x", "y"]})).await.expect(200);
    for lifted in ["x", "y"] {
        let boosted = query(json!({"among": ["x", "y"], "boosts": {lifted: 1.5}, "explain": true}));
        let boosted = boosted.await.expect(200);
        assert_eq!(users(&boosted)[0], lifted);
        let sunk = query(json!({"among": ["x", "y"], "boosts": {lifted: 0.5}})).await.expect(200);
        assert_eq!(users(&sunk)[1], lifted);
        let factor = score(&sunk, lifted) / score(&plain, lifted);
        assert!((factor - 0.5).abs() < 0.01, "{sunk} and {plain}");
    }
    assert_eq!(users(&query(json!({"among": ["z"]})).await.expect(200)), ["z"]);
    assert_eq!(users(&query(json!({"among": []})).await.expect(200)), [""; 0]);
    // As many as may be named, each as long as may be: more than 2 MiB.
    let longest: Vec<_> = (0..10_000).map(|n| format!("{n:0128}")).collect();
    let boosts: serde_json::Map<_, _> = longest.iter().map(|it| (it.clone(), json!(0.5))).collect();
    let named = json!({"among": longest, "boosts": boosts, "limit": 500});
    assert_eq!(users(&query(named).await.expect(200)).len(), 500);
    let many: Vec<_> = (0..10_001).map(|n| format!("m{n}")).collect();
    for (input, field) in [
        (json!({"limit": 0}), "limit"),
        (json!({"limit": 501}), "limit"),
        (json!({"boosts": {"x": 0}}), "boosts.x"),
        (json!({"boosts": {"x": 101}}), "boosts.x"),
        (json!({"among": many}), "among"),
        (json!({"among": ["x", ""]}), "among[1]"),
        (json!({"amongst": []}), "amongst"),
    ] {
        assert_eq!(query(input.clone()).await.problem(400).1, field);
    }
    for (path, body, field) in [
        ("dismiss", json!({"users": []}), "users"),
        ("dismiss", json!({"users": vec!["x"; 101]}), "users"),
        ("impressions", json!({"users": ["x", "a\nb"]}), "users[1]"),
        ("impressions", json!({}), ""),
    ] {
        let path = format!("/v1/users/ann/recommendations/{path}");
        assert_eq!(node.post(&path, body.to_string()).await.problem(400).1, field, "{body}");
    }
    for query in ["limit=0", "limit=101", "limit=x", "explain=maybe", "offset=1"] {
        node.get(&format!("/v1/users/ann/recommendations?{query}")).await.problem(400);
    }
    assert_eq!(
        users(&node.get("/v1/users/ann/recommendations?limit=2").await.expect(200)).len(),
        2
    );
}

#[tokio::test]
async fn a_user_has_a_say_in_their_own_recommendations_only() {
    const SECRET: &str = "a shared secret of thirty-two bytes";
    let key = ApiKey::generate().unwrap();
    let site = Site::new(&format!(
        "[[auth.keys]]\nname = \"backend\"\nsha256 = \"{}\"\nscopes = [\"graph:read\"]\n\
         [auth.tokens]\nhs256_secret = \"{SECRET}\"\n",
        key.digest_hex(),
    ));
    let tokens = json!({
        "hs256_secret": SECRET, "jwks_file": "", "jwks_url": "", "issuer": "",
        "audience": "", "leeway_secs": 30,
    });
    let tokens = serde_json::from_value(tokens).unwrap();
    let now = SystemClock.now();
    let hour = Duration::from_secs(3_600);
    let token = mint_hs256(&tokens, &UserId::new("ann").unwrap(), now, now.after(hour)).unwrap();
    let node = site.start().with_bearer(&token);
    for user in ["ann", "me"] {
        let path = format!("/v1/users/{user}/recommendations");
        node.get(&format!("{path}?explain=true")).await.expect(200);
        node.post(&format!("{path}/dismiss"), named(&["x"])).await.expect(204);
        node.post(&format!("{path}/impressions"), named(&["x"])).await.expect(204);
        node.delete(&format!("{path}/dismissed/x")).await.expect(204);
        assert_eq!(node.post(&format!("{path}/query"), "{}").await.problem(403).0, "not-allowed");
        let path = format!("/v1/users/{user}/recommendable");
        assert_eq!(node.delete(&path).await.problem(403).0, "not-allowed");
        assert_eq!(node.put(&path, &Value::Null).await.problem(403).0, "not-allowed");
    }
    let path = "/v1/users/ben/recommendations";
    assert_eq!(node.get(path).await.problem(403).0, "not-allowed");
    assert_eq!(
        node.post(&format!("{path}/dismiss"), named(&["x"])).await.problem(403).0,
        "not-allowed"
    );
    let node = node.with_bearer(key.expose());
    node.get(path).await.expect(200);
    node.post(&format!("{path}/query"), "{}").await.expect(200);
    let refused = node.post(&format!("{path}/dismiss"), named(&["x"])).await;
    assert!(refused.text.contains("graph:write"), "{refused:?}");
    assert_eq!(node.get("/v1/users/me/recommendations").await.problem(400).1, "user");
}

#[tokio::test]
async fn a_list_is_given_again_until_its_user_does_something() {
    let site = Site::new(&format!(
        "{QUIET}follow_type = \"follow\"\n[recommendations]\ncache_ms = 3600000\n"
    ));
    let node = site.start();
    make_known(&node, &["a", "b", "c", "d", "e", "f", "g"]).await;
    let holds = async |name: &str| recommended(&node, "ann").await.iter().any(|it| it == name);
    assert!(holds("a").await);
    // What others do is seen when the list lapses …
    let line = |name: &str| json!({"follower": name, "followee": "late"}).to_string();
    node.post("/v1/graph/import", line("k0")).await.expect(200);
    assert!(!holds("late").await);
    // … and what she does at once.
    node.put("/v1/users/ann/following/a", &Value::Null).await.expect(200);
    assert!(!holds("a").await && holds("late").await);
    node.delete("/v1/users/ann/following/a").await.expect(204);
    assert!(holds("a").await);
    node.post("/v1/users/ann/recommendations/dismiss", named(&["b"])).await.expect(204);
    assert!(!holds("b").await);
    node.delete("/v1/users/ann/recommendations/dismissed/b").await.expect(204);
    assert!(holds("b").await);
    node.put("/v1/users/ann/mutes/d", &Value::Null).await.expect(200);
    node.put("/v1/users/e/blocks/ann", &Value::Null).await.expect(200);
    assert!(!holds("d").await && !holds("e").await);
    let follow = json!({"follower": "ann", "followee": "f"}).to_string();
    node.post("/v1/graph/import", follow).await.expect(200);
    assert!(!holds("f").await);
    let event = json!({
        "id": "1", "source": "app", "type": "follow", "actor": "ann", "audience": {"users": ["g"]},
    });
    assert!(holds("g").await);
    node.post("/v1/events", event.to_string()).await.expect(200);
    assert!(!holds("g").await);
    // So are those whom an import turns away from her, and those who are gone.
    assert!(holds("a").await && holds("late").await);
    let block = json!({"blocker": "late", "blocked": "ann"}).to_string();
    node.post("/v1/graph/import", block).await.expect(200);
    assert!(!holds("late").await && holds("a").await);
    node.delete("/v1/users/a/graph").await.expect(200);
    assert!(!holds("a").await);
    // Who is hidden is hidden everywhere.
    assert!(holds("c").await);
    node.delete("/v1/users/c/recommendable").await.expect(204);
    assert!(!holds("c").await);
    let metrics = node.get("/metrics").await.text;
    for outcome in ["computed", "cached"] {
        let line = format!("tidings_recommendation_requests_total{{outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("tidings_recommendation_hidden_users 1"), "{metrics}");
}

#[tokio::test]
async fn more_requests_than_may_wait_are_told_to_come_back() {
    let site = Site::new(&format!("{QUIET}[recommendations]\nconcurrency = 1\nwaiting = 0\n"));
    let node = site.start();
    make_known(&node, &["x"]).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let asked = (0..50).map(|_| node.get("/v1/users/ann/recommendations"));
        let mut answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().any(|it| it.status == 200));
        if let Some(at) = answers.iter().position(|it| it.status != 200) {
            let refused = answers.swap_remove(at);
            assert_eq!(refused.headers["retry-after"], "1");
            assert_eq!(refused.problem(503).0, "unavailable");
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody was refused");
    }
}

#[tokio::test]
async fn a_node_may_recommend_nobody() {
    let site = Site::new("[recommendations]\nenabled = false\n");
    let node = site.start();
    let refused = node.get("/v1/users/ann/recommendations").await;
    assert_eq!(refused.problem(404).0, "recommendations-off");
    node.put("/v1/users/ann/following/ben", &Value::Null).await.expect(200);
    let erased = node.request(Method::DELETE, "/v1/users/ann/graph").send().await.unwrap();
    assert_eq!(Answer::of(erased).await.expect(200), json!({"removed": 1}));
}

#[tokio::test]
async fn an_erased_user_leaves_no_feedback_behind() {
    let site = Site::new(QUIET);
    let node = site.start();
    make_known(&node, &["x", "y"]).await;
    node.post("/v1/users/ann/recommendations/dismiss", named(&["x"])).await.expect(204);
    node.delete("/v1/users/y/recommendable").await.expect(204);
    assert!(recommended(&node, "ann").await.iter().all(|it| it != "x" && it != "y"));
    for user in ["ann", "y"] {
        node.delete(&format!("/v1/users/{user}/graph")).await.expect(200);
    }
    make_known(&node, &["x", "y"]).await;
    let listed = recommended(&node, "ann").await;
    for name in ["x", "y"] {
        assert!(listed.iter().any(|it| it == name), "{name} is not in {listed:?}");
    }
}

#[tokio::test]
async fn a_node_learns_from_its_graph_once_it_has_started() {
    let site = Site::new("[follow_events]\nnotify = false\n[recommendations]\nlearn_users = 40\n");
    let node = site.start();
    let mut lines = String::new();
    for (a, step) in (0..40).flat_map(|a| (1..=8).map(move |step| (a, step))) {
        let b = a / 10 * 10 + (a + step) % 10;
        lines +=
            &format!("{}\n", json!({"follower": format!("p{a}"), "followee": format!("p{b}")}));
    }
    node.post("/v1/graph/import", lines).await.expect(200);
    node.stop();
    let node = site.start();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let metrics = node.get("/metrics").await.text;
        let learned = "tidings_recommendation_fits_total{outcome=\"learned\"} 1";
        if metrics.contains(learned) {
            assert!(metrics.contains("tidings_recommendation_fit_ndcg{model=\"learned\"}"));
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "nothing was learned");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(recommended(&node, "p3").await.iter().all(|it| it != "p3"));
    // What is learned at a stop holds nothing up.
    node.stop();
}
