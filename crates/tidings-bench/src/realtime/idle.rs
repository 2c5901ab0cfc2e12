//! Memory and CPU of a connection on which nothing happens but the heartbeat.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

use super::{
    bench::{Span, check_calm, open},
    generator::Generator,
    load::{Inboxes, Order},
    rounds::Rounds,
    target::{Contender, Target},
};
use crate::{ingest::Bench, report::Report};

/// What one contender needs for a connection.
#[derive(Debug, Clone, Copy)]
struct Idle {
    rss_bytes: f64,
    cpu_us_per_s: f64,
    connect_p99_ms: f64,
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (few, many) = bench.pick((5_000, 19_000), (1_000, 5_000));
    let mut rounds = Rounds::new();
    for round in 0..bench.rounds {
        for who in Rounds::<Idle>::turn(round) {
            let Some(target) = Target::start(bench, who).await? else { continue };
            let idle = measure(bench, who, target, [few, many]).await?;
            bench.say(format_args!(
                "idle, {who}: {:.0} bytes and {:.2} us/s a connection",
                idle.rss_bytes, idle.cpu_us_per_s
            ));
            rounds.note(who, idle);
        }
    }
    report.put("connections", f64::from(many));
    rounds.put(report, "rss_bytes_per_connection", |it| it.rss_bytes);
    rounds.put(report, "idle_cpu_us_per_s", |it| it.cpu_us_per_s);
    rounds.put(report, "connect_p99_ms", |it| it.connect_p99_ms);
    rounds.compare(report, "rss_bytes_per_connection", |it| it.rss_bytes);
    rounds.compare(report, "idle_cpu_us_per_s", |it| it.cpu_us_per_s);
    Ok(())
}

async fn measure(
    bench: &Bench,
    who: Contender,
    target: Target,
    [few, many]: [u32; 2],
) -> anyhow::Result<Idle> {
    let settle = Duration::from_secs(bench.pick(10, 3));
    // A whole number of heartbeats.
    let idle_for = Duration::from_secs(bench.pick(75, 25));
    let mut generator = Generator::start(&target.settings(who, many, Inboxes::Own, 0)).await?;
    let mut rss = [0.0; 2];
    for (index, clients) in [few, many].into_iter().enumerate() {
        open(&mut generator, clients).await?;
        sleep(settle).await;
        #[expect(clippy::cast_precision_loss, reason = "memory stays far below 2^52 bytes")]
        let bytes = target.rss_bytes() as f64;
        rss[index] = bytes;
    }
    let span = Span::begin(target.pid(), generator.pid());
    sleep(idle_for).await;
    let cores = span.end();
    let status = generator.ask(&Order::Look).await?;
    check_calm(&status, 0)?;
    ensure!(status.live == many, "{} of {many} sessions are left", status.live);
    generator.stop().await?;
    target.stop().await?;
    Ok(Idle {
        rss_bytes: (rss[1] - rss[0]) / f64::from(many - few),
        cpu_us_per_s: cores.node * 1e6 / f64::from(many),
        connect_p99_ms: super::bench::millis(status.connect.p99),
    })
}
