//! `cargo xtask peers`: installs what Tidings is measured beside, as `deploy/peers/README.md` tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::process::{capture, cargo, find_program, repo_root, run};
use crate::push_peers;
use crate::say::say;

/// The jars of Kafka Connect and of its sink, below the root of the checkout.
const POM: &str = "deploy/peers/pom.xml";

/// The version of notifyd, built with the dependencies that its own lock file names.
const NOTIFYD: &str = "0.4.0";

/// The version of Centrifugo, built with the dependencies that its own `go.sum` names.
const CENTRIFUGO: &str = "v6.9.1";

/// One of the programs that Tidings is measured beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Kafka Connect with Debezium's JDBC sink.
    Connect,
    Notifyd,
    Centrifugo,
    /// A push client on Node.js.
    Apns2,
    /// A push client in Python.
    Aioapns,
    /// Push clients in Go.
    GoPush,
    /// A graph database, as a module of Redis.
    Falkordb,
    /// Recommenders by matrix factorisation in Python.
    Implicit,
}

impl Peer {
    pub(crate) const ALL: [Self; 8] = [
        Self::Connect,
        Self::Notifyd,
        Self::Centrifugo,
        Self::Apns2,
        Self::Aioapns,
        Self::GoPush,
        Self::Falkordb,
        Self::Implicit,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Notifyd => "notifyd",
            Self::Centrifugo => "centrifugo",
            Self::Apns2 => "apns2",
            Self::Aioapns => "aioapns",
            Self::GoPush => "go-push",
            Self::Falkordb => "falkordb",
            Self::Implicit => "implicit",
        }
    }

    /// Its folder, `target/peers/NAME`.
    pub(crate) fn dir(self) -> PathBuf {
        repo_root().join("target/peers").join(self.name())
    }
}

/// Installs each of `wanted` unless it is there in the version asked for, and says where.
///
/// # Errors
///
/// If Maven, Go, npm or Python is missing, or a registry does not have, or does not give, what is pinned.
pub(crate) fn install_peers(wanted: &[Peer]) -> Result<()> {
    for &peer in wanted {
        let dir = peer.dir();
        let place = match peer {
            Peer::Connect => fetch_connect(&dir)?,
            Peer::Notifyd => build_notifyd(&dir)?,
            Peer::Centrifugo => build_centrifugo(&dir)?,
            Peer::Apns2 => push_peers::fetch_apns2(&dir)?,
            Peer::Aioapns | Peer::Falkordb | Peer::Implicit => {
                push_peers::fetch_python(peer.name(), &dir)?
            }
            Peer::GoPush => push_peers::build_go_push(&dir)?,
        };
        say(format!("{}: {}", peer.name(), place.display()));
    }
    Ok(())
}

/// Sees to it that `dir/lib` holds exactly the jars that the pom asks for.
fn fetch_connect(dir: &Path) -> Result<PathBuf> {
    let pom_file = repo_root().join(POM);
    let pom = fs::read_to_string(&pom_file)
        .with_context(|| format!("could not read {}", pom_file.display()))?;
    let lib = dir.join("lib");
    // The jars' own copy of the pom is written last, so half a download is never taken for a whole.
    let stamp = lib.join("pom.xml");
    if fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == pom) {
        return Ok(lib);
    }
    ensure!(find_program("mvn").is_some(), "Maven is missing: run `cargo xtask install`");
    say("connect: fetching its jars with Maven");
    if lib.exists() {
        fs::remove_dir_all(&lib).with_context(|| format!("could not remove {}", lib.display()))?;
    }
    fs::create_dir_all(&lib).with_context(|| format!("could not make {}", lib.display()))?;
    // --strict-checksums: a jar that does not match its published checksum is refused.
    capture(
        Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--strict-checksums", "--file"])
            .arg(&pom_file)
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", lib.display())),
    )
    .context("could not fetch the jars of Kafka Connect")?;
    fs::write(&stamp, pom).with_context(|| format!("could not write {}", stamp.display()))?;
    Ok(lib)
}

/// Sees to it that `dir/bin/notifyd` is the version asked for.
fn build_notifyd(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("bin/notifyd");
    // Cargo's own record of what it installed there, which it writes once the program is in place.
    let record = fs::read_to_string(dir.join(".crates.toml")).unwrap_or_default();
    if records_notifyd(&record) && program.exists() {
        return Ok(program);
    }
    say("notifyd: building it, which takes some minutes");
    let version = format!("={NOTIFYD}");
    run(cargo(["install", "notifyd", "--version", &version, "--locked", "--force", "--root"])
        .arg(dir))?;
    ensure!(program.exists(), "cargo installed no {}", program.display());
    Ok(program)
}

/// Sees to it that `dir/bin/centrifugo` is the version asked for.
fn build_centrifugo(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("bin/centrifugo");
    // Go writes into each program what it was made of.
    let record = if program.exists() {
        capture(Command::new("go").args(["version", "-m"]).arg(&program)).unwrap_or_default()
    } else {
        Vec::new()
    };
    if records_centrifugo(&String::from_utf8_lossy(&record)) {
        return Ok(program);
    }
    ensure!(find_program("go").is_some(), "Go is missing: install Debian's golang-go");
    say("centrifugo: building it, which takes some minutes");
    let module = format!("github.com/centrifugal/centrifugo/v6@{CENTRIFUGO}");
    // A newer toolchain than Debian's is fetched from the module proxy, like the module itself.
    run(Command::new("go")
        .args(["install", &module])
        .env("GOTOOLCHAIN", "auto")
        .env("GOBIN", dir.join("bin")))?;
    ensure!(program.exists(), "go installed no {}", program.display());
    Ok(program)
}

fn records_centrifugo(record: &str) -> bool {
    record.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("mod")
            && words.next() == Some("github.com/centrifugal/centrifugo/v6")
            && words.next() == Some(CENTRIFUGO)
    })
}

fn records_notifyd(record: &str) -> bool {
    record.contains(&format!("\"notifyd {NOTIFYD} "))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{records_centrifugo, records_notifyd};

    const SCHEMA: &str = include_str!("../../deploy/peers/schema.json");
    const SINK: &str = include_str!("../../deploy/peers/sink.json");
    const TABLE: &str = include_str!("../../deploy/peers/table.sql");

    /// The scalar fields below `fields`, with the names that the sink's `Flatten` gives them.
    fn flattened(fields: &Value, prefix: &str, names: &mut Vec<String>) {
        for field in fields.as_array().unwrap() {
            let name = format!("{prefix}{}", field["field"].as_str().unwrap());
            match field.get("fields") {
                Some(inner) => flattened(inner, &format!("{name}_"), names),
                None => names.push(name),
            }
        }
    }

    /// The words that begin the lines within the table's parentheses, without quotes.
    fn columns() -> Vec<String> {
        TABLE
            .lines()
            .filter(|line| line.starts_with("    ") && !line.contains("PRIMARY KEY"))
            .filter_map(|line| line.split_whitespace().next())
            .map(|word| word.replace('"', ""))
            .collect()
    }

    #[test]
    fn the_sink_writes_every_column_of_its_table_and_no_other() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut fields = Vec::new();
        flattened(&schema["fields"], "", &mut fields);
        assert_eq!(fields, columns());
    }

    #[test]
    fn the_sink_knows_its_table_s_key() {
        let sink: Value = serde_json::from_str(SINK).unwrap();
        assert_eq!(sink["config"]["primary.key.fields"], "user,source,id");
        assert!(TABLE.contains("PRIMARY KEY (\"user\", source, id)"));
    }

    #[test]
    fn another_version_of_centrifugo_is_not_taken_for_ours() {
        let record = |version: &str| {
            format!(
                "centrifugo: go1.27.3\n\tmod\tgithub.com/centrifugal/centrifugo/v6\t{version}\th1:x=\n"
            )
        };
        assert!(records_centrifugo(&record("v6.9.1")));
        assert!(!records_centrifugo(&record("v6.9.10")));
        assert!(!records_centrifugo(""));
    }

    #[test]
    fn another_version_of_notifyd_is_not_taken_for_ours() {
        let record = |version: &str| {
            format!(
                "[v1]\n\"notifyd {version} (registry+https://example.invalid)\" = [\"notifyd\"]\n"
            )
        };
        assert!(records_notifyd(&record("0.4.0")));
        assert!(!records_notifyd(&record("0.4.01")));
        assert!(!records_notifyd(&record("0.3.9")));
        assert!(!records_notifyd(""));
    }
}
