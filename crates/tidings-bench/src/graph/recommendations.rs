//! Whom to follow, by a node whose graph is on Neo4j: lists that it has to make, and the same again from what
//! it keeps.

use std::time::Instant;

use anyhow::ensure;
use hdrhistogram::Histogram;

use super::{
    cache::toml,
    embedded::put_latency,
    people::People,
    queries::Latency,
    shape::{Shape, random},
};
use crate::{
    ingest::{Bench, HttpConnection, Node},
    report::Report,
};

/// Users who are asked about twice before the next are.
const TOGETHER: u64 = 50;

/// Runs the part, over a graph of this shape under this prefix.
pub(super) async fn run(
    bench: &Bench,
    prefix: &str,
    shape: Shape,
    report: &mut Report,
) -> anyhow::Result<()> {
    let dir = bench.folder("recommending-node")?;
    // So that what is asked for again is kept, however long the first time takes.
    let toml = format!("{}[recommendations]\nremote_cache_ms = 600000\n", toml(prefix));
    let node = Node::start_with(&dir, &toml).await?;
    let mut connection = HttpConnection::open(node.address(), "").await?;
    // Who is popular is found out by the first request, once in ten minutes.
    ask(&mut connection, 0).await?;
    for (kind, pick) in [
        ("anybody", (|shape, n| random(n) % shape.users) as fn(&Shape, u64) -> u64),
        ("busy", <Shape as People>::busy),
        ("celebrity", <Shape as People>::popular),
    ] {
        let (mut made, mut kept) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
        let count = bench.pick(if kind == "anybody" { 1_000 } else { 200 }, 50);
        for first in (0..count).step_by(usize::try_from(TOGETHER)?) {
            let users = (first + 1..=first + TOGETHER).map(|n| pick(&shape, n));
            for histogram in [&mut made, &mut kept] {
                for user in users.clone() {
                    histogram.record(ask(&mut connection, user).await?)?;
                }
            }
        }
        for (what, histogram) in [("made", made), ("kept", kept)] {
            let latency = Latency::of(&histogram);
            bench.say(format_args!("recommendations for {kind}, {what}: {latency:?}"));
            put_latency(report, &format!("neo4j_recommend_{kind}_{what}"), &latency);
        }
    }
    node.stop().await
}

/// Nanoseconds until the list is there.
async fn ask(connection: &mut HttpConnection, user: u64) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let path = format!("/v1/users/u{user}/recommendations?limit=10&explain=true");
    let status = connection.get(&path).await?;
    let took = begun.elapsed();
    ensure!(status == 200, "{path} was answered with {status}: {}", connection.body());
    ensure!(connection.body().contains("score"), "nobody is recommended to u{user}");
    Ok(u64::try_from(took.as_nanos())?)
}
