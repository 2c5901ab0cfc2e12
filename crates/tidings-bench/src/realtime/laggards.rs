//! One client of a hundred reads a kilobyte a second: what it costs the node, and that nothing is lost.

use std::time::Duration;

use anyhow::Context;
use tokio::{task::JoinSet, time::sleep};

use super::{
    bench::{check, open, until},
    generator::Generator,
    latency::intake,
    load::{Inboxes, Order, Schedule, now_us},
    stream,
    target::{Contender, Target},
};
use crate::{
    ingest::Bench,
    report::{Report, median},
};

const BATCH: u64 = 50;
const LEAD_US: u64 = 200_000;
/// What a laggard reads.
const BYTES_PER_S: u32 = 1_000;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
struct Lag {
    /// The most memory under traffic.
    rss_bytes: f64,
    /// Notifications that were not read when the traffic ended.
    behind: f64,
    cut: f64,
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    // A notification is some 400 bytes on the wire: ten a second are four times what is read.
    let (clients, per_told_s) = bench.pick((10_000, 10), (2_000, 20));
    let laggards = clients / 100;
    let (mut growth, mut behind, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let calm = measure(bench, clients, per_told_s, 0).await?;
        let lag = measure(bench, clients, per_told_s, laggards).await?;
        growth.push((lag.rss_bytes - calm.rss_bytes) * 1_000.0 / f64::from(laggards));
        behind.push(lag.behind / f64::from(laggards));
        cut.push(lag.cut);
        bench.say(format_args!(
            "laggards: {:.0} bytes without, {:.0} with {laggards}, who lack {:.0} each",
            calm.rss_bytes,
            lag.rss_bytes,
            lag.behind / f64::from(laggards)
        ));
    }
    report.put("laggards_rss_bytes_per_1000", median(growth));
    report.put("laggards_behind", median(behind));
    report.put("laggards_cut", median(cut));
    Ok(())
}

async fn measure(
    bench: &Bench,
    clients: u32,
    per_told_s: u64,
    laggards: u32,
) -> anyhow::Result<Lag> {
    // The laggards and three times as many others: enough traffic for each, and little in all.
    let told = clients / 25;
    let rate = u64::from(told) * per_told_s;
    let events = bench.pick(30, 10) * rate;
    let who = Contender::Tidings;
    let target = Target::start(bench, who).await?.context("tidings is not installed")?;
    let mut settings = target.settings(who, clients, Inboxes::Own, events);
    settings.told = told;
    settings.narrow = clients / 100;
    let mut generator = Generator::start(&settings).await?;
    open(&mut generator, clients).await?;
    generator.ask(&Order::Slow { clients: laggards, bytes_per_s: BYTES_PER_S }).await?;
    let begun_us = now_us() + LEAD_US;
    let schedule = Schedule { begun_us, first: 0, events, rate, batch: BATCH, warm: 0 };
    let intake = intake(who, &target, told);
    let mut traffic = JoinSet::new();
    traffic.spawn(async move { stream::send(&intake, schedule).await });
    let mut most = 0;
    while traffic.try_join_next().transpose()?.transpose()?.is_none() {
        most = most.max(target.rss_bytes());
        sleep(LOOK).await;
    }
    let behind = events - generator.ask(&Order::Look).await?.arrived.min(events);
    let cut = generator.ask(&Order::Slow { clients: 0, bytes_per_s: 0 }).await?.cut;
    let what = "those who lagged have everything";
    until(&mut generator, what, PATIENCE, |it| it.arrived >= events).await?;
    // What comes once more comes late.
    sleep(Duration::from_millis(300)).await;
    check(&generator.ask(&Order::Look).await?, events)?;
    generator.stop().await?;
    target.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
    let [rss_bytes, behind, cut] = [most, behind, cut].map(|count| count as f64);
    Ok(Lag { rss_bytes, behind, cut })
}
