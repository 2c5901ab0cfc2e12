//! Clients that are offline for a moment, again and again, under traffic: how long the replay takes.

use std::time::Duration;

use anyhow::ensure;

use super::{
    bench::{Cores, Span, StoreReads, check, millis, open, put_cores, until},
    generator::Generator,
    latency::intake,
    load::{Inboxes, Order, Percentiles, Schedule, now_us},
    stream,
    target::{Contender, Target},
};
use crate::{
    ingest::Bench,
    report::{Report, median},
};

/// Every client leaves once in so long …
const EVERY_MS: u64 = 15_000;
/// … for so long.
const OFFLINE_MS: u64 = 2_000;
const BATCH: u64 = 50;
const LEAD_US: u64 = 200_000;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Blips {
    replay: Percentiles,
    connect: Percentiles,
    store_reads_per_welcome: f64,
    cores: Cores,
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (clients, rate) = bench.pick((10_000, 5_000), (2_000, 1_000));
    let mut runs = Vec::new();
    for _ in 0..bench.rounds {
        let run = measure(bench, clients, rate).await?;
        bench.say(format_args!(
            "blips: {} replays, p50 {:.1}, p99 {:.1} ms",
            run.replay.count,
            millis(run.replay.p50),
            millis(run.replay.p99)
        ));
        runs.push(run);
    }
    let of = |value: fn(&Blips) -> f64| median(runs.iter().map(value).collect());
    report.put("replay_p50_ms", of(|it| millis(it.replay.p50)));
    report.put("replay_p95_ms", of(|it| millis(it.replay.p95)));
    report.put("replay_p99_ms", of(|it| millis(it.replay.p99)));
    report.put("reconnect_p99_ms", of(|it| millis(it.connect.p99)));
    report.put("blips_store_reads_per_client", of(|it| it.store_reads_per_welcome));
    let cores = Cores { node: of(|it| it.cores.node), generator: of(|it| it.cores.generator) };
    put_cores(bench, report, "blips_", cores);
    Ok(())
}

async fn measure(bench: &Bench, clients: u32, rate: u64) -> anyhow::Result<Blips> {
    let span_s = bench.pick(60, 17);
    let events = span_s * rate;
    let who = Contender::Tidings;
    let Some(target) = Target::start(bench, who).await? else {
        anyhow::bail!("tidings is not built beside this program");
    };
    let Target::Tidings(node) = &target else { anyhow::bail!("another contender was started") };
    let mut generator =
        Generator::start(&target.settings(who, clients, Inboxes::Own, events)).await?;
    open(&mut generator, clients).await?;
    // What follows measures those who come back.
    generator.ask(&Order::Forget).await?;
    generator.ask(&Order::Blink { every_ms: EVERY_MS, offline_ms: OFFLINE_MS }).await?;
    let begun_us = now_us() + LEAD_US;
    let schedule = Schedule { begun_us, first: 0, events, rate, batch: BATCH, warm: 0 };
    let before = StoreReads::of(node).await?;
    let span = Span::begin(target.pid(), generator.pid());
    stream::send(&intake(who, &target, clients), schedule).await?;
    let cores = span.end();
    generator.ask(&Order::Blink { every_ms: 0, offline_ms: 0 }).await?;
    until(&mut generator, "all are back and have everything", PATIENCE, |it| {
        it.caught_up == clients && it.arrived >= events
    })
    .await?;
    // What comes once more comes late.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let store_reads_per_welcome = StoreReads::of(node).await?.since(before).per_welcome();
    let status = generator.ask(&Order::Look).await?;
    check(&status, events)?;
    ensure!(status.cut == 0, "{} sessions were cut: {:?}", status.cut, status.trouble);
    ensure!(status.replay.count > 0, "nobody missed anything");
    generator.stop().await?;
    target.stop().await?;
    let (replay, connect) = (status.replay, status.connect);
    Ok(Blips { replay, connect, store_reads_per_welcome, cores })
}
