//! A fan-out that is killed half way, with one node and with another beside it: each follower is told
//! once.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::{
    broker::Stream,
    harness::Node,
    ledger::Ledger,
    scene::{Scene, Setup, StoreKind, start},
    story::{Draft, Story},
    until::until,
    verify::{assert_exact, inbox, try_get, until_drained},
};

const FOLLOWERS: usize = 1_000;
/// Events to the same followers, worked at in turns.
const FAN_OUTS: usize = 3;
const KILLS: usize = 3;
/// Enough pages that a kill finds the work half done.
const SECTIONS: &str = "
[fan_out]
page = 20
concurrent = 2
lease_ms = 1000
";

fn follower(number: usize) -> String {
    format!("f{number}")
}

fn follows(followers: usize) -> String {
    let edge = |n| json!({"follower": follower(n), "followee": "star"}).to_string();
    (0..followers).map(edge).collect::<Vec<_>>().join("\n")
}

/// Adds what the fan-outs have to become: an event for everyone who follows.
fn expect_fan_outs(ledger: &mut Ledger) {
    for event in 0..FAN_OUTS {
        for number in 0..FOLLOWERS {
            // Pages of different events may take turns in any order: no place in a partition.
            let inbox = ledger.told.entry(follower(number)).or_default();
            inbox.insert(format!("star{event}"), (-1 - i32::try_from(event).unwrap(), 0));
        }
    }
}

async fn survives(store: StoreKind, seed: u64) {
    println!("seed {seed} on {store}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut setup = Setup::new(store, 1);
    setup.sections = SECTIONS.to_owned();
    let scene = Scene::new(setup).await;
    let node = scene.start();
    node.post("/v1/graph/import", follows(FOLLOWERS)).await.expect(200);
    let mut writer = scene.writer();
    let stars = (0..FAN_OUTS).map(|event| {
        let json = json!({
            "id": format!("star{event}"), "source": "story", "type": "post",
            "audience": {"followers_of": "star"},
        });
        Draft::telling("", &[], json.to_string())
    });
    writer.write(&stars.collect::<Vec<_>>()).await;
    let stream = Stream::start(writer, Story::new(seed, 10, 1), 200);
    node.kill();
    for _ in 0..KILLS {
        let node = start(&scene.site);
        let wait = Duration::from_millis(random.random_range(0..1_500));
        tokio::time::sleep(wait).await;
        node.kill();
    }
    let (mut writer, _) = stream.stop().await;
    expect_fan_outs(&mut writer.ledger);
    let node = start(&scene.site);
    until_drained(&node, &writer.ledger).await;
    for number in 0..FOLLOWERS {
        let path = format!("/v1/users/{}/inbox", follower(number));
        until("the follower is told of all", async || {
            let counters = try_get(&node, &path).await;
            counters.is_some_and(|it| it["last_seq"].as_u64() >= Some(FAN_OUTS as u64))
        })
        .await;
    }
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_that_is_killed_half_way_tells_each_follower_once() {
    for store in [StoreKind::Sqlite, StoreKind::Postgres] {
        for _ in 0..2 {
            survives(store, u64::from(rand::random::<u32>())).await;
        }
    }
}

/// What the node says of the fan-outs of graphs that are not its own.
async fn elsewhere(node: &Node, metric: &str) -> Option<f64> {
    let metrics = node.get("/metrics").await.text;
    let name = format!("{metric}{{graph=\"elsewhere\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_graph_of_its_own_leaves_the_fan_outs_of_another_alone_and_says_so() {
    const FOLLOWERS: usize = 600;
    let mut setup = Setup::new(StoreKind::Postgres, 1);
    setup.sections = "\n[fan_out]\npage = 2\nlease_ms = 1000\n".to_owned();
    let scene = Scene::new(setup).await;
    let node = scene.start();
    node.post("/v1/graph/import", follows(FOLLOWERS)).await.expect(200);
    let event = json!({
        "id": "star", "source": "story", "type": "post", "audience": {"followers_of": "star"},
    });
    node.post("/v1/events", event.to_string()).await.expect(200);
    node.kill();

    // Nobody follows in the graph of the other.
    let site = scene.another_site("node-2");
    let other = start(&site);
    until("the other node sees the fan-out, longer than anybody has leased it", async || {
        elsewhere(&other, "tidings_fan_out_unfinished").await == Some(1.0)
            && elsewhere(&other, "tidings_fan_out_oldest_age_seconds").await > Some(2.0)
    })
    .await;
    let node = scene.start();
    until("nothing is left to do", async || {
        elsewhere(&other, "tidings_fan_out_unfinished").await == Some(0.0)
    })
    .await;
    for number in 0..FOLLOWERS {
        assert_eq!(inbox(&node, &follower(number)).await, ["star"]);
    }
    tokio::task::block_in_place(|| {
        other.stop();
        node.stop();
    });
    scene.remove().await;
}
