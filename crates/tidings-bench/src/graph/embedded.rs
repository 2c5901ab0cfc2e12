//! The embedded engine by itself, in processes whose memory is the engine's.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{
    engine::{Added, Answered, Built, Job, Source, read},
    queries::Latency,
    shape::Shape,
};
use crate::{
    ingest::{Bench, number},
    limit::rate,
    realtime::own_process,
    report::Report,
};

/// A directory for a node, with the graph in it, and what graph that is.
pub(crate) struct Data {
    pub(crate) node_dir: PathBuf,
    pub(crate) shape: Shape,
}

impl Data {
    pub(crate) fn graph_dir(&self) -> PathBuf {
        self.node_dir.join("data/graph")
    }
}

/// Makes the graph where a node would look for it.
pub(crate) async fn build(bench: &Bench, report: &mut Report) -> anyhow::Result<Data> {
    let shape = bench.pick(
        Shape { users: 1 << 20, follows: 52_000_000 },
        Shape { users: 1 << 16, follows: 1_000_000 },
    );
    let data = Data { node_dir: bench.folder("node")?, shape };
    std::fs::create_dir_all(data.graph_dir())?;
    let built: Built =
        job(&Job::Build { dir: data.graph_dir(), source: Source::Shape(shape) }).await?;
    let Built { follows, import_s, close_s, peak_rss_bytes } = built;
    let took = std::time::Duration::from_secs_f64(import_s + close_s);
    bench.say(format_args!(
        "{follows} follows between {} users in {import_s:.1} s, and {close_s:.1} s to close",
        shape.users
    ));
    report.put("follows", number(follows));
    report.put("follows_per_s", rate(follows, took));
    report.put("import_peak_rss_bytes", number(peak_rss_bytes));
    report.put("disk_bytes", number(disk_bytes(&data.graph_dir())?));
    Ok(data)
}

/// Runs the part.
pub(super) async fn run(bench: &Bench, data: &Data, report: &mut Report) -> anyhow::Result<()> {
    let (dir, shape) = (data.graph_dir(), data.shape);
    let questions = bench.pick(50_000, 2_000);
    let ask = Job::Ask { dir: dir.clone(), source: Source::Shape(shape), questions };
    let answered: Answered = job(&ask).await?;
    ensure!(answered.follows > 0, "the graph is empty");
    bench.say(format_args!(
        "open in {:.1} s, {:.2} bytes per follow, {:.0} MB in all",
        answered.open_s,
        per_follow(&answered),
        number(answered.rss_bytes) / 1e6
    ));
    report.put("users", number(answered.users));
    report.put("cold_start_s", answered.open_s);
    report.put("open_rss_bytes", number(answered.open_rss_bytes));
    report.put("rss_bytes", number(answered.rss_bytes));
    report.put("bytes_per_follow", per_follow(&answered));
    for (query, latency) in &answered.latencies {
        put_latency(report, query.name(), latency);
        bench.say(format_args!("{}: {latency:?}", query.name()));
    }
    // A copy would take the disk's time; the next part's graph has some follows more.
    let (single, by_tasks) = bench.pick((2_000, 400_000), (200, 10_000));
    let added: Added = job(&Job::Add { dir, shape, single, tasks: 512, by_tasks }).await?;
    put_latency(report, "add_follow", &added.single);
    report.put("add_follow_tasks", 512.0);
    report.put("add_follow_by_tasks_per_s", added.by_tasks_per_s);
    bench.say(format_args!("{added:?}"));
    Ok(())
}

/// What each follow takes, both directions, ids and everything else of the process included but what
/// it had before it opened the graph.
fn per_follow(answered: &Answered) -> f64 {
    let bytes = answered.rss_bytes.saturating_sub(answered.empty_rss_bytes);
    number(bytes) / number(answered.follows)
}

pub(crate) fn put_latency(report: &mut Report, name: &str, latency: &Latency) {
    report.put(&format!("{name}_p50_us"), latency.p50_us);
    report.put(&format!("{name}_p95_us"), latency.p95_us);
    report.put(&format!("{name}_p99_us"), latency.p99_us);
    report.put(&format!("{name}_max_us"), latency.max_us);
}

/// Has a process of its own do a job.
pub(crate) async fn job<T: DeserializeOwned>(job: &Job) -> anyhow::Result<T> {
    let mut child = own_process("graph-engine")?;
    let mut orders = child.stdin.take().context("the input of the engine")?;
    orders.write_all(format!("{}\n", serde_json::to_string(job)?).as_bytes()).await?;
    let answers = child.stdout.take().context("the output of the engine")?;
    let line = BufReader::new(answers).lines().next_line().await?;
    let status = child.wait().await?;
    ensure!(status.success(), "the engine ended with {status}");
    read(&line.unwrap_or_default())
}

fn disk_bytes(dir: &std::path::Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            // What is taken on the disk, not how long the file says it is.
            std::os::unix::fs::MetadataExt::blocks(&entry.metadata()?) * 512
        };
    }
    Ok(bytes)
}
