//! The same questions about the same graph, to the embedded engine, to Neo4j and to FalkorDB.
//!
//! The graph is smaller than that of the other parts: FalkorDB takes 120 bytes per follow, and Neo4j is
//! filled through its own protocol.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use tidings_core::{follow::Edge, ports::SocialGraphStore};
use tidings_graph::Neo4jGraphStore;
use tokio::time::Instant;

use super::{
    embedded::{self, put_latency},
    engine::{Answered, Built, Job, Source},
    falkordb::FalkorDb,
    neo4j,
    people::People,
    queries::{self, Depths, Latency, Query},
    shape::Shape,
};
use crate::{
    ingest::{Bench, number},
    limit::rate,
    report::Report,
};

/// Edges of one call.
const CHUNK: u64 = 20_000;

/// What all of them hold.
pub(super) fn shape(bench: &Bench) -> Shape {
    bench.pick(
        Shape { users: 1 << 20, follows: 2_500_000 },
        Shape { users: 1 << 14, follows: 60_000 },
    )
}

/// What is compared on one graph.
pub(super) struct Comparison<'a> {
    pub(super) people: &'a dyn People,
    pub(super) source: Source,
    /// What names of our values begin with.
    pub(super) ours: &'a str,
    /// What follows the name of a peer.
    pub(super) suffix: &'a str,
    /// Questions of each kind to the engine.
    pub(super) questions: u64,
    /// The same to a peer.
    pub(super) of_peers: u64,
}

/// Runs the part.
pub(super) async fn run(
    bench: &Bench,
    neo4j: &Neo4jGraphStore,
    report: &mut Report,
) -> anyhow::Result<()> {
    let shape = shape(bench);
    let comparison = Comparison {
        people: &shape,
        source: Source::Shape(shape),
        ours: "peers",
        suffix: "",
        questions: bench.pick(20_000, 1_000),
        of_peers: bench.pick(2_000, 100),
    };
    compare(bench, &comparison, neo4j, report).await
}

/// Asks all of them, of which Neo4j has the graph already.
pub(super) async fn compare(
    bench: &Bench,
    comparison: &Comparison<'_>,
    neo4j: &Neo4jGraphStore,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Comparison { people, source, ours: name, suffix, questions, of_peers } = comparison;
    let dir = bench.folder("small")?;
    let built: Built =
        embedded::job(&Job::Build { dir: dir.clone(), source: source.clone() }).await?;
    report.put(&format!("{name}_follows"), number(built.follows));
    let ask = Job::Ask { dir, source: source.clone(), questions: *questions };
    let ours: Answered = embedded::job(&ask).await?;

    let theirs = ask_all(neo4j, *people, *of_peers).await?;
    put(bench, &format!("neo4j{suffix}"), &ours.latencies, &theirs, report);

    if let Some(mut falkordb) = FalkorDb::start(bench).await? {
        let peer = format!("falkordb{suffix}");
        let begun = Instant::now();
        let follows = falkordb.load(*people).await?;
        ensure!(follows == built.follows, "{follows} follows instead of {}", built.follows);
        report.put(&format!("{peer}_import_follows_per_s"), rate(follows, begun.elapsed()));
        let theirs = falkordb.ask_all(*people, *of_peers).await?;
        let bytes = falkordb.graph_bytes();
        report.put(&format!("{peer}_bytes_per_follow"), number(bytes) / number(follows));
        put(bench, &peer, &ours.latencies, &theirs, report);
        falkordb.stop().await?;
    }
    for (query, latency) in &ours.latencies {
        put_latency(report, &format!("{name}_{}", query.name()), latency);
    }
    Ok(())
}

/// Fills Neo4j with a graph; gives its follows per second.
pub(super) async fn fill(
    bench: &Bench,
    prefix: &str,
    people: &dyn People,
) -> anyhow::Result<(Neo4jGraphStore, f64)> {
    let store = neo4j::open(prefix).await?;
    let begun = Instant::now();
    let mut said = begun;
    let (mut first, mut follows) = (0, 0);
    while first < people.follows() {
        let end = people.follows().min(first + CHUNK);
        let edges = (first..end).filter_map(|n| people.follow(n)).map(Edge::from).collect();
        follows += store.import_edges(edges).await?;
        first = end;
        if said.elapsed() > Duration::from_secs(20) {
            said = Instant::now();
            bench.say(format_args!("{follows} follows in Neo4j"));
        }
    }
    Ok((store, rate(follows, begun.elapsed())))
}

async fn ask_all(
    store: &dyn SocialGraphStore,
    people: &dyn People,
    questions: u64,
) -> anyhow::Result<BTreeMap<Query, Latency>> {
    let depths = Depths::find(store, people).await?;
    let mut latencies = BTreeMap::new();
    for query in Query::ALL {
        let latency = queries::ask(store, people, &depths, query, questions).await?;
        latencies.insert(query, latency);
    }
    Ok(latencies)
}

fn put(
    bench: &Bench,
    peer: &str,
    ours: &BTreeMap<Query, Latency>,
    theirs: &BTreeMap<Query, Latency>,
    report: &mut Report,
) {
    let mut least = f64::INFINITY;
    for (query, latency) in theirs {
        bench.say(format_args!("{peer}, {}: {latency:?}", query.name()));
        put_latency(report, &format!("{peer}_{}", query.name()), latency);
        if let Some(ours) = ours.get(query) {
            let name = format!("{peer}_{}_p95", query.name());
            let ratio = latency.p95_us / ours.p95_us;
            least = least.min(ratio);
            report.ratios.vs_peer.insert(name, ratio);
        }
    }
    // The least of them all.
    report.ratios.vs_peer.insert(peer.to_owned(), least);
}
