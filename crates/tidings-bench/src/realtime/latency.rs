//! From an event being due to the client having read it, at a steady rate.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use super::{
    bench::{Cores, Span, check_calm, millis, open, put_cores, until},
    centrifugo,
    generator::Generator,
    load::{Inboxes, Order, Percentiles, Schedule, now_us},
    rounds::Rounds,
    stream::{self, Intake},
    target::{Contender, Target},
};
use crate::{ingest::Bench, report::Report};

/// Events that are sent together.
const BATCH: u64 = 50;
/// From the decision to begin to the first batch.
const LEAD_US: u64 = 200_000;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Latency {
    of: Percentiles,
    cores: Cores,
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (users, rate) = bench.pick((16_000, 10_000), (4_000, 2_000));
    let mut rounds = Rounds::new();
    for round in 0..bench.rounds {
        for who in Rounds::<Latency>::turn(round) {
            // The floor takes no events; a lean peer delays nothing in its open-source edition.
            if matches!(who, Contender::Floor | Contender::CentrifugoLean) {
                continue;
            }
            let Some(target) = Target::start(bench, who).await? else { continue };
            let latency = measure(bench, who, target, users, rate).await?;
            bench.say(format_args!(
                "latency, {who}: p50 {:.1}, p95 {:.1}, p99 {:.1} ms",
                millis(latency.of.p50),
                millis(latency.of.p95),
                millis(latency.of.p99)
            ));
            rounds.note(who, latency);
        }
    }
    rounds.put(report, "p50_ms", |it| millis(it.of.p50));
    rounds.put(report, "p95_ms", |it| millis(it.of.p95));
    rounds.put(report, "p99_ms", |it| millis(it.of.p99));
    rounds.put(report, "max_ms", |it| millis(it.of.max));
    rounds.compare(report, "p95_ms", |it| millis(it.of.p95));
    rounds.compare(report, "p99_ms", |it| millis(it.of.p99));
    for who in [Contender::Tidings, Contender::Centrifugo] {
        let node = rounds.median(who, |it| it.cores.node);
        let generator = rounds.median(who, |it| it.cores.generator);
        if let (Some(node), Some(generator)) = (node, generator) {
            let prefix = format!("{}latency_", who.prefix());
            put_cores(bench, report, &prefix, Cores { node, generator });
        }
    }
    Ok(())
}

/// Where a contender takes its events.
pub(super) fn intake(who: Contender, target: &Target, users: u32) -> Intake {
    let address = Arc::new(RwLock::new(target.address()));
    let users = u64::from(users);
    if who == Contender::Tidings {
        Intake {
            address,
            path: "/v1/events",
            headers: "",
            body: stream::tidings_body,
            is_taken: stream::tidings_took,
            users,
            persistent: false,
        }
    } else {
        Intake {
            address,
            path: "/api/batch",
            headers: centrifugo::HEADERS,
            body: stream::centrifugo_body,
            is_taken: stream::centrifugo_took,
            users,
            persistent: false,
        }
    }
}

async fn measure(
    bench: &Bench,
    who: Contender,
    target: Target,
    users: u32,
    rate: u64,
) -> anyhow::Result<Latency> {
    let (warm_s, span_s) = bench.pick((5, 30), (2, 5));
    let events = (warm_s + span_s) * rate;
    let mut generator =
        Generator::start(&target.settings(who, users, Inboxes::Own, events)).await?;
    open(&mut generator, users).await?;
    let schedule = Schedule {
        begun_us: now_us() + LEAD_US,
        first: 0,
        events,
        rate,
        batch: BATCH,
        warm: warm_s * rate,
    };
    generator.ask(&Order::Measure(schedule)).await?;
    let span = Span::begin(target.pid(), generator.pid());
    stream::send(&intake(who, &target, users), schedule).await?;
    let cores = span.end();
    let what = "all notifications are on their screens";
    until(&mut generator, what, PATIENCE, |it| it.arrived >= events).await?;
    // What comes once more comes late.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = generator.ask(&Order::Look).await?;
    check_calm(&status, events)?;
    generator.stop().await?;
    target.stop().await?;
    Ok(Latency { of: status.latency, cores })
}
