//! Pushes per second of the clients alone, to one service.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tokio::time::sleep;

use super::{
    contender::Contender,
    helper::{Helper, PushService},
    load::Pushed,
    simulator::{Order, Service, Settings, Status},
    totals::Totals,
};
use crate::{
    ingest::Bench,
    limit::rate,
    report::{Report, median},
};

/// Pushes under way at a time. At 40 ms, a thousand of them are 25,000 a second at most: enough that cores
/// end it, and nearly all that four connections of a thousand streams take.
const IN_FLIGHT: u32 = 3_800;
/// How long each answer is held back.
pub(super) const LATENCY_MS: u64 = 40;
/// How long the first push may take: interpreters have to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one contender did.
#[derive(Debug, Clone, Copy)]
struct Run {
    pushes_per_s: f64,
    client_us: f64,
    simulator_us: f64,
    rss_bytes: f64,
}

/// One of the figures of a run.
type Value = fn(&Run) -> f64;

/// Runs the part for one service.
pub(super) async fn run(
    bench: &Bench,
    service: Service,
    totals: &mut Totals,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut runs: Vec<(Contender, Run)> = Vec::new();
    for round in 0..bench.rounds {
        let mut order = Contender::of(service);
        // There and back, so that nobody always comes first.
        if round % 2 == 1 {
            order.reverse();
        }
        for who in order {
            let Some(run) = measure(bench, who, service, totals).await? else { continue };
            bench.say(format_args!(
                "{}, {who}: {:.0} pushes/s, {:.1} us CPU of the client and {:.1} us of the simulator per push",
                service.as_str(), run.pushes_per_s, run.client_us, run.simulator_us
            ));
            runs.push((who, run));
        }
    }
    put(service, &runs, report);
    Ok(())
}

async fn measure(
    bench: &Bench,
    who: Contender,
    service: Service,
    totals: &mut Totals,
) -> anyhow::Result<Option<Run>> {
    let dir = bench.folder(service.as_str())?;
    let settings = Settings { service, latency_ms: LATENCY_MS, dir, events: 0, gone: Vec::new() };
    let mut vendor = PushService::start(&settings).await?;
    let Some(mut client) = who.start(bench, vendor.access(), IN_FLIGHT).await? else {
        vendor.stop().await?;
        return Ok(None);
    };
    let run = look(bench, who, &mut vendor, &mut client).await?;
    let pushed: Pushed = client.finish().await?;
    let status = vendor.ask(&Order::Look).await?;
    check(who, pushed, &status)?;
    if who == Contender::Tidings {
        totals.expect(pushed.sent);
        totals.count(&status);
    }
    vendor.stop().await?;
    Ok(Some(run))
}

/// Waits until it is under way, and looks for a while.
async fn look(
    bench: &Bench,
    who: Contender,
    vendor: &mut PushService,
    client: &mut Helper,
) -> anyhow::Result<Run> {
    let begun = Instant::now();
    // Nobody keeps on waiting for a client that has ended.
    loop {
        client.check()?;
        if vendor.ask(&Order::Look).await?.accepted > u64::from(IN_FLIGHT) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            let status = vendor.ask(&Order::Look).await?;
            bail!("{who} does not push: {status:?}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(bench.pick(3, 1))).await;
    let before = vendor.ask(&Order::Look).await?.accepted;
    let (from, client_before, vendor_before) = (Instant::now(), client.usage(), vendor.usage());
    sleep(Duration::from_secs(bench.pick(10, 2))).await;
    let after = vendor.ask(&Order::Look).await?.accepted;
    let took = from.elapsed();
    let (client_used, vendor_used) =
        (client.usage().since(client_before), vendor.usage().since(vendor_before));
    let pushes = after - before;
    ensure!(pushes > 0, "{who} stopped pushing");
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / pushes as f64;
    Ok(Run {
        pushes_per_s: rate(pushes, took),
        client_us: each(client_used.cpu),
        simulator_us: each(vendor_used.cpu),
        rss_bytes: client_used.rss_f64(),
    })
}

/// A run that lost, doubled or miscounted anything is an error, not a result.
fn check(who: Contender, pushed: Pushed, status: &Status) -> anyhow::Result<()> {
    let Status { accepted, repeated, duplicated_identities, strange, .. } = *status;
    let is_sound = pushed.sent == pushed.delivered
        && repeated + duplicated_identities + strange == 0
        // The first push of each connection is made before the counting.
        && (pushed.sent..=pushed.sent + 64).contains(&accepted);
    // What others lose is theirs to tell; Tidings and the limit lose nothing.
    ensure!(
        is_sound || who.is_peer(),
        "{who} sent {} and heard {} delivered; {status:?}",
        pushed.sent,
        pushed.delivered
    );
    Ok(())
}

fn put(service: Service, runs: &[(Contender, Run)], report: &mut Report) {
    let service_name = service.as_str();
    let of = |who: Contender, value: Value| {
        let its = runs.iter().filter(|(it, _)| *it == who);
        let values: Vec<f64> = its.map(|(_, run)| value(run)).collect();
        Some(values).filter(|it| !it.is_empty()).map(median)
    };
    report.put(&format!("{service_name}_in_flight"), f64::from(IN_FLIGHT));
    let fields: [(&str, Value); 4] = [
        ("pushes_per_s", |it| it.pushes_per_s),
        ("client_us_per_push", |it| it.client_us),
        ("simulator_us_per_push", |it| it.simulator_us),
        ("client_rss_bytes", |it| it.rss_bytes),
    ];
    for who in Contender::of(service) {
        for (name, value) in fields {
            if let Some(median) = of(who, value) {
                report.put(&format!("{service_name}_{}{name}", who.prefix()), median);
            }
        }
    }
    let Some(ours) = of(Contender::Tidings, |it| it.pushes_per_s) else { return };
    // The figure to remember: of APNs, if both were measured.
    if service == Service::Apns || !report.values.contains_key("pushes_per_s") {
        report.put("pushes_per_s", ours);
    }
    // The limit at its best.
    let limits = Contender::of(service).into_iter().filter(|who| who.is_limit());
    let limits = limits.filter_map(|who| Some((who, of(who, |it| it.pushes_per_s)?)));
    if let Some((best, theirs)) = limits.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
        report.ratios.of_limit.insert(service_name.to_owned(), ours / theirs);
        let cpu = (of(best, |it| it.client_us), of(Contender::Tidings, |it| it.client_us));
        if let (Some(limit), Some(ours)) = cpu {
            report.ratios.of_limit.insert(format!("{service_name}_client_cpu"), limit / ours);
        }
    }
    for who in Contender::of(service).into_iter().filter(|who| who.is_peer()) {
        let name = format!("{service_name}_{}", who.prefix().trim_end_matches('_'));
        if let Some(theirs) = of(who, |it| it.pushes_per_s) {
            report.ratios.vs_peer.insert(name.clone(), ours / theirs);
        }
        // The service takes its share of the same cores: what the client itself costs is told apart.
        let cpu = (of(who, |it| it.client_us), of(Contender::Tidings, |it| it.client_us));
        if let (Some(theirs), Some(ours)) = cpu {
            report.ratios.vs_peer.insert(format!("{name}_client_cpu"), theirs / ours);
        }
    }
}
