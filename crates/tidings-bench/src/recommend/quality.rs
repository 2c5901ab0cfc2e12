//! How well hidden follows are found on the graphs that ship: `tidings evaluate`, and methods of others on the
//! same split.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::{ingest::Bench, report::Report};

/// The graphs, and whether follows have a direction.
const GRAPHS: [(&str, bool); 3] =
    [("wiki-vote", true), ("epinions", true), ("facebook-combined", false)];
const MEASURES: [&str; 7] =
    ["ndcg_at_10", "map", "hr_at_10", "r_at_50", "auc_uniform", "auc_popularity", "ms_p95"];

/// Runs the part.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let users = bench.pick("1000", "50");
    for (graph, is_directed) in GRAPHS {
        let file = root.join(format!("data/{graph}.txt.gz"));
        let out = bench.folder("evaluation")?.join("result.json");
        evaluate(&file, is_directed, users, &out).await?;
        let found: Value = serde_json::from_slice(&std::fs::read(&out)?)?;
        put(report, graph, &found["methods"]);
        if let Some(found) = baselines(&root, &file, is_directed, users).await? {
            put(report, graph, &found);
        } else {
            bench.say(format_args!("without implicit: `cargo xtask peers implicit` installs it"));
        }
    }
    Ok(())
}

async fn evaluate(file: &Path, is_directed: bool, users: &str, out: &Path) -> anyhow::Result<()> {
    let tidings = std::env::current_exe()?.with_file_name("tidings");
    let mut command = Command::new(&tidings);
    command.arg("evaluate").arg(file).args(["--users", users]).arg("--json").arg(out);
    if !is_directed {
        command.arg("--undirected");
    }
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).status().await;
    let ended = ended.with_context(|| format!("{} cannot be run", tidings.display()))?;
    ensure!(ended.success(), "tidings evaluate ended with {ended}");
    Ok(())
}

/// Runs the methods of others, if they are installed.
async fn baselines(
    root: &Path,
    file: &Path,
    is_directed: bool,
    users: &str,
) -> anyhow::Result<Option<Value>> {
    let python: PathBuf = root.join("target/peers/implicit/bin/python");
    if !python.exists() {
        return Ok(None);
    }
    let kind = if is_directed { "" } else { ":undirected" };
    let mut command = Command::new(&python);
    command
        .arg(root.join("bench/recommend/baselines.py"))
        .arg(format!("{}{kind}", file.display()))
        .args(["--users", users])
        .stderr(Stdio::null());
    let ended = command.kill_on_drop(true).output().await?;
    ensure!(ended.status.success(), "baselines.py ended with {}", ended.status);
    Ok(Some(serde_json::from_slice(&ended.stdout)?))
}

fn put(report: &mut Report, graph: &str, methods: &Value) {
    for (method, values) in methods.as_object().into_iter().flatten() {
        for measure in MEASURES {
            if let Some(value) = values[measure].as_f64() {
                report.put(&format!("{graph}_{method}_{measure}"), value);
            }
        }
    }
}
