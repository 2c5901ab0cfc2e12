//! The graph over HTTP: what users have in common, and the graph as a whole.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};
use tidings_server::auth::ApiKey;

use crate::harness::{Answer, Node, Site};

fn users(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|it| it["user"].as_str().unwrap()).collect()
}

fn edge(source: (&str, &str), target: (&str, &str), at: u32) -> String {
    let at = format!("2026-01-01T00:00:{at:02}.000Z");
    format!("{}\n", json!({source.0: source.1, target.0: target.1, "at": at}))
}

fn follow(follower: &str, followee: &str, at: u32) -> String {
    edge(("follower", follower), ("followee", followee), at)
}

async fn import(node: &Node, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
    let mut request = node.request(Method::POST, "/v1/graph/import").body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

/// The edges of an export, and where it says that they go on.
fn parts(text: &str) -> (Vec<&str>, Vec<String>) {
    let (places, edges): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.starts_with("{\"next\""));
    let next = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["next"].as_str().unwrap().to_owned()
    };
    (edges, places.into_iter().map(next).collect())
}

#[tokio::test]
async fn common_follows_and_known_followers_come_in_pages() {
    let site = Site::new("");
    let node = site.start();
    let mut lines = String::new();
    for n in 0..30 {
        lines += &follow("ann", &format!("u{n}"), n);
        if n % 3 == 0 {
            lines += &follow("ben", &format!("u{n}"), n);
            lines += &follow(&format!("u{n}"), "star", n);
        }
    }
    import(&node, &[], lines).await.expect(200);
    let expected: Vec<_> = (0..30).rev().filter(|n| n % 3 == 0).map(|n| format!("u{n}")).collect();
    for path in ["/v1/users/ann/common/ben", "/v1/users/ann/followers-you-know/star"] {
        let mut listed = Vec::new();
        let mut query = "?limit=4".to_owned();
        loop {
            let page = node.get(&format!("{path}{query}")).await.expect(200);
            assert!(users(&page).len() <= 4, "{page}");
            listed.extend(users(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            query = format!("?limit=4&cursor={next}");
        }
        assert_eq!(listed, expected, "{path}");
        let first = node.get(&format!("{path}?limit=4")).await.expect(200);
        let elsewhere = format!("/v1/users/ann/friends?cursor={}", first["next"].as_str().unwrap());
        assert_eq!(node.get(&elsewhere).await.problem(400).1, "cursor");
        assert_eq!(node.get(&format!("{path}?cursor=x")).await.problem(400).1, "cursor");
    }
    let nothing = node.get("/v1/users/nobody/common/ann").await.expect(200);
    assert_eq!(nothing, json!({"items": []}));
    assert_eq!(node.get("/v1/users/ann/common/%00").await.problem(400).1, "other");
}

#[tokio::test]
async fn an_import_takes_all_kinds_of_edges_and_csv_packed_or_not() {
    let site = Site::new("");
    let node = site.start();
    let all = follow("ann", "ben", 1)
        + &edge(("muter", "ann"), ("muted", "cat"), 2)
        + &edge(("blocker", "ben"), ("blocked", "ann"), 3)
        + &follow("ann", "ben", 4);
    let done = import(&node, &[], all).await.expect(200);
    assert_eq!(done, json!({"lines": 4, "added": 3}));
    let stats = node.get("/v1/graph/stats").await.expect(200);
    assert_eq!(stats, json!({"users": 3, "follows": 0, "blocks": 1, "mutes": 1}));

    let csv = "followee,at,follower\n\"x, y\",2026-01-01T00:00:00Z,dan\neve,,dan\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    let csv_type = ("content-type", "text/csv; charset=utf-8");
    let packings = [
        (None, csv.as_bytes().to_vec(), 2),
        (Some("gzip"), gzip.finish().unwrap(), 0),
        (Some("zstd"), zstd::bulk::compress(csv.as_bytes(), 3).unwrap(), 0),
    ];
    for (encoding, body, added) in packings {
        let mut headers = vec![csv_type];
        headers.extend(encoding.map(|it| ("content-encoding", it)));
        let done = import(&node, &headers, body).await.expect(200);
        assert_eq!(done, json!({"lines": 2, "added": added}), "{encoding:?}");
    }
    let page = node.get("/v1/users/dan/following").await.expect(200);
    assert_eq!(users(&page), ["eve", "x, y"]);
    assert_eq!(page["items"][1]["at"], "2026-01-01T00:00:00.000Z");

    for (headers, body, status, field) in [
        (vec![csv_type], "a,b\n", 400, "line 0"),
        (vec![csv_type], "follower,followee\ndan,fay\ndan\n", 400, "line 2"),
        (vec![], "{\"blocker\":\"a\",\"muted\":\"b\"}", 400, "line 0"),
        (vec![("content-encoding", "gzip")], "{}", 400, ""),
        (vec![("content-encoding", "br")], "{}", 415, ""),
        (vec![("content-type", "text/html")], "{}", 415, ""),
    ] {
        assert_eq!(import(&node, &headers, body).await.problem(status).1, field, "{body}");
    }
    let following = node.get("/v1/users/dan/counts").await.expect(200)["following"].clone();
    assert_eq!(following, 3, "what comes before a fault is stored");
}

#[tokio::test]
async fn a_body_that_unpacks_to_more_than_the_limit_is_refused() {
    let site = Site::new("[server]\nbody_limit_bytes = 100000");
    let node = site.start();
    let line = follow("ann", "ben", 1);
    let lines = line.repeat(100_000 / line.len() + 1);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    assert!(packed.len() < 10_000);
    let refused = import(&node, &[("content-encoding", "gzip")], packed).await;
    assert_eq!(refused.json()["added"], 1);
    assert_eq!(refused.problem(413).0, "body-too-large");
}

#[tokio::test]
async fn an_export_goes_on_at_any_place_and_makes_the_same_graph_elsewhere() {
    let site = Site::new("");
    let node = site.start();
    let mut lines = String::new();
    for n in 0..2_600 {
        lines += &follow(&format!("u{}", n % 70), &format!("u{}", n / 13), n % 60);
    }
    lines += &edge(("blocker", "b 🦀"), ("blocked", "\"c\""), 1);
    lines += &edge(("muter", "m"), ("muted", "u1"), 2);
    import(&node, &[], lines).await.expect(200);
    let size = node.get("/v1/graph/stats").await.expect(200);
    let whole = node.get("/v1/graph/export").await;
    assert_eq!(whole.headers["content-type"], "application/x-ndjson");
    let (edges, places) = parts(&whole.text);
    let count: u64 =
        ["follows", "blocks", "mutes"].iter().map(|kind| size[kind].as_u64().unwrap()).sum();
    assert_eq!(edges.len() as u64, count);
    assert!(places.len() >= 2, "{places:?}");
    for place in &places {
        let rest = node.get(&format!("/v1/graph/export?cursor={place}")).await;
        let (rest, _) = parts(&rest.text);
        assert_eq!(rest, edges[edges.len() - rest.len()..], "{place}");
    }
    let mut pieces = String::new();
    let mut query = "?limit=1234".to_owned();
    loop {
        let piece = node.get(&format!("/v1/graph/export{query}")).await;
        let (edges, places) = parts(&piece.text);
        assert!(edges.len() <= 1_234);
        edges.iter().for_each(|edge| pieces += &format!("{edge}\n"));
        // An export that ends with an edge, or with nothing, is at the end of the graph.
        let goes_on = piece.text.lines().last().is_some_and(|line| line.starts_with("{\"next\""));
        let Some(next) = places.last().filter(|_| goes_on) else { break };
        query = format!("?limit=1234&cursor={next}");
    }
    assert_eq!(pieces.lines().collect::<Vec<_>>(), edges);

    let elsewhere = Site::new("");
    let other = elsewhere.start();
    let done = import(&other, &[], whole.text.clone()).await.expect(200);
    assert_eq!(done, json!({"lines": count, "added": count}), "places are no edges");
    assert_eq!(other.get("/v1/graph/stats").await.expect(200), size);
    let mut expected = edges.clone();
    let again = other.get("/v1/graph/export").await;
    let mut edges = parts(&again.text).0;
    edges.sort_unstable();
    expected.sort_unstable();
    assert_eq!(edges, expected);
    for query in ["cursor=x", "limit=0", "limit=x", "offset=1"] {
        node.get(&format!("/v1/graph/export?{query}")).await.problem(400);
    }
}

#[tokio::test]
async fn an_erased_user_is_gone_and_comes_back_as_a_stranger() {
    let site = Site::new("[follow_events]\nnotify = false");
    let node = site.start();
    let lines = follow("ann", "ben", 1)
        + &follow("cat", "ann", 2)
        + &follow("cat", "ben", 3)
        + &edge(("blocker", "dan"), ("blocked", "ann"), 4)
        + &edge(("muter", "ann"), ("muted", "eve"), 5);
    import(&node, &[], lines).await.expect(200);
    let erased = node.delete("/v1/users/ann/graph").await.expect(200);
    assert_eq!(erased, json!({"removed": 4}));
    assert_eq!(node.delete("/v1/users/ann/graph").await.expect(200), json!({"removed": 0}));
    let export = node.get("/v1/graph/export").await.text;
    let left: Vec<Value> =
        parts(&export).0.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = json!({"follower": "cat", "followee": "ben", "at": "2026-01-01T00:00:03.000Z"});
    assert_eq!(left, [expected]);
    node.put("/v1/users/ann/following/dan", &json!({})).await.expect(200);
}

#[tokio::test]
async fn a_users_token_reads_its_own_lists_and_nothing_of_the_whole() {
    let key = ApiKey::generate().unwrap();
    let secret = "a secret of at least thirty-two bytes";
    let site = Site::new(&format!(
        "[[auth.keys]]\nname = \"reader\"\nsha256 = \"{}\"\nscopes = [\"graph:read\"]\n\
         [auth.tokens]\nhs256_secret = \"{secret}\"",
        key.digest_hex(),
    ));
    let mut node = site.start().with_bearer(key.expose());
    for path in ["/v1/graph/export", "/v1/graph/stats"] {
        assert_eq!(node.get(path).await.status, 200, "{path}");
    }
    node.get("/v1/users/ann/common/ben").await.expect(200);
    assert_eq!(node.delete("/v1/users/ann/graph").await.problem(403).0, "not-allowed");
    node = node.with_bearer(&token_of(&site, "ann"));
    for path in ["/v1/users/me/common/ben", "/v1/users/ann/followers-you-know/ben"] {
        node.get(path).await.expect(200);
    }
    for path in [
        "/v1/users/ben/common/ann",
        "/v1/users/ben/followers-you-know/ann",
        "/v1/graph/export",
        "/v1/graph/stats",
    ] {
        assert_eq!(node.get(path).await.problem(403).0, "not-allowed", "{path}");
    }
    for user in ["me", "ann", "ben"] {
        let refused = node.delete(&format!("/v1/users/{user}/graph")).await;
        assert_eq!(refused.problem(403).0, "not-allowed", "{user}");
    }
    assert_eq!(import(&node, &[], "{}").await.problem(403).0, "not-allowed");
}

#[tokio::test]
async fn a_users_token_follows_so_many_and_a_server_any_number() {
    let key = ApiKey::generate().unwrap();
    let secret = "a secret of at least thirty-two bytes";
    let site = Site::new(&format!(
        "[graph]\nfollowing_max = 2\n[[auth.keys]]\nname = \"app\"\nsha256 = \"{}\"\n\
         scopes = [\"graph:write\"]\n[auth.tokens]\nhs256_secret = \"{secret}\"",
        key.digest_hex(),
    ));
    let mut node = site.start().with_bearer(&token_of(&site, "ann"));
    for other in ["ben", "cem"] {
        node.put(&format!("/v1/users/me/following/{other}"), &json!({})).await.expect(200);
    }
    let refused = node.put("/v1/users/me/following/dan", &json!({})).await;
    assert_eq!(refused.problem(409).0, "too-many-follows");
    // Whom the user follows already may be followed again: the answer may have been lost.
    node.put("/v1/users/me/following/ben", &json!({})).await.expect(200);
    node = node.with_bearer(key.expose());
    node.put("/v1/users/ann/following/dan", &json!({})).await.expect(200);
    node = node.with_bearer(&token_of(&site, "ann"));
    for other in ["ben", "cem"] {
        assert_eq!(node.delete(&format!("/v1/users/me/following/{other}")).await.status, 204);
    }
    node.put("/v1/users/me/following/eve", &json!({})).await.expect(200);
}

fn token_of(site: &Site, user: &str) -> String {
    let token = std::process::Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["token", "--user", user, "--config"])
        .arg(site.path().join("tidings.toml"))
        .output()
        .unwrap();
    String::from_utf8(token.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_block_hides_what_two_have_in_common_from_their_tokens_and_not_from_a_server() {
    let key = ApiKey::generate().unwrap();
    let secret = "a secret of at least thirty-two bytes";
    let site = Site::new(&format!(
        "[[auth.keys]]\nname = \"app\"\nsha256 = \"{}\"\n\
         scopes = [\"graph:read\", \"graph:write\"]\n\
         [auth.tokens]\nhs256_secret = \"{secret}\"",
        key.digest_hex(),
    ));
    let mut node = site.start().with_bearer(key.expose());
    let (ann, ben) = (token_of(&site, "ann"), token_of(&site, "ben"));
    let edges = [
        follow("ann", "cem", 1),
        follow("ben", "cem", 2),
        follow("cem", "ben", 3),
        follow("cem", "ann", 4),
    ];
    import(&node, &[], edges.concat()).await.expect(200);
    // What is put between the two, and whether their tokens see what they have in common then.
    for (between, is_seen) in [
        (vec![], true),
        (vec!["ann/mutes/ben"], true),
        (vec!["ben/mutes/ann"], true),
        (vec!["ann/blocks/ben"], false),
        (vec!["ben/blocks/ann"], false),
        (vec!["ben/blocks/ann", "ann/mutes/ben"], false),
    ] {
        node = node.with_bearer(key.expose());
        for edge in &between {
            node.put(&format!("/v1/users/{edge}"), &json!({})).await.expect(200);
        }
        for (bearer, everything) in [(key.expose(), true), (&*ann, is_seen), (&*ben, is_seen)] {
            node = node.with_bearer(bearer);
            let [user, other] = if bearer == ben { ["ben", "ann"] } else { ["ann", "ben"] };
            let expected: &[&str] = if everything { &["cem"] } else { &[] };
            for list in ["common", "followers-you-know"] {
                let page = node.get(&format!("/v1/users/{user}/{list}/{other}")).await.expect(200);
                assert_eq!(users(&page), expected, "{list} of {user} with {between:?}");
                assert!(page.get("next").is_none());
            }
        }
        node = node.with_bearer(key.expose());
        for edge in &between {
            assert_eq!(node.delete(&format!("/v1/users/{edge}")).await.status, 204);
        }
    }
}
