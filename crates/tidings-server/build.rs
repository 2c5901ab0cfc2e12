//! Puts the commit and the target into the binary, for `tidings --version`.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // A source archive has no git: the version then says so.
    let commit =
        git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown commit".to_owned());
    println!("cargo::rustc-env=TIDINGS_COMMIT={commit}");
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let built = |name| std::env::var_os(name).unwrap_or_default();
    println!(
        "cargo::rustc-env=TIDINGS_BUILD={} {}",
        built("PROFILE").display(),
        built("TARGET").display()
    );
}
