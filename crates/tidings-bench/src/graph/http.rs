//! Reads of the graph over a node's API, by connections that ask one after the other.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use tokio::time::sleep;

use super::{
    embedded::{Data, put_latency},
    queries::{Asked, Latency, PAGE, Query},
    shape::Shape,
};
use crate::{
    ingest::{Bench, HttpConnection, Node, number},
    limit::rate,
    process,
    report::Report,
};

const CONNECTIONS: u64 = 64;
/// What an app asks, in turn: a profile page, a list, a button.
const MIX: [Query; 10] = [
    Query::Page,
    Query::Counts,
    Query::IsFollowing,
    Query::Counts,
    Query::Page,
    Query::IsFollowing,
    Query::Following,
    Query::Counts,
    Query::Friends,
    Query::IsFollowing,
];

/// Runs the part.
pub(super) async fn run(bench: &Bench, data: &Data, report: &mut Report) -> anyhow::Result<()> {
    let started = Instant::now();
    let node = Node::start_with(&data.node_dir, "[server]\nlisten = \"127.0.0.1:0\"\n").await?;
    report.put("node_start_s", started.elapsed().as_secs_f64());
    let stop = Arc::new(AtomicBool::new(false));
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..CONNECTIONS {
        let connection = HttpConnection::open(node.address(), "").await?;
        lanes.spawn(ask(connection, data.shape, lane, Arc::clone(&stop)));
    }
    sleep(Duration::from_secs(bench.pick(12, 1))).await;
    let (begun, before) = (Instant::now(), process::usage(node.pid()).unwrap_or_default());
    sleep(Duration::from_secs(bench.pick(20, 2))).await;
    let used = process::usage(node.pid()).unwrap_or_default().since(before);
    let end = Instant::now();
    stop.store(true, Ordering::Relaxed);
    let mut histogram = Histogram::<u64>::new(3)?;
    let mut reads = 0;
    while let Some(lane) = lanes.join_next().await {
        for (at, took) in lane?? {
            if at >= begun && at < end {
                histogram.record(u64::try_from(took.as_nanos())?)?;
                reads += 1;
            }
        }
    }
    ensure!(reads > 0, "nothing was answered");
    let per_s = rate(reads, end - begun);
    report.put("http_reads_per_s", per_s);
    report.put("http_connections", number(CONNECTIONS));
    report.put("http_node_us_per_read", used.cpu.as_secs_f64() * 1e6 / number(reads));
    report.put("http_node_rss_bytes", used.rss_f64());
    put_latency(report, "http", &Latency::of(&histogram));
    bench.say(format_args!("{per_s:.0} reads/s, {:?}", Latency::of(&histogram)));
    node.stop().await
}

/// Asks until it is told to stop; gives when each answer came and how long it took.
async fn ask(
    mut connection: HttpConnection,
    shape: Shape,
    lane: u64,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<(Instant, Duration)>> {
    let mut took = Vec::new();
    for n in (lane..).step_by(usize::try_from(CONNECTIONS)?) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let place = usize::try_from(n / CONNECTIONS + lane)? % MIX.len();
        let asked = Asked::new(&shape, MIX[place], n);
        let begun = Instant::now();
        let status = match request(&asked) {
            Request::Get(path) => connection.get(&path).await?,
            Request::Post(path, body) => connection.post(path, body.as_bytes()).await?,
        };
        ensure!(status == 200, "{asked:?} was answered with {status}: {}", connection.body());
        took.push((Instant::now(), begun.elapsed()));
    }
    Ok(took)
}

pub(super) enum Request {
    Get(String),
    Post(&'static str, String),
}

pub(super) fn request(asked: &Asked) -> Request {
    let Asked { query, user, other } = asked;
    let list = |name: &str| Request::Get(format!("/v1/users/u{user}/{name}?limit={PAGE}"));
    match query {
        Query::Page | Query::DeepPage => list("followers"),
        Query::Following => list("following"),
        Query::Counts => Request::Get(format!("/v1/users/u{user}/counts")),
        Query::Friends | Query::SupernodeFriends => list("friends"),
        Query::Common | Query::SupernodeCommon => list(&format!("common/u{other}")),
        Query::Known | Query::SupernodeKnown => list(&format!("followers-you-know/u{other}")),
        Query::IsFollowing => {
            let body = format!(r#"{{"follower":"u{user}","followees":["u{other}"]}}"#);
            Request::Post("/v1/graph/check", body)
        }
    }
}
