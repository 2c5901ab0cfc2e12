//! A push service that is down: first it refuses connections, then it hangs. What it costs the node, and
//! the other push service.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::time::sleep;

use super::{
    scene::{Mix, NodeOptions, Scene, Store},
    simulator::Order,
    totals::Totals,
};
use crate::{
    ingest::{Bench, Node, number},
    realtime::{Schedule, millis, now_us, send},
    report::Report,
};

/// Every sixth has a device of FCM.
const USERS: u64 = 6_000;
const FCM_EVERY: u64 = 6;
/// Events per second: 1,000 for APNs, 200 for FCM.
const RATE: u64 = 1_200;
const BATCH: u64 = 12;
const LEAD_US: u64 = 200_000;
const LOOK: Duration = Duration::from_millis(250);
/// How long the last pushes may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long APNs is well, refuses, hangs, and is well again, in seconds.
#[derive(Debug, Clone, Copy)]
struct Plan {
    before: u64,
    refused: u64,
    hanging: u64,
    after: u64,
}

impl Plan {
    fn secs(self) -> u64 {
        self.before + self.refused + self.hanging + self.after
    }

    /// When APNs is well again, in seconds from the beginning.
    fn back(self) -> u64 {
        self.before + self.refused + self.hanging
    }
}

/// What was seen while it ran.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    before_rss_bytes: u64,
    down_rss_bytes: u64,
    after_rss_bytes: u64,
    /// Pushes that waited when APNs came back.
    backlog: u64,
    drain: Duration,
}

/// Runs the part.
pub(super) async fn run(
    bench: &Bench,
    totals: &mut Totals,
    report: &mut Report,
) -> anyhow::Result<()> {
    let full = Plan { before: 15, refused: 30, hanging: 30, after: 30 };
    let quick = Plan { before: 3, refused: 3, hanging: 3, after: 3 };
    let plan = bench.pick(full, quick);
    let events = RATE * plan.secs();
    let mut scene = Scene::set(bench, USERS, Mix::FcmEvery(FCM_EVERY), events, &[]).await?;
    let options = NodeOptions { apns_url: None, outage_wait_ms: 1_000, push: "" };
    let dir = bench.folder("node")?;
    let node = Node::start_with(&dir, &scene.node_toml(&options)).await?;
    scene.register(&node).await?;
    let begun_us = now_us() + LEAD_US;
    let schedule = Schedule { begun_us, first: 0, events, rate: RATE, batch: BATCH, warm: 0 };
    let intake = scene.intake(&node);
    let sending = async { send(&intake, schedule).await.with_context(|| node.log()) };
    let watching = watch(bench, &mut scene, &node, schedule, plan);
    let (seen, ()) = tokio::try_join!(watching, sending)?;
    Store::open(&node)?.until_settled(PATIENCE).await?;

    let mut own = Totals::default();
    own.expect(events);
    for status in scene.count(schedule).await? {
        bench.say(format_args!("breaker: {status:?}"));
        own.count(&status);
    }
    own.put("breaker_", report);
    own.check("breaker")?;
    totals.merge(own);
    let phases = [
        ("before", 0, plan.before),
        ("refused", plan.before, plan.before + plan.refused),
        ("hanging", plan.before + plan.refused, plan.back()),
        ("after", plan.back(), plan.secs()),
    ];
    for (name, from, to) in phases {
        let order = Order::Latency { schedule, first: from * RATE, end: to * RATE };
        let latency = scene.fcm.ask(&order).await?.latency;
        report.put(&format!("breaker_fcm_p95_{name}_ms"), millis(latency.p95));
        report.put(&format!("breaker_fcm_p99_{name}_ms"), millis(latency.p99));
    }
    report.put("breaker_rss_before_bytes", number(seen.before_rss_bytes));
    report.put("breaker_rss_down_bytes", number(seen.down_rss_bytes));
    report.put("breaker_rss_after_bytes", number(seen.after_rss_bytes));
    report.put("breaker_backlog", number(seen.backlog));
    report.put("breaker_drain_s", seen.drain.as_secs_f64());
    node.stop().await?;
    scene.stop().await
}

/// Takes APNs away and gives it back, and looks at the node meanwhile, until the backlog is gone.
async fn watch(
    bench: &Bench,
    scene: &mut Scene,
    node: &Node,
    schedule: Schedule,
    plan: Plan,
) -> anyhow::Result<Seen> {
    let at = |secs: u64| schedule.begun_us + secs * 1_000_000;
    let mut seen = Seen {
        before_rss_bytes: most_memory_until(node, at(plan.before)).await,
        ..Seen::default()
    };
    bench.say("breaker: APNs refuses connections");
    scene.apns.ask(&Order::Refuse).await?;
    seen.down_rss_bytes = most_memory_until(node, at(plan.before + plan.refused)).await;
    bench.say("breaker: APNs hangs");
    scene.apns.ask(&Order::Serve).await?;
    scene.apns.hang().await?;
    seen.down_rss_bytes = seen.down_rss_bytes.max(most_memory_until(node, at(plan.back())).await);
    scene.apns.go_on().await?;
    let back = Instant::now();
    bench.say("breaker: APNs is back");
    // What is due within a second is under way, not a backlog.
    let due_for_apns = || {
        let due_us = now_us().saturating_sub(schedule.begun_us);
        let due = (due_us * schedule.rate / 1_000_000).min(schedule.events);
        due - due / FCM_EVERY
    };
    seen.backlog = due_for_apns().saturating_sub(scene.apns.ask(&Order::Look).await?.delivered);
    loop {
        seen.after_rss_bytes = seen.after_rss_bytes.max(node.rss_bytes());
        let delivered = scene.apns.ask(&Order::Look).await?.delivered;
        if delivered + schedule.rate >= due_for_apns() {
            seen.drain = back.elapsed();
            return Ok(seen);
        }
        ensure!(back.elapsed() < PATIENCE, "the backlog is not gone: {}", node.log());
        sleep(LOOK).await;
    }
}

/// The most memory that the node is seen to have until a time (microseconds since 1970).
async fn most_memory_until(node: &Node, until_us: u64) -> u64 {
    let mut most = 0;
    while now_us() < until_us {
        most = most.max(node.rss_bytes());
        sleep(LOOK).await;
    }
    most
}
