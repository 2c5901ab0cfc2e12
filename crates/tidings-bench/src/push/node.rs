//! A backlog of due pushes through a whole node: claimed, read, sent, settled and logged.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::time::sleep;

use super::{
    scene::{Mix, NodeOptions, Scene, Store},
    simulator::Order,
    totals::Totals,
};
use crate::{
    ingest::{Bench, Node, number},
    limit::rate,
    process,
    realtime::{Schedule, now_us, send},
    report::{Report, median},
};

/// Nobody listens there.
const NOBODY: &str = "https://127.0.0.1:1";
/// While the backlog is made, APNs is given up at the first failure, for an hour.
const GIVEN_UP: &str = "[push.breaker]\nfailures = 1\nwindow = 1\nopen_base_ms = 3600000\n\
                        open_cap_ms = 3600000\n";
/// Pushes that are put back wait longer than this, in milliseconds.
const LATER_MS: i64 = 600_000;
const BATCH: u64 = 500;
/// How long the backlog may take.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
struct Run {
    pushes_per_s: f64,
    node_us: f64,
    simulator_us: f64,
    peak_rss_bytes: f64,
}

/// Runs the part.
pub(super) async fn run(
    bench: &Bench,
    totals: &mut Totals,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for _ in 0..bench.rounds {
        let run = measure(bench, totals).await?;
        bench.say(format_args!(
            "node: {:.0} pushes/s, {:.1} us CPU of the node per push, {:.0} MB at most",
            run.pushes_per_s,
            run.node_us,
            run.peak_rss_bytes / 1e6
        ));
        runs.push(run);
    }
    let of = |value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
    report.put("node_pushes_per_s", of(|it| it.pushes_per_s));
    report.put("node_us_per_push", of(|it| it.node_us));
    report.put("node_simulator_us_per_push", of(|it| it.simulator_us));
    report.put("node_peak_rss_bytes", of(|it| it.peak_rss_bytes));
    Ok(())
}

async fn measure(bench: &Bench, totals: &mut Totals) -> anyhow::Result<Run> {
    let (users, pushes) = bench.pick((20_000, 100_000), (1_000, 10_000));
    let mut scene = Scene::set(bench, users, Mix::Apns, pushes, &[]).await?;
    let dir = bench.folder("node")?;
    let options = NodeOptions { apns_url: Some(NOBODY), outage_wait_ms: 1_000, push: GIVEN_UP };
    let node = Node::start_with(&dir, &scene.node_toml(&options)).await?;
    scene.register(&node).await?;
    make_backlog(&scene, &node, pushes).await?;
    make_due(bench, node, pushes).await?;

    let options = NodeOptions { apns_url: None, outage_wait_ms: 1_000, push: "" };
    let node = Node::start_with(&dir, &scene.node_toml(&options)).await?;
    let run = drain(&mut scene, &node, pushes).await;
    let run = run.with_context(|| node.log())?;
    let status = scene.apns.ask(&Order::Look).await?;
    status.check()?;
    ensure!(status.delivered == pushes, "of {pushes} pushes: {status:?}");
    totals.expect(pushes);
    totals.count(&status);
    let store = Store::open(&node)?;
    let logged = store.number("SELECT count(*) FROM delivery WHERE outcome = 'delivered'")?;
    ensure!(logged >= pushes, "{logged} of {pushes} pushes are in the log");
    node.stop().await?;
    scene.stop().await?;
    std::fs::remove_dir_all(dir)?;
    Ok(run)
}

/// Stores events whose pushes are all put back.
async fn make_backlog(scene: &Scene, node: &Node, events: u64) -> anyhow::Result<()> {
    let schedule = Schedule {
        begun_us: now_us(),
        first: 0,
        events,
        // As fast as they are taken.
        rate: u64::from(u32::MAX),
        batch: BATCH,
        warm: 0,
    };
    send(&scene.intake(node), schedule).await
}

/// Waits until all pushes have been put back, and makes them due and new.
async fn make_due(bench: &Bench, node: Node, pushes: u64) -> anyhow::Result<()> {
    let store = Store::open(&node)?;
    let later = i64::try_from(now_us() / 1_000)? + LATER_MS;
    let waiting =
        format!("SELECT count(*) FROM due_push WHERE due_ms > {later} AND device_id <> ''");
    let begun = Instant::now();
    loop {
        let (waiting, due) = (store.number(&waiting)?, store.due()?);
        if waiting == due && due == pushes {
            break;
        }
        if begun.elapsed() > PATIENCE {
            bail!("of {pushes} pushes {due} are due, {waiting} of them later: {}", node.log());
        }
        sleep(Duration::from_millis(100)).await;
    }
    drop(store);
    bench.say(format_args!("node: {pushes} pushes are due"));
    let file = node.database_file();
    node.stop().await?;
    let store = Store::open_file(&file)?;
    store.execute(
        "UPDATE due_push SET due_ms = 0, attempt = 1, device_id = '';
         DELETE FROM delivery;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
}

/// Looks at a node until it has pushed and settled everything.
async fn drain(scene: &mut Scene, node: &Node, expected: u64) -> anyhow::Result<Run> {
    let first = scene.apns.until(PATIENCE, |it| it.accepted > 0).await?;
    let before = first.map_err(|it| anyhow::anyhow!("nothing is pushed: {it:?}"))?;
    let (from, node_before, apns_before) = (Instant::now(), usage(node), scene.apns.usage());
    let last = scene.apns.until(PATIENCE, |it| it.delivered >= expected).await?;
    last.map_err(|it| anyhow::anyhow!("of {expected} pushes: {it:?}"))?;
    Store::open(node)?.until_settled(PATIENCE).await?;
    let took = from.elapsed();
    let pushes = expected - before.delivered;
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / number(pushes);
    Ok(Run {
        pushes_per_s: rate(pushes, took),
        node_us: each(usage(node).since(node_before).cpu),
        simulator_us: each(scene.apns.usage().since(apns_before).cpu),
        peak_rss_bytes: number(process::peak_rss_bytes(node.pid()).unwrap_or_default()),
    })
}

fn usage(node: &Node) -> process::Usage {
    process::usage(node.pid()).unwrap_or_default()
}
