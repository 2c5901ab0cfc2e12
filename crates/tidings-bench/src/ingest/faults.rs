//! What restarts, rebalances and poison cost. Each run checks that nothing is lost or doubled.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    backlog::{node_on_postgres, produce, source_of},
    bench::Bench,
    kafka::{self, PARTITIONS, Poison, Steady, Streamed},
    measure::median_of,
    node::{Node, Setup, Store},
    pauses::Pauses,
    postgres::{Database, Sql},
    story,
};
use crate::report::Report;

/// Events per second while nodes come and go.
const RATE: u64 = 2_000;
/// How long a node may take to store something after a restart.
const FIRST_COMMIT: Duration = Duration::from_secs(90);
/// How long the rest may take to be stored.
const CATCH_UP: Duration = Duration::from_secs(120);
/// How many rows are stored, by what is moved with them.
const STORED: &str = "SELECT coalesce(sum(next_offset), 0)::bigint FROM checkpoint";

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    restarts(bench, Stop::Kill, bench.pick(20, 3), report).await?;
    restarts(bench, Stop::Ask, bench.pick(20, 2), report).await?;
    rebalance(bench, report).await?;
    poison(bench, report).await
}

/// How a node is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// `kill -9`; the node has a name that outlives it, or the broker would wait for it to come back.
    Kill,
    /// SIGTERM or its like; the node leaves its group.
    Ask,
}

/// A stream that goes on until it is stopped.
struct Stream {
    task: JoinSet<anyhow::Result<Streamed>>,
    stop: CancellationToken,
}

impl Stream {
    fn start(bench: &Bench, topic: &str) -> Self {
        let steady = Steady {
            topic: topic.to_owned(),
            rate: RATE,
            events: u64::MAX,
            user_of: |event| story::user_name(story::user_of(event)),
            producing: Arc::new(|_| {}),
        };
        let stop = bench.stop.child_token();
        let (mut task, stopping) = (JoinSet::new(), stop.clone());
        task.spawn_blocking(move || kafka::stream(&steady, &stopping));
        Self { task, stop }
    }

    /// How many events there were.
    async fn stop(mut self) -> anyhow::Result<u64> {
        self.stop.cancel();
        Ok(self.task.join_next().await.context("the generator")???.events)
    }
}

/// From the start of the process to the first commit, with events waiting.
async fn restarts(
    bench: &Bench,
    stop: Stop,
    times: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let name = if stop == Stop::Kill { "restart_after_kill" } else { "restart" };
    bench.say(format_args!("{name}: {times} times"));
    let database = bench.database("restart").await?;
    let topic = bench.topic("restart", PARTITIONS).await?;
    let mut source = source_of(&topic);
    if stop == Stop::Kill {
        "bench-node".clone_into(&mut source.instance_id);
    }
    let setup = Setup { store: Store::Postgres(database.url()), source: Some(source) };
    let stream = Stream::start(bench, &topic);
    let mut node = Node::start(bench, &setup).await?;
    let dir = node.dir().to_owned();
    first_commit(&node, &database.sql, 0).await?;
    let mut took = Vec::new();
    for _ in 0..times {
        match stop {
            Stop::Kill => node.kill().await?,
            Stop::Ask => node.stop().await?,
        }
        let before = database.sql.number(STORED).await?;
        node = Node::start_in(&dir, &setup).await?;
        took.push(first_commit(&node, &database.sql, before).await?);
    }
    took.sort();
    let at = |percent: usize| took[(took.len() * percent).div_ceil(100).max(1) - 1].as_secs_f64();
    report.put(&format!("{name}_to_first_commit_p50_s"), at(50));
    report.put(&format!("{name}_to_first_commit_p95_s"), at(95));
    let produced = stream.stop().await?;
    settle(&node, &database, produced).await?;
    node.stop().await?;
    database.check(produced).await?;
    bench.drop_database(database).await?;
    bench.drop_topic(&topic).await
}

/// Waits until more than `before` is stored; returns how long after the start of the process.
async fn first_commit(node: &Node, sql: &Sql, before: u64) -> anyhow::Result<Duration> {
    while sql_stored(sql).await? <= before {
        if node.started().elapsed() > FIRST_COMMIT {
            bail!("nothing is stored after {FIRST_COMMIT:?}:\n{}", node.log());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(node.started().elapsed())
}

/// 0 while there are no tables.
async fn sql_stored(sql: &Sql) -> anyhow::Result<u64> {
    let there = "SELECT count(*) FROM pg_tables WHERE tablename = 'checkpoint'";
    if sql.number(there).await? == 0 { Ok(0) } else { sql.number(STORED).await }
}

/// Waits until all of `produced` is stored.
async fn settle(node: &Node, database: &Database, produced: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let stored = database.sql.number(STORED).await?;
        if stored >= produced {
            return Ok(());
        }
        if begun.elapsed() > CATCH_UP {
            bail!("{stored} of {produced} events are stored:\n{}", node.log());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The longest pause of any partition while a second node joins, and while it leaves.
async fn rebalance(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    bench.say("a second node joins and leaves");
    let phase = Duration::from_secs(bench.pick(15, 8));
    let rounds = bench.pick(3, 1);
    let database = bench.database("rebalance").await?;
    let topic = bench.topic("rebalance", PARTITIONS).await?;
    let setup = Setup { store: Store::Postgres(database.url()), source: Some(source_of(&topic)) };
    let stream = Stream::start(bench, &topic);
    let first = Node::start(bench, &setup).await?;
    first_commit(&first, &database.sql, 0).await?;
    let mut pauses = Pauses::watch(database.url()).await?;
    sleep(phase).await;
    let (mut joining, mut leaving) = (Duration::ZERO, Duration::ZERO);
    let alone = pauses.longest();
    for _ in 0..rounds {
        let second = Node::start(bench, &setup).await?;
        sleep(phase).await;
        joining = joining.max(pauses.longest());
        second.stop().await?;
        sleep(phase).await;
        leaving = leaving.max(pauses.longest());
    }
    let produced = stream.stop().await?;
    settle(&first, &database, produced).await?;
    report.put("rebalance_pause_alone_ms", alone.as_secs_f64() * 1e3);
    report.put("rebalance_pause_joining_ms", joining.as_secs_f64() * 1e3);
    report.put("rebalance_pause_leaving_ms", leaving.as_secs_f64() * 1e3);
    timeout(CATCH_UP, pauses.stop()).await??;
    first.stop().await?;
    // Neither more nor fewer: a doubled notification would be a row too many.
    database.check(produced).await?;
    bench.drop_database(database).await?;
    bench.drop_topic(&topic).await
}

/// A backlog of which 1 % cannot be decoded, beside one that is clean.
async fn poison(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let events = bench.pick(300_000, 40_000);
    let clean = produce(bench, "clean", events, Poison::None).await?;
    let poisoned = produce(bench, "poison", events, Poison::OnePercent).await?;
    let (mut clean_runs, mut poisoned_runs) = (vec![], vec![]);
    for turn in 0..bench.pick(2, 1) {
        // There and back.
        for first in [true, false] {
            if first == (turn == 0) {
                clean_runs.push(node_on_postgres(bench, &clean).await?);
            } else {
                poisoned_runs.push(node_on_postgres(bench, &poisoned).await?);
            }
        }
    }
    let [clean_rate, poisoned_rate] =
        [&clean_runs, &poisoned_runs].map(|runs| median_of(runs, |it| it.events_per_s));
    report.put("poison_events_per_s", poisoned_rate);
    report.put("poison_slower_percent", (1.0 - poisoned_rate / clean_rate) * 100.0);
    // Beside the rate, which a busy machine disturbs more.
    let [clean_cpu, poisoned_cpu] = [&clean_runs, &poisoned_runs]
        .map(|runs| median_of(runs, |it| it.cpu_us_per_event + it.postgres_cpu_us_per_event));
    report.put("poison_more_cpu_percent", (poisoned_cpu / clean_cpu - 1.0) * 100.0);
    report.put("poison_dead_letters", super::measure::number(poisoned.poisoned));
    bench.drop_topic(&clean.topic).await?;
    bench.drop_topic(&poisoned.topic).await
}
