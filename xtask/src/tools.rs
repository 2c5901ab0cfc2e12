//! Thin wrappers around tools that are not part of a test run.

use anyhow::{Result, bail};

use crate::process::{cargo, find_program, run};

/// Measures how much of the code the tests reach.
pub(crate) fn coverage() -> Result<()> {
    require("cargo-llvm-cov", "cargo install --locked cargo-llvm-cov")?;
    run(&mut cargo(["llvm-cov", "--workspace", "--html"]))
}

/// Checks the dependencies: known holes, licences, duplicates, origins.
///
/// Not part of `test`: the tool takes minutes to build and fetches its list of advisories.
pub(crate) fn audit() -> Result<()> {
    require("cargo-deny", "cargo install --locked cargo-deny")?;
    run(&mut cargo(["deny", "--workspace", "check"]))
}

fn require(program: &str, how: &str) -> Result<()> {
    if find_program(program).is_none() {
        bail!("{program} is not installed: run `{how}`");
    }
    Ok(())
}
