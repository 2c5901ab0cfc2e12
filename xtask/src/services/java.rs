//! What the two servers on Java share: jars from Maven Central, and plain `java -cp`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::home::Home;
use crate::process::{capture, repo_root};
use crate::say::say;

/// The servers' versions, below the root of the checkout.
const POM: &str = "deploy/services/pom.xml";

/// Sees to it that `lib/` holds exactly the jars that the pom's `profile` asks for.
///
/// Maven runs only when the pom has changed since the jars were fetched.
pub(crate) fn fetch_jars(home: &Home, profile: &str) -> Result<()> {
    let pom_file = repo_root().join(POM);
    let pom = fs::read_to_string(&pom_file)
        .with_context(|| format!("could not read {}", pom_file.display()))?;
    // The jars' own copy of the pom is written last, so half a download is never taken for a whole.
    let stamp = home.lib().join("pom.xml");
    if fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == pom) {
        return Ok(());
    }
    say(format!("{profile}: fetching its jars from Maven Central"));
    super::lifecycle::remove_dir(&home.lib())?;
    fs::create_dir_all(home.lib())?;
    // --strict-checksums: a jar that does not match its published checksum is refused.
    capture(
        Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--strict-checksums", "--activate-profiles", profile])
            .arg("--file")
            .arg(&pom_file)
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", home.lib().display())),
    )
    .context("could not fetch the jars; is Maven Central reachable?")?;
    fs::write(stamp, pom)?;
    Ok(())
}

/// A command that runs `main_class` of the fetched jars.
///
/// `settings` go before the class: heap sizes, system properties.
pub(crate) fn java(home: &Home, settings: &[&str], main_class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args(settings)
        .arg("-cp")
        .arg(home.lib().join("*"))
        .arg(main_class)
        .current_dir(home.dir());
    command
}
