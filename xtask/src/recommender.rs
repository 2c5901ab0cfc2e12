//! `cargo xtask train-recommender`: makes the model of the recommender, as `bench/recommend/README.md`
//! tells.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::peers::{Peer, install_peers};
use crate::process::{cargo, cargo_target_dir, repo_root, run};

/// The graphs that ship with the repository.
const GRAPHS: [&str; 2] = ["data/wiki-vote.txt.gz", "data/epinions.txt.gz"];

/// Trains on the graphs that ship and on `graphs`, and writes the model that is built in.
///
/// # Errors
///
/// If a registry does not give what is pinned, or a graph cannot be read.
pub(crate) fn train(graphs: &[String], users: Option<u32>, is_tested: bool) -> Result<()> {
    install_peers(&[Peer::Implicit])?;
    run(cargo(["build", "--release", "--package", "tidings-bench"]).args(["--bins"]))?;
    let root = repo_root();
    let ours = GRAPHS.map(|it| root.join(it).display().to_string());
    let mut command = Command::new(python());
    command
        .arg(root.join("bench/recommend/train.py"))
        .arg(cargo_target_dir()?.join("release/tidings-bench"))
        .arg(root.join("crates/tidings-graph/src/recommend/model.json"))
        .args(ours.iter().chain(graphs));
    if let Some(users) = users {
        command.arg("--users").arg(users.to_string());
    }
    if is_tested {
        command.arg("--test");
    }
    run(&mut command)
}

/// The Python that has the packages.
fn python() -> PathBuf {
    Peer::Implicit.dir().join("bin/python")
}
