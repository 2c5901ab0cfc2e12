//! What a request costs, in a process whose memory is the engine's: one after the other, nothing computed
//! before, every user once.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, RecommendRequest, RecommendationEngine,
    RecommendedGraph,
};

use crate::{
    graph::{self, Job, Latency, People, Shape, random, user},
    ingest::{Bench, number},
    limit::rate,
    process,
    report::Report,
};

/// Recommendations of one answer.
const LIMIT: usize = 10;

/// What came of [`Job::Recommend`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Recommended {
    latencies: BTreeMap<String, Latency>,
    per_s: f64,
    /// User and system time of a request, in microseconds.
    cpu_us: f64,
    before_rss_bytes: u64,
    after_rss_bytes: u64,
}

/// The number of the n-th user of a kind.
type Pick = fn(&Shape, u64) -> u64;

/// Whom to recommend to.
const KINDS: [(&str, Pick); 3] = [
    // Anybody: a user of any degree, each as likely.
    ("anybody", |shape, n| random(n) % shape.users),
    // Those who follow the most.
    ("busy", |shape, n| shape.busy(n)),
    // Those who are followed the most.
    ("celebrity", |shape, n| shape.popular(n)),
];

/// Recommends to users of each kind.
pub(crate) async fn recommend(
    dir: PathBuf,
    shape: Shape,
    requests: u64,
) -> anyhow::Result<Recommended> {
    let usage = || process::usage(std::process::id()).unwrap_or_default();
    let store = Arc::new(EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir))?);
    let engine = RecommendationEngine::new(RecommendedGraph::Embedded(Arc::clone(&store)));
    // What the start has taken for a moment is given back within seconds.
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    let before = usage();
    // Who is popular is found out by the first request, once in ten minutes.
    engine.recommend_users(RecommendRequest::new(user(0), LIMIT)).await?;
    let mut latencies = BTreeMap::new();
    let (mut per_s, mut cpu_us) = (0.0, 0.0);
    for (kind, pick) in KINDS {
        let count = if kind == "anybody" { requests } else { requests / 10 };
        let mut histogram = Histogram::<u64>::new(3)?;
        let (begun, used) = (Instant::now(), usage());
        for n in 0..count {
            let request = RecommendRequest {
                explain: true,
                ..RecommendRequest::new(user(pick(&shape, n)), LIMIT)
            };
            let asked = Instant::now();
            let found = engine.recommend_users(request).await?;
            histogram.record(u64::try_from(asked.elapsed().as_nanos())?)?;
            ensure!(found.len() == LIMIT, "{} recommendations for {kind} {n}", found.len());
        }
        if kind == "anybody" {
            per_s = rate(count, begun.elapsed());
            cpu_us = usage().since(used).cpu.as_secs_f64() * 1e6 / number(count);
        }
        latencies.insert(kind.to_owned(), Latency::of(&histogram));
    }
    let after_rss_bytes = usage().rss_bytes;
    store.close().await;
    let before_rss_bytes = before.rss_bytes;
    Ok(Recommended { latencies, per_s, cpu_us, before_rss_bytes, after_rss_bytes })
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let data = graph::build(bench, report).await?;
    let requests = bench.pick(10_000, 500);
    let job = Job::Recommend { dir: data.graph_dir(), shape: data.shape, requests };
    let found: Recommended = graph::job(&job).await?;
    for (kind, latency) in &found.latencies {
        graph::put_latency(report, kind, latency);
        bench.say(format_args!("{kind}: {latency:?}"));
    }
    report.put("requests_per_s", found.per_s);
    report.put("cpu_us", found.cpu_us);
    let extra = found.after_rss_bytes.saturating_sub(found.before_rss_bytes);
    report.put("extra_rss_bytes", number(extra));
    bench.say(format_args!(
        "{:.0} requests/s, one after the other, {:.0} us of CPU each; {:.1} MB more than the graph",
        found.per_s,
        found.cpu_us,
        number(extra) / 1e6
    ));
    Ok(())
}
