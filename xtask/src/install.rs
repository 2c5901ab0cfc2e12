//! Installs what building and testing need beyond the Rust toolchain.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::process::{find_program, is_root, run};
use crate::say::say;
use crate::services::postgres::server_program;

/// The Java that both servers on Java run on.
const MIN_JAVA: u32 = 17;

/// Something that must be there, and the Debian package that brings it.
struct Need {
    what: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
}

/// Everything, in the order in which it is used.
const NEEDS: &[Need] = &[
    Need { what: "gcc", package: "gcc", is_there: || has("gcc") },
    Need { what: "g++", package: "g++", is_there: || has("g++") },
    Need { what: "make", package: "make", is_there: || has("make") },
    Need { what: "pkg-config", package: "pkg-config", is_there: || has("pkg-config") },
    Need { what: "zlib's headers", package: "zlib1g-dev", is_there: || has_library("zlib") },
    Need { what: "OpenSSL's headers", package: "libssl-dev", is_there: || has_library("openssl") },
    Need { what: "Java 17", package: "openjdk-17-jre-headless", is_there: has_java },
    Need { what: "Maven", package: "maven", is_there: || has("mvn") },
    Need { what: "the PostgreSQL server", package: "postgresql", is_there: has_postgres },
    Need { what: "psql", package: "postgresql-client", is_there: || has("psql") },
    Need { what: "redis-server", package: "redis-server", is_there: || has("redis-server") },
    Need { what: "redis-cli", package: "redis-tools", is_there: || has("redis-cli") },
    Need { what: "Node.js", package: "nodejs", is_there: || has("node") },
    Need { what: "npm", package: "npm", is_there: || has("npm") },
    Need { what: "Python 3's venv", package: "python3-venv", is_there: has_venv },
    Need { what: "Chromium", package: "chromium", is_there: || has("chromium") },
];

/// Installs what is missing, or says what to install.
///
/// # Errors
///
/// If something is missing and we are not root, have no apt-get, or apt-get fails; and if the Rust
/// toolchain lacks a component, which is rustup's to add.
pub(crate) fn install() -> Result<()> {
    require_components()?;
    let missing = missing();
    if missing.is_empty() {
        say("everything needed is installed");
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    for need in &missing {
        say(format!("missing: {} (Debian package {})", need.what, need.package));
    }
    if !is_root() || !has("apt-get") {
        bail!(
            "install these first, on Debian or Ubuntu with\n\n    \
             sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}\n",
            packages.join(" ")
        );
    }
    run(apt_get().arg("update"))?;
    run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&packages))?;
    let still: Vec<&str> = self::missing().iter().map(|need| need.what).collect();
    if !still.is_empty() {
        bail!("apt-get succeeded, yet still missing: {}", still.join(", "));
    }
    Ok(())
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !(need.is_there)()).collect()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet=2").stdin(Stdio::null());
    command
}

fn require_components() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !succeeds(Command::new("cargo").args([subcommand, "--version"])) {
            bail!("cargo {subcommand} is missing: run `rustup component add {component}`");
        }
    }
    Ok(())
}

fn has(program: &str) -> bool {
    find_program(program).is_some()
}

fn has_library(name: &str) -> bool {
    succeeds(Command::new("pkg-config").args(["--exists", name]))
}

fn has_postgres() -> bool {
    server_program("postgres").is_some() && server_program("initdb").is_some()
}

/// Debian splits Python's own package installer off.
fn has_venv() -> bool {
    let mut python = Command::new("python3");
    let imported = python.args(["-c", "import venv, ensurepip"]).stderr(Stdio::null()).status();
    imported.is_ok_and(|status| status.success())
}

fn has_java() -> bool {
    // `java -version` writes to standard error.
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    output.is_ok_and(|output| {
        java_major(&String::from_utf8_lossy(&output.stderr)).is_some_and(|major| major >= MIN_JAVA)
    })
}

/// The 17 in `openjdk version "17.0.15" 2025-04-15`.
fn java_major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("version \"")?;
    version.split(['.', '"', '-', '+']).next()?.parse().ok()
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::java_major;

    #[test]
    fn the_major_version_of_java_is_read_from_what_it_says() {
        assert_eq!(java_major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(java_major("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(java_major("java version \"1.8.0_402\""), Some(1));
        assert_eq!(java_major("command not found"), None);
    }
}
