//! Redis, from Debian's package.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::endpoints::{HOST, REDIS_PORT};
use super::home::Home;
use crate::process::{bounded, capture, find_program};

/// Returns the command that starts the server.
pub(crate) fn prepare(home: &Home) -> Result<Command> {
    fs::create_dir_all(home.data())?;
    let server = find_program("redis-server").context("redis-server is not installed")?;
    let mut command = Command::new(server);
    command
        .args(["--bind", HOST, "--port", &REDIS_PORT.to_string()])
        .arg("--dir")
        .arg(home.data())
        // An append-only file keeps the data over a restart without the pauses of snapshots.
        .args(["--appendonly", "yes", "--save", "", "--daemonize", "no"]);
    Ok(command)
}

/// Writes a key and reads it back.
pub(crate) fn probe() -> Result<()> {
    const KEY: &str = "tidings:xtask:ready";
    ensure!(ask(&["PING"])? == "PONG", "unexpected answer to PING");
    ensure!(ask(&["SET", KEY, "yes", "EX", "10"])? == "OK", "unexpected answer to SET");
    ensure!(ask(&["GET", KEY])? == "yes", "unexpected answer to GET");
    Ok(())
}

fn ask(words: &[&str]) -> Result<String> {
    let answer = capture(
        bounded("redis-cli").args(["-h", HOST, "-p", &REDIS_PORT.to_string()]).args(words),
    )?;
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}
