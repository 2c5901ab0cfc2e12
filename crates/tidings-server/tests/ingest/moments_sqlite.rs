//! `kill -9` at named moments, on SQLite.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use rand::Rng;
use serde_json::{Value, json};

use crate::{
    broker::Stream,
    deadly::{MOMENTS, run_until_killed},
    scene::{Scene, Setup, StoreKind, start},
    story::Story,
    until::DEADLINE,
    verify::{assert_exact, until_drained},
};

/// Set in the child process: what it reads, and when it dies.
const ORDERS: &str = "TIDINGS_TEST_DEADLY_ORDERS";

/// What the child does; in the test run itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_reads_until_it_kills_itself() {
    if let Some(orders) = std::env::var_os(ORDERS) {
        let orders: Value = serde_json::from_str(&orders.into_string().unwrap()).unwrap();
        run_until_killed(&orders).await;
        panic!("the child ended alive");
    }
}

async fn run_child(orders: &Value) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "moments_sqlite::child_that_reads_until_it_kills_itself"])
        .env(ORDERS, orders.to_string())
        .stdout(Stdio::null());
    let child = tokio::process::Command::from(child).kill_on_drop(true).status();
    let ended = tokio::time::timeout(DEADLINE, child).await;
    let Ok(status) = ended else { panic!("the moment does not come: {orders}") };
    assert_eq!(status.unwrap().signal(), Some(9), "{orders}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_call_of_the_store_a_node_loses_nothing_and_tells_nobody_twice() {
    let seed = u64::from(rand::random::<u32>());
    println!("seed {seed}");
    let mut random: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    let scene = Scene::new(Setup::new(StoreKind::Sqlite, 3)).await;
    let stream = Stream::start(scene.writer(), Story::new(seed, 30, 3), 1_000);
    for moment in MOMENTS.into_iter().chain(MOMENTS) {
        // Each of the three partitions is claimed once.
        let call = random.random_range(1..=3);
        run_child(&json!({
            "dir": scene.site.path().join("data"), "brokers": scene.setup.brokers,
            "topic": scene.topic, "moment": format!("{moment:?}"), "call": call,
        }))
        .await;
    }
    let (writer, _) = stream.stop().await;
    let node = start(&scene.site);
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}
