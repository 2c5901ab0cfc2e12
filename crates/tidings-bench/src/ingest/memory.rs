//! Memory: idle, and while the database is stopped under full load.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{task::JoinSet, time::sleep};

use super::{
    backlog::source_of,
    bench::Bench,
    kafka::{self, PARTITIONS, Steady},
    measure::{number, offsets_of},
    node::{Node, Setup, Store},
    private_postgres::PrivatePostgres,
    story,
};
use crate::report::Report;

/// Events per second while the database is stopped.
const RATE: u64 = 10_000;
/// How long a node is left alone before it counts as idle.
const IDLE: Duration = Duration::from_secs(5);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long after the database is stopped memory still counts as what it was before: queues fill up.
const FILL: Duration = Duration::from_secs(5);
/// How long the node may take to store what has piled up.
const CATCH_UP: Duration = Duration::from_secs(180);

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let node = Node::start(bench, &Setup { store: Store::Embedded, source: None }).await?;
    sleep(IDLE).await;
    report.put("idle_rss_bytes", number(node.rss_bytes()));
    node.stop().await?;
    database_stopped(bench, report).await
}

async fn database_stopped(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let stopped_for = Duration::from_secs(bench.pick(60, 10));
    let server = PrivatePostgres::start().await?;
    let topic = bench.topic("stopped", PARTITIONS).await?;
    let store = Store::Postgres(server.database.url());
    let node = Node::start(bench, &Setup { store, source: Some(source_of(&topic)) }).await?;
    let steady = Steady {
        topic: topic.clone(),
        rate: RATE,
        events: u64::MAX,
        user_of: |event| story::user_name(story::user_of(event)),
        producing: Arc::new(|_| {}),
    };
    let stop = bench.stop.child_token();
    let mut generator = JoinSet::new();
    let stopping = stop.clone();
    generator.spawn_blocking(move || kafka::stream(&steady, &stopping));
    report.put("full_rate_rss_bytes", most_memory(&node, bench.pick(10, 5)).await);
    bench.say(format_args!("PostgreSQL is stopped for {stopped_for:?}"));
    server.freeze()?;
    let frozen = Instant::now();
    report.put("stopped_first_rss_bytes", most_memory(&node, FILL.as_secs()).await);
    let left = stopped_for.saturating_sub(frozen.elapsed()).as_secs();
    report.put("stopped_rss_bytes", most_memory(&node, left).await);
    server.thaw()?;
    stop.cancel();
    let produced = generator.join_next().await.context("the generator")???.events;
    let thawed = Instant::now();
    let api = node.api()?;
    loop {
        match offsets_of(&api).await {
            Ok(stored) if stored >= produced => break,
            // The node may still be finding its connections dead.
            Ok(_) | Err(_) if thawed.elapsed() < CATCH_UP => sleep(LOOK).await,
            Ok(stored) => bail!("{stored} of {produced} events are stored:\n{}", node.log()),
            Err(error) => return Err(error.context(node.log())),
        }
    }
    report.put("stopped_catch_up_s", thawed.elapsed().as_secs_f64());
    report.put("caught_up_rss_bytes", number(node.rss_bytes()));
    node.stop().await?;
    server.database.check(produced).await?;
    bench.drop_topic(&topic).await
}

/// The most memory that the node is seen to have within so many seconds, in bytes.
async fn most_memory(node: &Node, secs: u64) -> f64 {
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < Duration::from_secs(secs) {
        most = most.max(node.rss_bytes());
        sleep(LOOK).await;
    }
    number(most)
}
