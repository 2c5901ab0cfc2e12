//! The graph on Neo4j behind the cache: a node asked over HTTP about users of whom few are asked about most,
//! while some follow and unfollow.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use tokio::time::sleep;

use super::{
    embedded::put_latency,
    http::{Request, request},
    neo4j,
    people::People,
    queries::{Asked, Latency, Query},
    shape::{Shape, random},
};
use crate::{
    ingest::{Bench, HOST, HttpConnection, Node, REDIS_PORT, number},
    limit::rate,
    report::Report,
};

const CONNECTIONS: u64 = 64;
/// One of so many requests changes something.
const WRITE_EVERY: u64 = 20;
const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// What a connection saw while it counted.
struct Seen {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    stale: u64,
}

/// Runs the part, over a graph of this shape under this prefix.
pub(super) async fn run(
    bench: &Bench,
    prefix: &str,
    shape: Shape,
    report: &mut Report,
) -> anyhow::Result<()> {
    let dir = bench.folder("cached-node")?;
    let node = Node::start_with(&dir, &toml(prefix)).await?;
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..CONNECTIONS {
        let connection = HttpConnection::open(node.address(), "").await?;
        lanes.spawn(ask(connection, shape, lane, Arc::clone(&phase)));
    }
    sleep(Duration::from_secs(bench.pick(120, 20))).await;
    let before = Reads::of(&node).await?;
    let begun = Instant::now();
    phase.store(MEASURING, Ordering::Relaxed);
    sleep(Duration::from_secs(bench.pick(30, 3))).await;
    phase.store(OVER, Ordering::Relaxed);
    let took = begun.elapsed();
    let after = Reads::of(&node).await?;
    let (mut reads, mut writes) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let mut stale = 0;
    while let Some(seen) = lanes.join_next().await {
        let seen = seen??;
        reads.add(&seen.reads)?;
        writes.add(&seen.writes)?;
        stale += seen.stale;
    }
    ensure!(stale == 0, "{stale} answers were from before a write that had been answered");
    let (asked, hits) = (after.all - before.all, after.hits - before.hits);
    ensure!(asked > 0.0, "the cache was not asked: {}", node.log());
    report.put("cache_hit_rate", hits / asked);
    report.put("cache_reads_per_s", rate(reads.len(), took));
    report.put("cache_writes_per_s", rate(writes.len(), took));
    report.put("cache_stale_answers", number(stale));
    put_latency(report, "cache_read", &Latency::of(&reads));
    put_latency(report, "cache_write", &Latency::of(&writes));
    bench.say(format_args!(
        "{:.1} % of {asked} from the cache, {:?} per read, {:?} per write",
        hits / asked * 100.0,
        Latency::of(&reads),
        Latency::of(&writes)
    ));
    node.stop().await
}

/// What a node needs to know of the graph under this prefix and of the cache before it.
pub(super) fn toml(prefix: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{}[graph.cache]\nenabled = true\n\
         [graph.cache.redis]\nurl = \"redis://{HOST}:{REDIS_PORT}/\"\nprefix = \"{prefix}\"\n",
        neo4j::toml(prefix),
    )
}

/// What the node says of its cache.
struct Reads {
    all: f64,
    hits: f64,
}

impl Reads {
    async fn of(node: &Node) -> anyhow::Result<Self> {
        let mut reads = Self { all: 0.0, hits: 0.0 };
        for (labels, count) in node.metric("tidings_graph_cache_reads_total").await? {
            reads.all += count;
            if labels.contains("from=\"process\"") || labels.contains("from=\"redis\"") {
                reads.hits += count;
            }
        }
        Ok(reads)
    }
}

async fn ask(
    mut connection: HttpConnection,
    shape: Shape,
    lane: u64,
    phase: Arc<AtomicU8>,
) -> anyhow::Result<Seen> {
    let mut seen = Seen { reads: Histogram::new(3)?, writes: Histogram::new(3)?, stale: 0 };
    // Edges between the lane's own user and others: nobody else changes them.
    let mut own: HashMap<(u64, bool), bool> = HashMap::new();
    for turn in 0.. {
        let n = turn * CONNECTIONS + lane;
        let now = phase.load(Ordering::Relaxed);
        if now == OVER {
            break;
        }
        let begun = Instant::now();
        if turn % WRITE_EVERY == WRITE_EVERY - 1 {
            let (user, is_followed) = (zipf(&shape, n * 4), turn / WRITE_EVERY % 2 == 1);
            let edge = own.entry((user, is_followed)).or_default();
            write(&mut connection, lane, (user, is_followed), !*edge).await?;
            let took = begun.elapsed();
            *edge = !*edge;
            seen.stale +=
                u64::from(read_own(&mut connection, lane, (user, is_followed)).await? != *edge);
            if now == MEASURING {
                seen.writes.record(u64::try_from(took.as_nanos())?)?;
            }
            continue;
        }
        let (user, other) = (zipf(&shape, n * 4 + 1), zipf(&shape, n * 4 + 2));
        let query = match random(n * 4 + 3) % 10 {
            0..4 => Query::Counts,
            4..7 => Query::Page,
            7 => Query::Following,
            _ => Query::IsFollowing,
        };
        let status = match request(&Asked { query, user, other }) {
            Request::Get(path) => connection.get(&path).await?,
            Request::Post(path, body) => connection.post(path, body.as_bytes()).await?,
        };
        ensure!(status == 200, "a read was answered with {status}: {}", connection.body());
        if now == MEASURING {
            seen.reads.record(u64::try_from(begun.elapsed().as_nanos())?)?;
        }
    }
    Ok(seen)
}

/// Has the lane's own user follow, or be followed by, another; or no longer.
async fn write(
    connection: &mut HttpConnection,
    lane: u64,
    (user, is_followed): (u64, bool),
    exists: bool,
) -> anyhow::Result<()> {
    let (follower, followee) = ends(lane, user, is_followed);
    let path = format!("/v1/users/{follower}/following/{followee}");
    let method = if exists { "PUT" } else { "DELETE" };
    let status = connection.send(method, &path).await?;
    ensure!(status == 200 || status == 204, "{method} {status}: {}", connection.body());
    Ok(())
}

/// Whether the lane's own edge is there, as the node says.
async fn read_own(
    connection: &mut HttpConnection,
    lane: u64,
    (user, is_followed): (u64, bool),
) -> anyhow::Result<bool> {
    let (follower, followee) = ends(lane, user, is_followed);
    let body = format!(r#"{{"follower":"{follower}","followees":["{followee}"]}}"#);
    let status = connection.post("/v1/graph/check", body.as_bytes()).await?;
    ensure!(status == 200, "a check was answered with {status}: {}", connection.body());
    Ok(connection.body().contains("true"))
}

fn ends(lane: u64, user: u64, is_followed: bool) -> (String, String) {
    let (own, other) = (format!("w{lane}"), format!("u{user}"));
    if is_followed { (own, other) } else { (other, own) }
}

/// A user, the `k`-th of whom is asked about `1/k` times as often as the first: Zipf's law with exponent 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is below the number of users, which is far below 2^52"
)]
fn zipf(shape: &Shape, n: u64) -> u64 {
    let share = (random(n + 3_000_000_019) >> 11) as f64 / (1u64 << 53) as f64;
    let rank = (share * (shape.users as f64 + 1.0).ln()).exp() as u64;
    shape.popular(rank.saturating_sub(1).min(shape.users - 1))
}
