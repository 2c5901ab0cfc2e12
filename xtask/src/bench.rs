//! `cargo xtask bench`: builds what is measured, then hands over to `tidings-bench`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::process::{cargo, cargo_target_dir, run};

/// Whether figures are wanted or only a proof that the bench runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Full,
    Quick,
}

/// Runs the bench `name`; returns only if that fails.
pub(crate) fn bench(name: &str, length: Length, json: Option<&Path>) -> Result<()> {
    let packages = ["--package", "tidings-server", "--package", "tidings-bench"];
    run(cargo(["build", "--release", "--bins"]).args(packages))?;
    let mut command = Command::new(cargo_target_dir()?.join("release/tidings-bench"));
    command.arg(name);
    if length == Length::Quick {
        command.arg("--quick");
    }
    if let Some(file) = json {
        command.arg("--json").arg(file);
    }
    Err(anyhow!(command.exec()).context("could not start tidings-bench"))
}
