//! The JavaScript SDK's own tests: types, build, Node against the program, and Chromium.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{cargo_target_dir, repo_root, run};

/// Installs what the SDK is built with and runs its tests. The program has to be built.
pub(crate) fn test() -> Result<()> {
    let program = cargo_target_dir()?.join("debug/tidings");
    let install = ["ci", "--no-audit", "--no-fund"];
    run(npm().args(install)).context("the SDK's tools were not installed")?;
    run(npm().arg("test").env("TIDINGS_BINARY", program)).context("the SDK's tests failed")
}

fn npm() -> Command {
    let mut command = Command::new("npm");
    command.current_dir(repo_root().join("sdk/js"));
    command
}
