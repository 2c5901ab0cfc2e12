//! `kill -9` of a node with its clients and traffic: until all are back and have everything.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{task::JoinSet, time::sleep};

use super::{
    bench::{StoreReads, check, open, until},
    generator::Generator,
    load::{Inboxes, Order, Schedule, now_us},
    stream::{self, Intake},
    target::{Contender, TOKEN_SECRET, node_toml},
};
use crate::{
    ingest::{Bench, Node},
    process,
    report::{Report, median},
};

const BATCH: u64 = 50;
const LEAD_US: u64 = 200_000;
/// How long the node is gone.
const DOWN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy)]
struct Recovery {
    after_restart: Duration,
    after_listening: Duration,
    /// Until all but one in a hundred are back, whose own waiting is longer than most.
    most_after_restart: Duration,
    attempts: f64,
    cpu_us_per_client: f64,
    replays_per_client: f64,
    /// Reads of the store by the time that all are back, for those welcome.
    store_reads_per_welcome: f64,
    lost: f64,
    duplicated: f64,
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (clients, rate) = bench.pick((16_000, 2_000), (4_000, 500));
    let mut runs = Vec::new();
    for _ in 0..bench.rounds {
        let run = measure(bench, clients, rate).await?;
        bench.say(format_args!(
            "recovery: {clients} clients after {:.1} s, {:.1} attempts each",
            run.after_restart.as_secs_f64(),
            run.attempts
        ));
        runs.push(run);
    }
    let of = |value: fn(&Recovery) -> f64| median(runs.iter().map(value).collect());
    report.put("recovery_connections", f64::from(clients));
    report.put("recovery_s", of(|it| it.after_restart.as_secs_f64()));
    report.put("recovery_after_listening_s", of(|it| it.after_listening.as_secs_f64()));
    report.put("recovery_99_percent_s", of(|it| it.most_after_restart.as_secs_f64()));
    report.put("recovery_attempts_per_client", of(|it| it.attempts));
    report.put("recovery_node_cpu_us_per_client", of(|it| it.cpu_us_per_client));
    report.put("recovery_replays_per_client", of(|it| it.replays_per_client));
    report.put("recovery_store_reads_per_client", of(|it| it.store_reads_per_welcome));
    // Of all rounds: not medians.
    report.put("lost", runs.iter().map(|it| it.lost).sum());
    report.put("duplicated", runs.iter().map(|it| it.duplicated).sum());
    Ok(())
}

async fn measure(bench: &Bench, clients: u32, rate: u64) -> anyhow::Result<Recovery> {
    let events = bench.pick(40, 15) * rate;
    let dir = bench.folder("node")?;
    let node = Node::start_with(&dir, &node_toml()).await?;
    let settings = super::load::Settings {
        protocol: Contender::Tidings.protocol(),
        address: node.address(),
        secret: TOKEN_SECRET.to_owned(),
        clients,
        inboxes: Inboxes::Own,
        told: clients,
        events,
        narrow: 0,
    };
    let mut generator = Generator::start(&settings).await?;
    open(&mut generator, clients).await?;
    let refused = generator.ask(&Order::Forget).await?.refused;
    let intake = Intake {
        address: Arc::new(RwLock::new(node.address())),
        path: "/v1/events",
        headers: "",
        body: stream::tidings_body,
        is_taken: stream::tidings_took,
        users: u64::from(clients),
        persistent: true,
    };
    let begun_us = now_us() + LEAD_US;
    let schedule = Schedule { begun_us, first: 0, events, rate, batch: BATCH, warm: 0 };
    let mut traffic = JoinSet::new();
    let where_to = Arc::clone(&intake.address);
    traffic.spawn(async move { stream::send(&intake, schedule).await });
    sleep(Duration::from_secs(bench.pick(5, 2))).await;
    node.kill().await?;
    sleep(DOWN).await;
    let restarted = Instant::now();
    let node = Node::start_with(&dir, &node_toml()).await?;
    let listening = Instant::now();
    generator.ask(&Order::Move { address: node.address() }).await?;
    *where_to.write().unwrap_or_else(PoisonError::into_inner) = node.address();
    let most = clients - clients / 100;
    until(&mut generator, "most are back", PATIENCE, |it| it.caught_up >= most).await?;
    let most_after_restart = restarted.elapsed();
    let all_back =
        until(&mut generator, "all are back", PATIENCE, |it| it.caught_up == clients).await?;
    let (after_restart, after_listening) = (restarted.elapsed(), listening.elapsed());
    let cpu = process::usage(node.pid()).unwrap_or_default().cpu;
    let reads = StoreReads::of(&node).await?;
    traffic.join_next().await.context("the traffic")???;
    let what = "all notifications are on their screens";
    until(&mut generator, what, PATIENCE, |it| it.arrived >= events).await?;
    // What comes once more comes late.
    sleep(Duration::from_millis(300)).await;
    let end = generator.ask(&Order::Look).await?;
    check(&end, events)?;
    generator.stop().await?;
    node.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
    let [lost, duplicated] = [events.saturating_sub(end.arrived), end.doubled].map(|it| it as f64);
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
    let per_client = |count: u64| count as f64 / f64::from(clients);
    Ok(Recovery {
        after_restart,
        after_listening,
        most_after_restart,
        attempts: per_client(all_back.refused - refused) + 1.0,
        cpu_us_per_client: cpu.as_secs_f64() * 1e6 / f64::from(clients),
        replays_per_client: per_client(all_back.replay.count),
        store_reads_per_welcome: reads.per_welcome(),
        lost,
        duplicated,
    })
}
