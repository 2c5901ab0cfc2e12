//! PostgreSQL goes away in every way it can, under load, and comes back: nothing lost, nothing twice.

use std::time::Duration;

use crate::{
    broker::Stream,
    harness::{Node, Site, event},
    process::resident_bytes,
    proxy::{Direction, FaultProxy},
    scene::{Scene, Setup, StoreKind, start},
    servers::PrivatePostgres,
    story::{Draft, Story, event_json},
    until::until,
    verify::{assert_exact, inbox, part, records_done, until_drained},
};

const COMMIT: &[u8] = b"COMMIT\0";

async fn scene_on(server: &PrivatePostgres) -> Scene {
    let mut setup = Setup::new(StoreKind::Postgres, 3);
    setup.postgres = Some(server.url());
    setup.kafka = "queue_bytes = 1048576\npartition_queue_bytes = 524288".to_owned();
    Scene::new(setup).await
}

async fn until_store_is(node: &Node, up: bool) {
    until("readiness notices", async || part(node, "store").await.is_some_and(|it| it["up"] == up))
        .await;
}

async fn until_some_more(node: &Node) {
    let before = records_done(node).await;
    until("some more records are stored", async || records_done(node).await >= before + 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_be_stopped_restarted_killed_and_frozen_under_load() {
    let mut server = PrivatePostgres::start().await;
    let scene = scene_on(&server).await;
    let stream = Stream::start(scene.writer(), Story::new(11, 40, 3), 1_500);
    let node = scene.start();
    until_some_more(&node).await;

    server.stop();
    until_store_is(&node, false).await;
    server.start_again().await;
    until_some_more(&node).await;
    until_store_is(&node, true).await;

    // At once, so that the node meets a server that is starting.
    server.stop();
    server.start_again().await;
    until_some_more(&node).await;

    for _ in 0..2 {
        server.kill();
        server.start_again().await;
        until_some_more(&node).await;
    }

    server.freeze();
    until_store_is(&node, false).await;
    server.thaw();
    until_some_more(&node).await;

    let (writer, _) = stream.stop().await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_frozen_requests_and_probes_are_answered_and_sending_again_tells_once() {
    let server = PrivatePostgres::start().await;
    let mut setup = Setup::new(StoreKind::Postgres, 1);
    setup.postgres = Some(server.url());
    setup.sections = "[intake]\nanswer_wait_ms = 1000".to_owned();
    let scene = Scene::new(setup).await;
    let node = scene.start();
    node.post("/v1/events", event("before", &["ann"]).to_string()).await.expect(200);

    server.freeze();
    let many: Vec<_> = (0..1_200).map(|n| event(&format!("e{n}"), &["ben"])).collect();
    let many = serde_json::Value::from(many).to_string();
    for body in [event("meanwhile", &["ann"]).to_string(), many.clone()] {
        let answer = node.post("/v1/events", body).await;
        assert_eq!(answer.headers["retry-after"], "1", "{answer:?}");
        let problem = answer.expect(503);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("has not answered in time"), "{detail}");
    }
    let ready = node.get("/readyz").await.expect(503);
    let store = ready["parts"].as_array().unwrap().iter().find(|it| it["name"] == "store");
    assert_eq!(store.unwrap()["reason"], "no-answer", "{ready}");
    server.thaw();

    for (path, body) in [
        ("/v1/events", event("meanwhile", &["ann"]).to_string()),
        ("/v1/events", many),
        ("/v1/events", event("after", &["ann"]).to_string()),
    ] {
        until("the store takes it", async || node.post(path, body.clone()).await.status == 200)
            .await;
    }
    assert_eq!(inbox(&node, "ann").await, ["before", "meanwhile", "after"]);
    assert_eq!(inbox(&node, "ben").await.len(), 1_200);
    until_store_is(&node, true).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_bounded_while_postgres_is_away_and_nothing_is_dropped() {
    /// What the queues may hold (`queue_bytes` here, as much in the client), and what a debug build's
    /// allocator adds; the records that wait are three times as many bytes.
    const MORE_BYTES: u64 = 40 << 20;
    let mut server = PrivatePostgres::start().await;
    let scene = scene_on(&server).await;
    let (mut writer, mut story) = (scene.writer(), Story::new(12, 40, 3));
    writer.write(&story.take(3_000)).await;
    let node = scene.start();
    until_drained(&node, &writer.ledger).await;
    let before = resident_bytes(node.id());

    server.stop();
    until_store_is(&node, false).await;
    let users = vec!["ann".to_owned()];
    let body = "x".repeat(4_000);
    let large = |n: usize| {
        let id = format!("large{n}");
        let json = event_json(&id, &users, &[("body", body.as_str().into())]).to_string();
        Draft::telling(&id, &users, json).on(i32::try_from(n % 3).unwrap())
    };
    let drafts: Vec<_> = (0..30_000).map(large).collect();
    let mut most = 0;
    for some in drafts.chunks(1_000) {
        writer.write(some).await;
        most = most.max(resident_bytes(node.id()));
    }
    until("partitions are paused", async || {
        let metrics = node.get("/metrics").await.text;
        metrics.lines().any(|line| line == "tidings_kafka_paused_partitions 3")
    })
    .await;
    let kafka = part(&node, "kafka").await.unwrap();
    assert!(kafka["up"] == false && kafka.to_string().contains("waits"), "{kafka}");
    most = most.max(resident_bytes(node.id()));
    println!("{} MiB before, at most {} MiB while PostgreSQL is away", before >> 20, most >> 20);
    assert!(most < before + MORE_BYTES, "{before} bytes before, {most} while the store is away");

    server.start_again().await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_killed_in_mid_commit_has_all_of_a_batch_or_nothing_and_is_given_it_again() {
    let mut server = PrivatePostgres::start().await;
    let scene = scene_on(&server).await;
    let proxy = FaultProxy::start(server.address()).await;
    let site = Site::new(&scene.toml_through(&proxy.address.to_string(), "node-1"));
    let stream = Stream::start(scene.writer(), Story::new(13, 40, 3), 1_000);
    let node = start(&site);
    until_some_more(&node).await;
    for (direction, nth) in [(Direction::Up, 2), (Direction::Down, 3), (Direction::Up, 5)] {
        proxy.hold_at(direction, COMMIT, nth);
        proxy.caught().await;
        server.kill();
        proxy.cut();
        server.start_again().await;
        until_some_more(&node).await;
    }
    let (writer, _) = stream.stop().await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_and_slow_costs_time_and_nothing_else() {
    let server = PrivatePostgres::start().await;
    let scene = scene_on(&server).await;
    let proxy = FaultProxy::start(server.address()).await;
    let site = Site::new(&scene.toml_through(&proxy.address.to_string(), "node-1"));
    let stream = Stream::start(scene.writer(), Story::new(14, 40, 3), 1_000);
    let node = start(&site);
    until_some_more(&node).await;
    for round in 0..12 {
        if round % 2 == 0 {
            proxy.cut();
        } else {
            // The commit does not arrive, or it does and the answer is lost.
            let direction = if round % 4 == 1 { Direction::Up } else { Direction::Down };
            proxy.hold_at(direction, COMMIT, 1 + round);
            proxy.caught().await;
            proxy.cut();
        }
        until_some_more(&node).await;
    }
    proxy.slow_down(Duration::from_millis(40));
    until_some_more(&node).await;
    proxy.slow_down(Duration::ZERO);
    let (writer, _) = stream.stop().await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}
