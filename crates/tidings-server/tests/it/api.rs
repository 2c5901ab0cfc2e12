//! The HTTP API on a node with its embedded stores.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Site, event};

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|it| it["event_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_event_is_stored_for_each_user_of_its_audience_once() {
    let site = Site::new("");
    let node = site.start();
    let answer =
        node.post("/v1/events", event("e1", &["ann", "ben"]).to_string()).await.expect(200);
    assert_eq!((&answer["stored"], &answer["results"][0]["notifications"]), (&json!(1), &json!(2)));
    let again = event("e1", &["ann", "ben", "cat"]).to_string();
    let answer = node.post("/v1/events", again.clone()).await.expect(200);
    let result = &answer["results"][0];
    assert_eq!((&result["status"], &result["notifications"]), (&json!("stored"), &json!(1)));
    assert_eq!(result["duplicates"], 2);
    let answer = node.post("/v1/events", again).await.expect(200);
    assert_eq!((&answer["duplicates"], &answer["stored"]), (&json!(1), &json!(0)));
    for user in ["ann", "ben", "cat"] {
        let page = node.get(&format!("/v1/users/{user}/notifications")).await.expect(200);
        assert_eq!(ids(&page), ["e1"]);
        assert_eq!((&page["unread"], &page["last_seq"]), (&json!(1), &json!(1)));
        assert_eq!(page["items"][0]["title"], "title of e1");
    }
    node.stop();
}

#[tokio::test]
async fn an_event_that_is_not_valid_is_refused_with_its_field() {
    let site = Site::new("");
    let node = site.start();
    let cases = [
        (json!({"source": "s", "type": "t", "audience": {"users": ["a"]}}), "id"),
        (
            json!({"id": "e", "source": "s", "type": "t", "audience": {"users": []}}),
            "audience.users",
        ),
        (
            json!({"id": "e", "source": "s", "type": "t", "audience": {"users": [7]}}),
            "audience.users[0]",
        ),
        (json!(7), ""),
    ];
    for (body, field) in cases {
        let problem = node.post("/v1/events", body.to_string()).await.problem(400);
        assert_eq!(problem, ("invalid-event".to_owned(), field.to_owned()), "{body}");
    }
    assert_eq!(node.post("/v1/events", "").await.problem(400).0, "invalid-event");
    assert_eq!(node.get("/v1/dead-letters").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn cloud_events_are_taken_alone_and_in_arrays() {
    let site = Site::new("");
    let node = site.start();
    let cloud_event = |id: &str, data: Value| json!({"specversion": "1.0", "id": id, "source": "test", "type": "like", "data": data});
    let send = async |media_type: &str, body: Value| {
        let request = node.request(Method::POST, "/v1/events").header("Content-Type", media_type);
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let whole = || json!({"audience": {"users": ["ann"]}, "title": "Hello"});
    let (status, answer) =
        send("application/cloudevents+json; charset=utf-8", cloud_event("e1", whole())).await;
    assert_eq!((status, &answer["stored"]), (200, &json!(1)), "{answer}");
    let mut too_long = whole();
    too_long["title"] = "x".repeat(257).into();
    let array = json!([cloud_event("e2", whole()), cloud_event("e3", too_long)]);
    let (status, answer) = send("application/cloudevents-batch+json", array).await;
    assert_eq!((status, &answer["stored"], &answer["rejected"]), (207, &json!(1), &json!(1)));
    assert_eq!(answer["results"][1]["field"], "title");
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!((&page["last_seq"], &page["items"][0]["title"]), (&json!(2), &json!("Hello")));
    // A letter is read again as what it was sent as.
    let letter = &node.get("/v1/dead-letters").await.expect(200)["items"][0];
    let path = format!("/v1/dead-letters/{}/replay", letter["id"]);
    assert_eq!(node.post(&path, "").await.problem(422).1, "title");
    // Without the media type it is an event without an audience.
    let plain = cloud_event("e4", whole()).to_string();
    assert_eq!(node.post("/v1/events", plain).await.problem(400).0, "invalid-event");
}

#[tokio::test]
async fn an_array_says_what_became_of_each_event_and_keeps_the_refused_ones() {
    let site = Site::new("");
    let node = site.start();
    let mut bad = event("bad", &["ann"]);
    bad["title"] = "x".repeat(257).into();
    let array = json!([event("e1", &["ann"]), bad, event("e1", &["ann"]), event("e2", &["ann"])]);
    let answer = node.post("/v1/events", array.to_string()).await.expect(207);
    let statuses: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
    assert_eq!(statuses, ["stored", "rejected", "duplicate", "stored"]);
    assert_eq!(answer["results"][1]["field"], "title");
    assert_eq!(answer["results"][1]["index"], 1);
    let letters = node.get("/v1/dead-letters").await.expect(200);
    let letter = &letters["items"][0];
    assert!(letter["reason"].as_str().unwrap().starts_with("title:"), "{letter}");
    let path = format!("/v1/dead-letters/{}", letter["id"]);
    let kept = node.get(&path).await.expect(200);
    let payload: Value = serde_json::from_str(kept["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["id"], "bad");
    node.delete(&format!("/v1/dead-letters/{}", letter["id"])).await.expect(204);
    assert_eq!(node.get("/v1/dead-letters").await.expect(200)["items"], json!([]));

    let all_bad = json!([{"id": "x"}, 7]).to_string();
    assert_eq!(node.post("/v1/events", all_bad).await.problem(422).0, "invalid-events");
    assert_eq!(node.post("/v1/events", "[]").await.problem(400).0, "invalid-input");
    assert_eq!(node.post("/v1/events", "[{]").await.problem(400).0, "invalid-input");
    node.post("/v1/events", json!({"id": "x"}).to_string()).await.problem(400);
    let metrics = node.get("/metrics").await;
    for line in ["stored\"} 2", "duplicate\"} 1", "rejected\"} 4", "failed\"} 0"] {
        let line = format!("tidings_events_total{{outcome=\"{line}");
        assert!(metrics.text.contains(&line), "{line}: {metrics:?}");
    }
    // More than are allowed: what comes after is not read.
    let many =
        format!("[{} and nonsense", vec![event("e", &["ben"]).to_string(); 10_001].join(","));
    assert_eq!(node.post("/v1/events", many).await.problem(413).0, "too-many-events");
    assert_eq!(node.get("/v1/users/ben/inbox").await.expect(200)["last_seq"], 0);
}

#[tokio::test]
async fn a_stream_of_lines_is_stored_line_by_line() {
    let site = Site::new("");
    let node = site.start();
    let mut body = String::new();
    for n in 0..1_200 {
        body.push_str(&event(&format!("e{n}"), &["ann"]).to_string());
        body.push_str("\r\n");
        if n == 600 {
            body.push_str("\nnot json\n");
        }
    }
    let answer = node.post("/v1/events/batch", body).await.expect(207);
    assert_eq!((&answer["stored"], &answer["rejected"]), (&json!(1_200), &json!(1)));
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 1_201);
    // Line 601 is blank, line 602 is not an event.
    assert_eq!(
        (&results[601]["index"], &results[601]["status"]),
        (&json!(602), &json!("rejected"))
    );
    let page = node.get("/v1/users/ann/notifications?limit=2").await.expect(200);
    assert_eq!((ids(&page), &page["last_seq"]), (vec!["e1199", "e1198"], &json!(1_200)));
}

#[tokio::test]
async fn long_lines_of_a_stream_are_handed_on_some_at_a_time_and_none_is_left_out() {
    let site = Site::new("");
    let node = site.start();
    // More of either kind than is held at once.
    let long = "x".repeat(15_000);
    let mut body = String::new();
    for n in 0..60 {
        let mut good = event(&format!("e{n}"), &["ann"]);
        good["data"] = long.as_str().into();
        body.push_str(&format!("{good}\n{{\"id\": \"bad{n}\", \"title\": \"{long}\"}}\n"));
    }
    let answer = node.post("/v1/events/batch", body).await.expect(207);
    assert_eq!((&answer["stored"], &answer["rejected"]), (&json!(60), &json!(60)));
    let indices: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|it| it["index"].clone()).collect();
    assert_eq!(indices, (0..120).collect::<Vec<_>>());
    let page = node.get("/v1/users/ann/notifications?limit=100").await.expect(200);
    let newest_first: Vec<_> = (0..60).rev().map(|n| format!("e{n}")).collect();
    assert_eq!(ids(&page), newest_first);
    let letters = node.get("/v1/dead-letters?limit=100").await.expect(200);
    assert_eq!(letters["items"].as_array().unwrap().len(), 60);
}

#[tokio::test]
async fn a_body_over_a_limit_is_refused_and_nothing_partial_is_hidden() {
    let site = Site::new("[server]\nbody_limit_bytes = 20000");
    let node = site.start();
    let big = "x".repeat(20_001);
    assert_eq!(node.post("/v1/events", big).await.problem(413).0, "body-too-large");
    let line = format!("{}\n", event("e", &["ann"]));
    let lines: String = (0..400).map(|n| line.replace("\"e\"", &format!("\"e{n}\""))).collect();
    let answer = node.post("/v1/events/batch", lines).await;
    assert_eq!(answer.status, 413);
    let told = answer.json()["results"].as_array().map_or(0, Vec::len);
    let page = node.get("/v1/users/ann/inbox").await.expect(200);
    assert_eq!(page["last_seq"], told);

    let site = Site::new("");
    let node = site.start();
    let lines: String =
        (0..10_001).map(|n| format!("{}\n", event(&n.to_string(), &["ann"]))).collect();
    let answer = node.post("/v1/events/batch", lines).await;
    assert_eq!(answer.json()["results"].as_array().unwrap().len(), 10_000);
    assert_eq!(answer.problem(413).0, "too-many-events");
    assert_eq!(node.get("/v1/users/ann/inbox").await.expect(200)["last_seq"], 10_000);
}

#[tokio::test]
async fn an_inbox_is_paged_newest_first_and_marked() {
    let site = Site::new("");
    let node = site.start();
    let events: Vec<_> = (1..=5).map(|n| event(&format!("e{n}"), &["ann"])).collect();
    node.post("/v1/events", json!(events).to_string()).await.expect(200);
    let first = node.get("/v1/users/ann/notifications?limit=2").await.expect(200);
    assert_eq!(ids(&first), ["e5", "e4"]);
    let next = first["next"].as_str().unwrap();
    let second = node.get(&format!("/v1/users/ann/notifications?limit=3&cursor={next}")).await;
    let second = second.expect(200);
    assert_eq!((ids(&second), second.get("next")), (vec!["e3", "e2", "e1"], None));

    let path = "/v1/users/ann/notifications/read";
    let counters = node.post(path, json!({"up_to_seq": 2}).to_string()).await.expect(200);
    assert_eq!(counters["unread"], 3);
    let id = &first["items"][0]["id"];
    let counters = node.post(path, json!({"ids": [id]}).to_string()).await.expect(200);
    assert_eq!(counters["unread"], 2);
    let archive = "/v1/users/ann/notifications/archive";
    node.post(archive, json!({"up_to_seq": 4}).to_string()).await.expect(200);
    let page = node.get("/v1/users/ann/notifications").await.expect(200);
    assert_eq!((ids(&page), &page["unread"]), (vec!["e5"], &json!(0)));
    assert!(page["items"][0]["read_at"].is_string());
    for (body, field) in [
        (json!({}), ""),
        (json!({"up_to_seq": 1, "ids": []}), ""),
        (json!({"up_to_seq": "1"}), "up_to_seq"),
        (json!({"ids": ["1"]}), "ids[0]"),
    ] {
        assert_eq!(node.post(path, body.to_string()).await.problem(400).1, field, "{body}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=x", "offset=3"] {
        node.get(&format!("/v1/users/ann/notifications?{query}")).await.problem(400);
    }
}

#[tokio::test]
async fn followers_are_told_and_the_graph_can_be_read_and_changed() {
    let site = Site::new("");
    let node = site.start();
    let lines: String = (0..2_500)
        .map(|n| format!("{}\n", json!({"follower": format!("f{n}"), "followee": "star"})))
        .collect();
    let answer = node.post("/v1/graph/import", lines).await.expect(200);
    assert_eq!(answer, json!({"lines": 2_500, "added": 2_500}));
    node.put("/v1/users/star/following/f7", &json!({})).await.expect(200);
    let again = node.put("/v1/users/star/following/f7", &json!({})).await.expect(200);
    assert_eq!(again["changed"], false);
    node.delete("/v1/users/f9/following/star").await.expect(204);
    let counts = node.get("/v1/users/star/counts").await.expect(200);
    assert_eq!(counts, json!({"followers": 2_499, "following": 1}));
    let friends = node.get("/v1/users/star/friends").await.expect(200);
    assert_eq!(friends["items"], json!([{"user": "f7"}]));
    let question = json!({"follower": "f7", "followees": ["star", "f9"]}).to_string();
    let answer = node.post("/v1/graph/check", question).await.expect(200);
    assert_eq!(answer["following"], json!([true, false]));

    let post = json!({"id": "p1", "source": "posts", "type": "post", "audience": {"followers_of": "star"}});
    let answer = node.post("/v1/events", post.to_string()).await.expect(200);
    // The newest thousand are told at once, a job tells the others.
    assert_eq!(answer["results"][0]["notifications"], 1_000);
    assert_eq!(answer["results"][0]["fans_out"], true);
    let told = node.get("/v1/users/f2499/notifications").await.expect(200);
    assert_eq!(ids(&told), ["p1"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let told = node.get("/v1/users/f0/notifications").await.expect(200);
        if ids(&told) == ["p1"] {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the first follower is not told");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let not_told = node.get("/v1/users/f9/notifications").await.expect(200);
    assert_eq!(ids(&not_told), [""; 0]);

    assert_eq!(node.put("/v1/users/a/following/a", &json!({})).await.problem(400).1, "other");
    let bad = "{\"follower\":\"x\",\"followee\":\"y\"}\n{\"follower\":\"x\"}\n";
    let answer = node.post("/v1/graph/import", bad).await;
    assert_eq!(answer.json()["added"], 1);
    assert_eq!(answer.problem(400).1, "line 1");
}

#[tokio::test]
async fn a_device_is_registered_without_ever_showing_its_token() {
    let site = Site::new("");
    let node = site.start();
    let device = json!({"platform": "fcm", "token": "secret-token", "app": "app.example"});
    let answer = node.put("/v1/users/ann/devices/phone", &device).await;
    assert!(!answer.text.contains("secret-token"));
    answer.expect(200);
    node.put("/v1/users/ben/devices/phone", &device).await.expect(200);
    let anns = node.get("/v1/users/ann/devices").await.expect(200);
    assert_eq!(anns, json!([]), "the token moved to ben");
    let bens = node.get("/v1/users/ben/devices").await;
    assert!(!bens.text.contains("secret-token"));
    assert_eq!(bens.expect(200)[0]["id"], "phone");
    node.delete("/v1/users/ben/devices/phone").await.expect(204);
    node.delete("/v1/users/ben/devices/phone").await.expect(204);
    let bad = json!({"platform": "fcm", "token": "with space", "app": "a"});
    assert_eq!(node.put("/v1/users/ann/devices/phone", &bad).await.problem(400).1, "token");
    let bad = json!({"platform": "pager", "token": "t", "app": "a"});
    assert_eq!(node.put("/v1/users/ann/devices/phone", &bad).await.problem(400).1, "platform");
}

#[tokio::test]
async fn the_node_says_how_it_is_and_what_it_can_do() {
    let site = Site::new("");
    let node = site.start();
    assert_eq!(node.get("/healthz").await.text, "ok\n");
    let ready = node.get("/readyz").await.expect(200);
    assert_eq!(ready["ready"], true);
    node.post("/v1/events", event("e", &["ann"]).to_string()).await.expect(200);
    let metrics = node.get("/metrics").await;
    assert!(metrics.text.contains("tidings_events_total{outcome=\"stored\"} 1"), "{metrics:?}");
    assert!(!metrics.text.contains("ann"), "a user in a metric");
    let document = node.get("/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/events"]["post"].is_object());
    let page = node.get("/docs/").await;
    assert!(page.status == 200 && page.text.contains("swagger"), "{page:?}");
    assert_eq!(node.get("/nothing").await.problem(404).0, "not-found");
    assert_eq!(node.delete("/v1/events").await.problem(405).0, "method-not-allowed");
    let answer = node.request(Method::GET, "/healthz").header("x-request-id", "r1").send().await;
    assert_eq!(answer.unwrap().headers()["x-request-id"], "r1");
}

#[tokio::test]
async fn two_nodes_cannot_share_a_data_directory() {
    let site = Site::new("");
    let node = site.start();
    let message = site.refused();
    assert!(message.contains("data"), "{message}");
    node.stop();
    site.start().stop();
}
