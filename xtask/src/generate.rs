//! Files that are generated from the code and committed.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::process::{capture, cargo, repo_root};
use crate::say::say;

/// Whether to write the files or only to compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Check,
}

/// Each file, and the words to `tidings` that print it.
const FILES: &[(&str, &[&str])] =
    &[("api/openapi.json", &["openapi"]), ("docs/configuration.md", &["config", "docs"])];

/// Regenerates the files, or fails if one of them is stale.
pub(crate) fn generate(mode: Mode) -> Result<()> {
    let mut stale = Vec::new();
    for (file, words) in FILES {
        let mut tidings =
            cargo(["run", "--quiet", "--package", "tidings-server", "--bin", "tidings", "--"]);
        let fresh = capture(tidings.args(*words))?;
        let path = repo_root().join(file);
        if fs::read(&path).is_ok_and(|committed| committed == fresh) {
            say(format!("{file}: up to date"));
        } else if mode == Mode::Check {
            stale.push(*file);
        } else {
            fs::create_dir_all(path.with_file_name(""))?;
            fs::write(&path, fresh).with_context(|| format!("could not write {file}"))?;
            say(format!("{file}: written"));
        }
    }
    if !stale.is_empty() {
        bail!("stale: {}; run `cargo xtask generate` and commit", stale.join(", "));
    }
    Ok(())
}
