//! One event for a million followers, and direct notifications meanwhile.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tidings_client::Api;
use tidings_core::clock::{Clock, SystemClock};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    backlog::check_file,
    bench::Bench,
    measure::number,
    node::{Node, Setup, Store},
    postgres::Database,
    sessions::{Sessions, Tally},
    steady::live_user,
    story,
};
use crate::{limit::rate, process, report::Report};

/// Lines of one import request: far below the longest body.
const IMPORT_LINES: u64 = 100_000;
/// Direct events per second meanwhile, each for one of [`LIVE_USERS`].
const DIRECT_RATE: u64 = 100;
/// Users with a live session, who follow nobody.
const LIVE_USERS: u64 = 50;
/// The most direct events of a run.
const DIRECT_MAX: u64 = 100_000;
/// How long the last row may take.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How long the last direct notifications may take when nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let followers = bench.pick(1_000_000, 20_000);
    let database = bench.database("fanout").await?;
    let setup = Setup { store: Store::Postgres(database.url()), source: None };
    let node = Node::start(bench, &setup).await?;
    let done = Done::Postgres(&database);
    let direct = tell(bench, &node, followers, &done, "fan_out_postgres_", report).await?;
    node.stop().await?;
    database.check(followers + direct).await?;
    bench.drop_database(database).await?;

    let node = Node::start(bench, &Setup { store: Store::Embedded, source: None }).await?;
    let (file, dir) = (node.database_file(), node.dir().to_owned());
    let done = Done::Embedded(&file);
    let direct = tell(bench, &node, followers, &done, "fan_out_sqlite_", report).await?;
    node.stop().await?;
    check_file(&file, followers + direct)?;
    Ok(std::fs::remove_dir_all(dir)?)
}

/// Where a fan-out says that it is done.
enum Done<'a> {
    Postgres(&'a Database),
    Embedded(&'a Path),
}

impl Done<'_> {
    async fn look(&self) -> anyhow::Result<bool> {
        let count = match self {
            Self::Postgres(database) => {
                database.sql.number("SELECT count(*) FROM fan_out WHERE done").await?
            }
            Self::Embedded(file) => {
                // A reader never holds the node's writer up.
                let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                let count: i64 =
                    db.query_row("SELECT count(*) FROM fan_out WHERE done = 1", [], |row| {
                        row.get(0)
                    })?;
                u64::try_from(count)?
            }
        };
        Ok(count > 0)
    }
}

/// Imports the followers, tells them, and returns how many direct events there were meanwhile.
async fn tell(
    bench: &Bench,
    node: &Node,
    followers: u64,
    done: &Done<'_>,
    prefix: &str,
    report: &mut Report,
) -> anyhow::Result<u64> {
    let api = node.api()?;
    bench.say(format_args!("importing {followers} follows"));
    let begun = Instant::now();
    import(&api, followers).await?;
    report.put(&format!("{prefix}import_follows_per_s"), rate(followers, begun.elapsed()));
    let tally = Tally::new(DIRECT_MAX, 0)?;
    let sessions = Sessions::open(&node.url(), (0..LIVE_USERS).map(live_user), &tally).await?;
    let before = process::usage(node.pid()).unwrap_or_default();
    let begun = Instant::now();
    let event = json!({
        "id": "star-1", "source": "bench", "type": "post", "time": SystemClock.now(),
        "audience": {"followers_of": "star"}, "title": "Something happened", "body": "Look",
    });
    api.post_event(&event).await?;
    let (stop, mut direct) = (CancellationToken::new(), JoinSet::new());
    direct.spawn(post_direct(api, Arc::clone(&tally), stop.clone()));
    while !done.look().await? {
        if begun.elapsed() > TIMEOUT {
            bail!("the followers are not told after {TIMEOUT:?}:\n{}", node.log());
        }
        if let Some(ended) = direct.try_join_next() {
            let _events = ended??;
            bail!("the direct events ended early");
        }
        sleep(Duration::from_millis(50)).await;
    }
    let took = begun.elapsed();
    let used = process::usage(node.pid()).unwrap_or_default().since(before);
    stop.cancel();
    let direct = direct.join_next().await.context("the direct events")???;
    let faults = tally.settle(direct, PATIENCE).await;
    ensure!(faults.holes + faults.duplicates == 0, "live sessions saw {faults:?}");
    bench.say(format_args!("{prefix}: {:.0} rows/s", rate(followers, took)));
    report.put(&format!("{prefix}s"), took.as_secs_f64());
    report.put(&format!("{prefix}rows_per_s"), rate(followers, took));
    let cpu_us = used.cpu.as_secs_f64() * 1e6 / number(followers);
    report.put(&format!("{prefix}node_cpu_us_per_row"), cpu_us);
    let peak = process::peak_rss_bytes(node.pid()).unwrap_or_default();
    report.put(&format!("{prefix}rss_bytes"), number(peak));
    tally.report(&format!("{prefix}direct_"), report);
    sessions.close().await;
    Ok(direct)
}

async fn import(api: &Api, followers: u64) -> anyhow::Result<()> {
    let mut first = 0;
    while first < followers {
        let end = followers.min(first + IMPORT_LINES);
        let line = |n| format!("{{\"follower\":\"f_{n:07}\",\"followee\":\"star\"}}\n");
        let imported = api.import_edges((first..end).map(line).collect()).await?;
        ensure!(imported.added == end - first, "{imported:?} of {} follows", end - first);
        first = end;
    }
    Ok(())
}

/// Posts single events at a steady rate until `stop`, whatever the answers take; returns how many.
async fn post_direct(api: Api, tally: Arc<Tally>, stop: CancellationToken) -> anyhow::Result<u64> {
    let mut ticks = interval(Duration::from_millis(1000 / DIRECT_RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut posts, mut count) = (JoinSet::new(), 0);
    while count < DIRECT_MAX {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let user = live_user(count % LIVE_USERS);
        let event = json!({
            "id": story::event_id(count), "source": "direct", "type": "like",
            "time": SystemClock.now(), "audience": {"users": [user]},
            "title": "Ann liked your photo", "body": "Sunset over the bay",
        });
        let (api, tally) = (api.clone(), Arc::clone(&tally));
        posts.spawn(async move {
            tally.making(count);
            api.post_event(&event).await
        });
        count += 1;
        while let Some(posted) = posts.try_join_next() {
            posted??;
        }
    }
    while let Some(posted) = posts.join_next().await {
        posted??;
    }
    Ok(count)
}
