//! `kill -9` at seeded moments under load, again and again, until the topic is drained.
//!
//! A seed is a plan: partitions, static membership or not, and the moments. `cargo xtask crash` runs
//! hundreds; `cargo xtask crash --seeds 1 --from SEED` repeats one.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    broker::Stream,
    harness::Node,
    process::signal,
    scene::{Scene, Setup, StoreKind, start},
    story::Story,
    until::until,
    verify::{assert_exact, records_done, until_drained},
};

/// The seeds to run instead of some at random, separated by commas.
const SEEDS: &str = "TIDINGS_CRASH_SEEDS";
/// Seeds of a usual run, per store.
const SEEDS_PER_RUN: usize = 6;
const USERS: usize = 40;
/// Records a second while nodes are killed: more than a node that is killed all the time stores.
const PER_SECOND: usize = 2_000;
/// Records that wait when the first node starts.
const BACKLOG: usize = 4_000;

/// When a node is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after it says that it is ready: while it joins, claims, or stores.
    After(Duration),
    /// When it has stored so many records, and a little later.
    Stored(i64, Duration),
    /// So long after it was told to stop: while it drains, or leaves the group.
    Stopping(i64, Duration),
}

#[derive(Debug)]
struct Plan {
    partitions: i32,
    is_static: bool,
    kills: Vec<Moment>,
}

impl Plan {
    fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let partitions = random.random_range(1..=4);
        // Without a static id each kill costs the session timeout before anyone reads on.
        let is_static = random.random_bool(0.75);
        let kills = if is_static { random.random_range(3..=5) } else { 2 };
        let kills = (0..kills).map(|_| moment(&mut random)).collect();
        Self { partitions, is_static, kills }
    }
}

fn moment(random: &mut StdRng) -> Moment {
    let records = random.random_range(1..2_500);
    let shortly = Duration::from_micros(random.random_range(0..20_000));
    match random.random_range(0..4) {
        0 => Moment::After(Duration::from_millis(random.random_range(0..700))),
        1 | 2 => Moment::Stored(records, shortly),
        _ => Moment::Stopping(records, shortly * 4),
    }
}

async fn wait_for(moment: Moment, node: &Node) {
    // The only sleeps here are the moments themselves: what is tested is that none of them matters.
    match moment {
        Moment::After(wait) => tokio::time::sleep(wait).await,
        Moment::Stored(records, wait) => {
            until_stored(node, records).await;
            tokio::time::sleep(wait).await;
        }
        Moment::Stopping(records, wait) => {
            until_stored(node, records).await;
            signal(node.id(), "TERM");
            tokio::time::sleep(wait).await;
        }
    }
}

/// Waits until this node has stored so many records more.
async fn until_stored(node: &Node, records: i64) {
    let before = records_done(node).await;
    until("some more records are stored", async || records_done(node).await >= before + records)
        .await;
}

async fn survives(store: StoreKind, seed: u64) {
    let plan = Plan::of(seed);
    println!("seed {seed} on {store}: {plan:?}");
    let scene = Scene::new(Setup::new(store, plan.partitions)).await;
    let site = if plan.is_static { None } else { Some(scene.another_site("")) };
    let site = site.as_ref().unwrap_or(&scene.site);
    let (mut writer, mut story) = (scene.writer(), Story::new(seed, USERS, plan.partitions));
    writer.write(&story.take(BACKLOG)).await;
    let stream = Stream::start(writer, story, PER_SECOND);
    for moment in plan.kills {
        let node = start(site);
        wait_for(moment, &node).await;
        node.kill();
    }
    let (writer, _) = stream.stop().await;
    let node = start(site);
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    println!("seed {seed} on {store}: {} records, all well", writer.ledger.records);
    scene.remove().await;
}

fn seeds() -> Vec<u64> {
    match std::env::var_os(SEEDS) {
        Some(seeds) => {
            let seeds = seeds.into_string().unwrap();
            seeds.split(',').map(|seed| seed.trim().parse().unwrap()).collect()
        }
        None => (0..SEEDS_PER_RUN).map(|_| u64::from(rand::random::<u32>())).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_sqlite_that_is_killed_loses_nothing_and_tells_nobody_twice() {
    for seed in seeds() {
        survives(StoreKind::Sqlite, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_postgres_that_is_killed_loses_nothing_and_tells_nobody_twice() {
    for seed in seeds() {
        survives(StoreKind::Postgres, seed).await;
    }
}
