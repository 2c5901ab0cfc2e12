//! `cargo xtask train-recommender`: makes the model of the recommender, as `bench/recommend/README.md`
//! tells.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::process::{cargo, cargo_target_dir, repo_root, run};

/// The graphs that ship with the repository.
const GRAPHS: [&str; 3] =
    ["data/wiki-vote.txt.gz", "data/epinions.txt.gz", "data/facebook-combined.txt.gz:undirected"];

/// Trains on the graphs that ship and on `graphs`, and writes the model that is built in.
///
/// # Errors
///
/// If a graph cannot be read.
pub(crate) fn train(graphs: &[String], users: u32, is_tested: bool) -> Result<()> {
    run(cargo(["build", "--release", "--package", "tidings-bench"]).args(["--bins"]))?;
    let root = repo_root();
    let ours = GRAPHS.map(|it| root.join(it).display().to_string());
    let job = json!({
        "graphs": ours.iter().chain(graphs).collect::<Vec<_>>(),
        "users": users,
        "out": root.join("crates/tidings-graph/src/recommend/model.json"),
        "test": is_tested,
    });
    let mut training = Command::new(cargo_target_dir()?.join("release/tidings-bench"))
        .arg("recommend-train")
        .stdin(Stdio::piped())
        .spawn()
        .context("tidings-bench cannot be started")?;
    if let Some(mut stdin) = training.stdin.take() {
        writeln!(stdin, "{job}")?;
    }
    let ended = training.wait()?;
    ensure!(ended.success(), "the training ended with {ended}");
    Ok(())
}
