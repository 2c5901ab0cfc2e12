//! One notification for everyone: frames per second to distinct sockets.

use std::time::Duration;

use super::{
    bench::{Cores, Span, check, check_calm, millis, open, put_cores, until},
    generator::Generator,
    load::{Inboxes, Order, now_us},
    rounds::Rounds,
    target::{Contender, Target},
};
use crate::{
    ingest::Bench,
    report::{Report, median},
};

/// How long the last frame may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one contender did.
#[derive(Debug, Clone, Copy)]
struct FanOut {
    frames_per_s: f64,
    asked_to_last_ms: f64,
    frame_bytes: f64,
    node_us_per_frame: f64,
    cores: Cores,
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let clients = bench.pick(10_000, 2_000);
    let mut rounds = Rounds::new();
    for round in 0..bench.rounds {
        for who in Rounds::<FanOut>::turn(round) {
            let Some(target) = Target::start(bench, who).await? else { continue };
            let did = measure(bench, who, target, clients).await?;
            bench.say(format_args!(
                "fan-out, {who}: {:.0} frames/s, {:.0} ms from the request to the last",
                did.frames_per_s, did.asked_to_last_ms
            ));
            rounds.note(who, did);
        }
    }
    report.put("fan_out_connections", f64::from(clients));
    rounds.put(report, "frames_per_s", |it| it.frames_per_s);
    rounds.put(report, "fan_out_to_last_ms", |it| it.asked_to_last_ms);
    rounds.put(report, "fan_out_text_bytes", |it| it.frame_bytes);
    rounds.put(report, "fan_out_node_us_per_frame", |it| it.node_us_per_frame);
    rounds.compare(report, "frames_per_s", |it| it.frames_per_s);
    for who in Contender::ALL {
        let node = rounds.median(who, |it| it.cores.node);
        let generator = rounds.median(who, |it| it.cores.generator);
        if let (Some(node), Some(generator)) = (node, generator) {
            let prefix = format!("{}fan_out_", who.prefix());
            put_cores(bench, report, &prefix, Cores { node, generator });
        }
    }
    Ok(())
}

async fn measure(
    bench: &Bench,
    who: Contender,
    mut target: Target,
    clients: u32,
) -> anyhow::Result<FanOut> {
    let times = bench.pick(20, 5);
    let mut generator =
        Generator::start(&target.settings(who, clients, Inboxes::Shared, 0)).await?;
    open(&mut generator, clients).await?;
    let (mut rates, mut to_last) = (Vec::new(), Vec::new());
    let mut span = Span::begin(target.pid(), generator.pid());
    let mut begun = std::time::Instant::now();
    let mut text_bytes = 0.0;
    for time in 0..=times {
        // The first one makes inboxes and warms caches.
        if time == 1 {
            span = Span::begin(target.pid(), generator.pid());
            begun = std::time::Instant::now();
        }
        generator.ask(&Order::Fresh).await?;
        let expected = u64::from(clients) * (time + 1);
        let asked_us = now_us();
        target.tell_everyone(time, clients).await?;
        let what = "the notification is on every screen";
        let status = until(&mut generator, what, PATIENCE, |it| it.arrived >= expected).await?;
        check_calm(&status, expected)?;
        if time > 0 {
            let took = Duration::from_micros(status.last_us - status.first_us);
            rates.push(f64::from(clients - 1) / took.as_secs_f64());
            to_last.push(millis(status.last_us.saturating_sub(asked_us)));
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
        let mean = status.text_bytes as f64 / expected as f64;
        text_bytes = mean;
    }
    let (cores, took) = (span.end(), begun.elapsed().as_secs_f64());
    // What comes once more comes late.
    tokio::time::sleep(Duration::from_millis(300)).await;
    check(&generator.ask(&Order::Look).await?, u64::from(clients) * (times + 1))?;
    generator.stop().await?;
    target.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
    let frames = f64::from(clients) * times as f64;
    Ok(FanOut {
        frames_per_s: median(rates),
        asked_to_last_ms: median(to_last),
        frame_bytes: text_bytes,
        node_us_per_frame: cores.node * took * 1e6 / frames,
        cores,
    })
}
