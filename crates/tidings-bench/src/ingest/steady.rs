//! A steady stream from Kafka, and how long an event takes to a screen.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use tokio::task::JoinSet;

use super::{
    backlog::source_of,
    bench::Bench,
    commits::Commits,
    kafka::{self, PARTITIONS, Steady, Streamed},
    measure::{Watched, number, offsets_of, us_per_event},
    node::{Node, Setup, Store},
    sessions::{Sessions, Tally},
    story,
};
use crate::{limit::rate, process, report::Report};

/// Events per second.
const RATE: u64 = 10_000;
/// Users with a live session.
const LIVE_USERS: u64 = 500;
/// One event of so many is for one of them; all others are for the users of the backlog.
const LIVE_EVERY: u64 = 20;
/// How long the last notifications may take when nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let seconds = bench.pick(60, 10);
    // Inboxes are made, caches filled: not part of the latency.
    let warm_seconds = bench.pick(10, 3);
    let (events, warm) = (RATE * (seconds + warm_seconds), RATE * warm_seconds);
    let database = bench.database("steady").await?;
    database.checkpoint().await?;
    let topic = bench.topic("steady", PARTITIONS).await?;
    let setup = Setup { store: Store::Postgres(database.url()), source: Some(source_of(&topic)) };
    let node = Node::start(bench, &setup).await?;
    let tally = Tally::new(events, warm)?;
    let sessions = Sessions::open(&node.url(), (0..LIVE_USERS).map(live_user), &tally).await?;
    bench.say(format_args!("{RATE} events/s for {} s", seconds + warm_seconds));
    let commits = Commits::watch(database.url()).await?;
    let watched = Watched { pid: node.pid(), postmaster: Some(database.postmaster()) };
    let before = (process::usage(node.pid()).unwrap_or_default(), watched.postgres_cpu());
    let making = Arc::clone(&tally);
    let steady = Steady {
        topic: topic.clone(),
        rate: RATE,
        events,
        user_of,
        producing: Arc::new(move |number| making.making(number)),
    };
    let stop = bench.stop.clone();
    let mut generator = JoinSet::new();
    generator.spawn_blocking(move || kafka::stream(&steady, &stop));
    let Streamed { events: produced, took } = match generator.join_next().await {
        Some(streamed) => streamed??,
        None => anyhow::bail!("nothing was produced"),
    };
    commits.stop(report).await?;
    let behind = produced.saturating_sub(offsets_of(&node.api()?).await?);
    let after = (process::usage(node.pid()).unwrap_or_default(), watched.postgres_cpu());
    let faults = tally.settle(produced / LIVE_EVERY, PATIENCE).await;
    ensure!(faults.holes + faults.duplicates == 0, "live sessions saw {faults:?}:\n{}", node.log());
    tally.report("", report);
    let (node_cpu, postgres_cpu) = (after.0.since(before.0).cpu, after.1.saturating_sub(before.1));
    report.put("steady_events_per_s", rate(produced, took));
    report.put("steady_events_behind_at_the_end", number(behind));
    report.put("steady_node_cpu_us_per_event", us_per_event(node_cpu, produced));
    report.put("steady_postgres_cpu_us_per_event", us_per_event(postgres_cpu, produced));
    report.put("steady_gaps_filled", number(faults.gaps));
    report.put("steady_rss_bytes", after.0.rss_f64());
    sessions.close().await;
    node.stop().await?;
    database.check(produced).await?;
    bench.drop_database(database).await?;
    bench.drop_topic(&topic).await
}

/// The id of a user with a live session.
pub(super) fn live_user(user: u64) -> String {
    format!("live_{user:04}")
}

fn user_of(number: u64) -> String {
    if number.is_multiple_of(LIVE_EVERY) {
        live_user(number / LIVE_EVERY % LIVE_USERS)
    } else {
        story::user_name(story::user_of(number))
    }
}
