//! The embedded engine in a process of its own, whose memory is then the engine's.

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidings_core::{follow::Edge, ports::SocialGraphStore};
use tidings_graph::{EmbeddedGraphConfig, EmbeddedGraphStore};
use tokio::runtime::Runtime;

use super::{
    file::GraphFile,
    people::People,
    queries::{self, Depths, Latency, Query},
    shape::{Shape, user},
};
use crate::process;

/// Edges of one call: a writer that has all of its input at hand.
const CHUNK: u64 = 100_000;

/// What the process is to do; it then says how that went and ends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Opens an empty directory, imports the graph, closes.
    Build { dir: PathBuf, source: Source },
    /// Opens the directory and asks questions.
    Ask { dir: PathBuf, source: Source, questions: u64 },
    /// Opens the directory and adds follows, each by itself: so many one after the other, and so many by
    /// tasks at a time.
    Add { dir: PathBuf, shape: Shape, single: u64, tasks: u64, by_tasks: u64 },
    /// Opens the directory and recommends, to so many users of each kind.
    Recommend { dir: PathBuf, shape: Shape, requests: u64 },
}

/// Where a graph comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Source {
    Shape(Shape),
    File(GraphFile),
}

impl Source {
    pub(super) fn people(&self) -> anyhow::Result<Box<dyn People>> {
        Ok(match self {
            Self::Shape(shape) => Box::new(*shape),
            Self::File(file) => Box::new(file.read()?),
        })
    }
}

/// What came of [`Job::Build`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Built {
    pub(crate) follows: u64,
    pub(super) import_s: f64,
    pub(super) close_s: f64,
    pub(super) peak_rss_bytes: u64,
}

/// What came of [`Job::Ask`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) open_s: f64,
    pub(crate) users: u64,
    pub(crate) follows: u64,
    /// Before it was opened.
    pub(super) empty_rss_bytes: u64,
    /// Once it was open.
    pub(super) open_rss_bytes: u64,
    /// After all questions.
    pub(super) rss_bytes: u64,
    pub(super) latencies: BTreeMap<Query, Latency>,
}

/// What came of [`Job::Add`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Added {
    pub(super) single: Latency,
    pub(super) by_tasks_per_s: f64,
}

/// Does one job from standard input, and says on standard output how it went.
///
/// # Errors
///
/// The directory cannot be used, or a question fails.
pub fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).context("no job")?;
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        match job {
            Job::Build { dir, source } => say(&build(dir, &*source.people()?).await?),
            Job::Ask { dir, source, questions } => {
                say(&answer(dir, &*source.people()?, questions).await?)
            }
            Job::Add { dir, shape, single, tasks, by_tasks } => {
                say(&add(dir, shape, single, (tasks, by_tasks)).await?)
            }
            Job::Recommend { dir, shape, requests } => {
                say(&crate::recommend::recommend(dir, shape, requests).await?)
            }
        }
    })
}

fn say(answer: &impl Serialize) -> anyhow::Result<()> {
    let line = format!("{}\n", serde_json::to_string(answer)?);
    std::io::stdout().write_all(line.as_bytes()).context("nobody listens")
}

/// Reads what [`main`] said.
pub(super) fn read<T: DeserializeOwned>(line: &str) -> anyhow::Result<T> {
    serde_json::from_str(line).with_context(|| format!("the engine says {line:?}"))
}

async fn build(dir: PathBuf, people: &dyn People) -> anyhow::Result<Built> {
    let store = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir))?;
    let begun = Instant::now();
    let mut follows = 0;
    let mut first = 0;
    while first < people.follows() {
        let end = people.follows().min(first + CHUNK);
        let edges = (first..end).filter_map(|n| people.follow(n)).map(Edge::from).collect();
        follows += store.import_edges(edges).await?;
        first = end;
    }
    let import_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    store.close().await;
    let close_s = begun.elapsed().as_secs_f64();
    let peak_rss_bytes = process::peak_rss_bytes(std::process::id()).unwrap_or_default();
    Ok(Built { follows, import_s, close_s, peak_rss_bytes })
}

async fn answer(dir: PathBuf, people: &dyn People, questions: u64) -> anyhow::Result<Answered> {
    let rss = || process::usage(std::process::id()).unwrap_or_default().rss_bytes;
    let empty_rss_bytes = rss();
    let begun = Instant::now();
    let store = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir))?;
    let open_s = begun.elapsed().as_secs_f64();
    // What the start has taken for a moment is given back within seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let open_rss_bytes = rss();
    let stats = store.stats().await?;
    let depths = Depths::find(&store, people).await?;
    let mut latencies = BTreeMap::new();
    for query in Query::ALL {
        let latency = queries::ask(&store, people, &depths, query, questions).await?;
        latencies.insert(query, latency);
    }
    let rss_bytes = rss();
    store.close().await;
    let (users, follows) = (stats.users, stats.follows);
    Ok(Answered { open_s, users, follows, empty_rss_bytes, open_rss_bytes, rss_bytes, latencies })
}

async fn add(
    dir: PathBuf,
    shape: Shape,
    single: u64,
    (tasks, by_tasks): (u64, u64),
) -> anyhow::Result<Added> {
    let store = EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir))?;
    // New people, so that every edge is new.
    let edge = |n: u64| (user(shape.users + n), user(n % shape.users));
    let mut histogram = Histogram::<u64>::new(3)?;
    let at = tidings_core::clock::Timestamp::from_millis(1_800_000_000_000);
    for n in 0..single {
        let (follower, followee) = edge(n);
        let begun = Instant::now();
        store.add_follow(&follower, &followee, at).await?;
        histogram.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    let begun = Instant::now();
    let lanes = (0..tasks).map(|task| {
        let store = &store;
        async move {
            for n in (task..by_tasks).step_by(usize::try_from(tasks)?) {
                let (follower, followee) = edge(single + n);
                store.add_follow(&follower, &followee, at).await?;
            }
            anyhow::Ok(())
        }
    });
    futures_util::future::try_join_all(lanes).await?;
    let by_tasks_per_s = crate::limit::rate(by_tasks, begun.elapsed());
    store.close().await;
    Ok(Added { single: Latency::of(&histogram), by_tasks_per_s })
}
