//! Stops the services of a run that did not get to do so itself.
//!
//! Ctrl-C, a closed terminal and `kill -9` all end `cargo xtask test` at once. A second process, in a
//! group of its own, holds the other end of a pipe: when the run ends without a word, it stops them.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::{Service, Wipe, down};
use crate::say::say;

const ALL_DONE: &[u8] = b"done";

/// The running guard. Dropping it without [`Guard::dismiss`] makes it act.
pub(crate) struct Guard {
    child: Child,
}

impl Guard {
    /// Starts the guard over `services`.
    pub(crate) fn start(services: &[Service]) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("guard-services")
            .args(services.iter().map(|service| service.name()))
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("could not start the guard of the services")?;
        Ok(Self { child })
    }

    /// Tells the guard that the services are stopped, and waits for it to leave.
    pub(crate) fn dismiss(mut self) -> Result<()> {
        let mut stdin = self.child.stdin.take().context("the guard has no input")?;
        stdin.write_all(ALL_DONE)?;
        drop(stdin);
        self.child.wait()?;
        Ok(())
    }
}

/// What the guard does: waits for the run to end, and stops `services` unless told that they are.
pub(crate) fn watch(services: &[Service]) -> Result<()> {
    let mut told = Vec::new();
    std::io::stdin().read_to_end(&mut told)?;
    if told == ALL_DONE {
        return Ok(());
    }
    say("\nthe run was interrupted: stopping its services");
    down(services, Wipe::Keep)
}
