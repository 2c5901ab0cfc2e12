//! What the model is told of users and their candidates, for training it.

use std::{
    io::{BufRead, BufReader, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context;
use serde::Deserialize;
use tidings_core::{
    clock::Timestamp,
    follow::{Edge, Follow},
    ids::UserId,
    ports::SocialGraphStore,
};
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, RecommendRequest, RecommendationEngine,
    RecommendedGraph, recommend::feature_names,
};
use tokio::runtime::Runtime;

/// Edges of one import.
const CHUNK: usize = 100_000;

/// What is asked on the first line of standard input.
#[derive(Debug, Deserialize)]
struct Job {
    /// The training graph: an edge list.
    edges: PathBuf,
    /// One request a line: a user, and who else is to be looked at.
    requests: PathBuf,
    /// Where the features go: for each request the number of rows and of candidates among them, which come
    /// first, as `u32`; then of each row the user as `u32` and the features as `f32`, all little-endian.
    out: PathBuf,
}

/// Reads a job from standard input and writes the features that it asks for; prints their names.
///
/// # Errors
///
/// A file cannot be read or written, or the graph cannot be made.
#[expect(clippy::print_stdout, reason = "the answer to whoever started the process")]
pub fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).context("the job cannot be read")?;
    Runtime::new()?.block_on(run(&job))?;
    println!("{}", serde_json::to_string(feature_names())?);
    Ok(())
}

async fn run(job: &Job) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let config = EmbeddedGraphConfig::new(directory.path().to_owned());
    let store = Arc::new(EmbeddedGraphStore::open(config)?);
    let mut edges = Vec::with_capacity(CHUNK);
    for line in lines(&job.edges)? {
        let line = line?;
        let (follower, followee) = line.split_once(' ').context("an edge has two ends")?;
        let at = Timestamp::from_millis(0);
        let (follower, followee) = (UserId::new(follower)?, UserId::new(followee)?);
        edges.push(Edge::from(Follow { follower, followee, at }));
        if edges.len() == CHUNK {
            store.import_edges(std::mem::take(&mut edges)).await?;
        }
    }
    store.import_edges(edges).await?;
    let engine = RecommendationEngine::new(RecommendedGraph::Embedded(Arc::clone(&store)));
    let mut out = BufWriter::new(std::fs::File::create(&job.out)?);
    for line in lines(&job.requests)? {
        let line = line?;
        let mut users = line.split(' ').map(UserId::new);
        let user = users.next().context("a request has a user")??;
        let others: Vec<_> = users.collect::<Result<_, _>>()?;
        let request = RecommendRequest { among: Some(others), ..RecommendRequest::new(user, 1) };
        let (users, rows, candidates) = engine.features(request).await?;
        out.write_all(&u32::try_from(rows.len())?.to_le_bytes())?;
        out.write_all(&u32::try_from(candidates)?.to_le_bytes())?;
        for (user, row) in users.iter().zip(&rows) {
            out.write_all(&user.as_str().parse::<u32>()?.to_le_bytes())?;
            for value in row {
                out.write_all(&value.to_le_bytes())?;
            }
        }
    }
    out.flush()?;
    store.close().await;
    Ok(())
}

fn lines(path: &PathBuf) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>>> {
    let file = std::fs::File::open(path);
    let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(BufReader::new(file).lines())
}
