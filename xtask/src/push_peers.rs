//! The push clients that Tidings is measured beside: other people's, each under a small program of ours
//! that makes it push as fast as it can (`deploy/peers/README.md`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{capture, find_program, repo_root, run};
use crate::say::say;

/// Sees to it that `dir/node_modules` holds what the lock file asks for.
pub(crate) fn fetch_apns2(dir: &Path) -> Result<PathBuf> {
    let source = repo_root().join("deploy/peers/apns2");
    let modules = dir.join("node_modules");
    let lock = Stamp::read(&source.join("package-lock.json"), &dir.join("installed.json"))?;
    if lock.is_there() {
        return Ok(modules);
    }
    ensure!(find_program("npm").is_some(), "npm is missing: run `cargo xtask install`");
    fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), dir.join(file))
            .with_context(|| format!("could not copy {file}"))?;
    }
    run(Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(dir))?;
    lock.write()?;
    Ok(modules)
}

/// Sees to it that the environment in `dir` holds what the requirements of a peer ask for.
pub(crate) fn fetch_python(peer: &str, dir: &Path) -> Result<PathBuf> {
    let requirements = repo_root().join(format!("deploy/peers/{peer}/requirements.txt"));
    let python = dir.join("bin/python");
    let lock = Stamp::read(&requirements, &dir.join("installed.txt"))?;
    if lock.is_there() {
        return Ok(python);
    }
    ensure!(find_program("python3").is_some(), "Python is missing: install Debian's python3-venv");
    capture(Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir))
        .context("could not make a Python environment: install Debian's python3-venv")?;
    // All of them are pinned: nothing else is asked for.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    run(Command::new(&python).args(pip).arg("--requirement").arg(&requirements))?;
    lock.write()?;
    Ok(python)
}

/// Sees to it that `dir/bin/push` is built from what stands in `deploy/peers/go-push`.
pub(crate) fn build_go_push(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("bin/push");
    ensure!(find_program("go").is_some(), "Go is missing: install Debian's golang-go");
    // Go knows by itself what is built already. A newer toolchain than Debian's is fetched from the
    // module proxy, like the modules themselves.
    run(Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&program)
        .arg(".")
        .env("GOTOOLCHAIN", "auto")
        .current_dir(repo_root().join("deploy/peers/go-push")))?;
    Ok(program)
}

/// What an installation was made of, kept beside it. It is written last, so half an installation is
/// never taken for a whole.
struct Stamp {
    wanted: String,
    installed: PathBuf,
}

impl Stamp {
    fn read(wanted: &Path, installed: &Path) -> Result<Self> {
        let wanted = fs::read_to_string(wanted)
            .with_context(|| format!("could not read {}", wanted.display()))?;
        Ok(Self { wanted, installed: installed.to_owned() })
    }

    fn is_there(&self) -> bool {
        let is_there = fs::read_to_string(&self.installed).is_ok_and(|it| it == self.wanted);
        if !is_there {
            say(format!("installing what {} will name", self.installed.display()));
        }
        is_there
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.installed, &self.wanted)
            .with_context(|| format!("could not write {}", self.installed.display()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// Modules that Gorush is built on, and so are compared in its place.
    const GO_MOD: &str = include_str!("../../deploy/peers/go-push/go.mod");
    const PACKAGE: &str = include_str!("../../deploy/peers/apns2/package.json");
    const LOCK: &str = include_str!("../../deploy/peers/apns2/package-lock.json");
    const REQUIREMENTS: &str = include_str!("../../deploy/peers/aioapns/requirements.txt");
    const README: &str = include_str!("../../deploy/peers/README.md");

    #[test]
    fn the_readme_tells_the_versions_that_are_installed() {
        let package: Value = serde_json::from_str(PACKAGE).unwrap();
        let lock: Value = serde_json::from_str(LOCK).unwrap();
        let apns2 = package["dependencies"]["apns2"].as_str().unwrap();
        assert_eq!(lock["packages"]["node_modules/apns2"]["version"].as_str(), Some(apns2));
        assert!(README.contains(&format!("| apns2 | {apns2} ")), "apns2 {apns2}");
        let aioapns = REQUIREMENTS.lines().find_map(|it| it.strip_prefix("aioapns==")).unwrap();
        assert!(README.contains(&format!("| aioapns | {aioapns} ")), "aioapns {aioapns}");
        for module in ["github.com/sideshow/apns2 v", "github.com/appleboy/go-fcm v"] {
            let version = GO_MOD.lines().find_map(|it| it.trim().strip_prefix(module)).unwrap();
            assert!(README.contains(version), "{module}{version}");
        }
    }

    #[test]
    fn every_requirement_is_pinned() {
        assert!(REQUIREMENTS.lines().all(|line| line.contains("==")));
    }
}
