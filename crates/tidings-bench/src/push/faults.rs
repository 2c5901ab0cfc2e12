//! Push services that fail a little all the time, and what becomes of each push.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{
    scene::{Mix, NodeOptions, Scene, Store},
    simulator::{Faults, Order},
    totals::Totals,
};
use crate::{
    ingest::{Bench, Node, number},
    realtime::{Schedule, millis, now_us, send},
    report::Report,
};

/// Half of them have a device of APNs, half of FCM.
const USERS: u64 = 3_000;
/// The devices of the first so many are gone, and nothing for them can be delivered.
const GONE: u64 = 30;
const BATCH: u64 = 10;
/// From the decision to begin to the first batch.
const LEAD_US: u64 = 200_000;
/// APNs is asked again a second after a 503: its own quarter of an hour would be most of the run.
const OUTAGE_WAIT_MS: u64 = 1_000;
/// How long the last retries may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the part.
pub(super) async fn run(
    bench: &Bench,
    totals: &mut Totals,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (rate, secs) = bench.pick((1_000, 60), (500, 8));
    let events = rate * secs;
    let gone: Vec<u64> = (0..GONE).collect();
    let mut scene = Scene::set(bench, USERS, Mix::FcmEvery(2), events, &gone).await?;
    let options = NodeOptions { apns_url: None, outage_wait_ms: OUTAGE_WAIT_MS, push: "" };
    let dir = bench.folder("node")?;
    let node = Node::start_with(&dir, &scene.node_toml(&options)).await?;
    scene.register(&node).await?;
    let kill_every_ms = bench.pick(10_000, 3_000);
    let faults = Faults { unavailable_share: 0.1, go_away_after: 500, kill_every_ms };
    scene.apns.ask(&Order::Misbehave(faults)).await?;
    scene.fcm.ask(&Order::Misbehave(faults)).await?;

    let begun_us = now_us() + LEAD_US;
    let schedule = Schedule { begun_us, first: 0, events, rate, batch: BATCH, warm: 0 };
    send(&scene.intake(&node), schedule).await.with_context(|| node.log())?;
    let sent = Instant::now();
    let store = Store::open(&node)?;
    store.until_settled(PATIENCE).await?;
    report.put("faults_last_retry_s", sent.elapsed().as_secs_f64());

    let valid = (0..events).filter(|event| event % USERS >= GONE).count() as u64;
    let statuses = scene.count(schedule).await?;
    let mut own = Totals::default();
    own.expect(valid);
    for (name, status) in ["apns", "fcm"].into_iter().zip(&statuses) {
        bench.say(format_args!("faults, {name}: {status:?}"));
        own.count(status);
        let failed: u64 = status.refused.values().sum();
        report.put(&format!("faults_{name}_refused"), number(failed));
        report.put(&format!("faults_{name}_p50_ms"), millis(status.latency.p50));
        report.put(&format!("faults_{name}_p99_ms"), millis(status.latency.p99));
        report.put(&format!("faults_{name}_max_ms"), millis(status.latency.max));
    }
    own.put("faults_", report);
    own.check("faults")?;
    report.put("faults_delivered_share", own.delivered_share());
    totals.merge(own);
    let devices = store.number("SELECT count(*) FROM device")?;
    ensure!(devices == USERS - GONE, "{devices} devices are left, of {USERS} less {GONE}");
    node.stop().await?;
    scene.stop().await
}
