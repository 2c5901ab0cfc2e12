//! The node of the demo: a process of its own, as in production.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

/// How long a node may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `tidings serve`.
pub(super) struct DemoNode {
    child: Child,
    address: SocketAddr,
}

/// What a demo's node needs.
pub(super) struct NodeFiles<'a> {
    /// Its configuration file.
    pub(super) config: &'a Path,
    /// Where its log goes.
    pub(super) log: &'a Path,
    /// Where it says on which address it listens.
    pub(super) address: &'a Path,
    /// Whom its page shows.
    pub(super) people: &'a [String],
}

impl DemoNode {
    /// Starts this very binary as a node and waits until it is ready.
    pub(super) async fn start(files: &NodeFiles<'_>) -> anyhow::Result<Self> {
        let binary: PathBuf = std::env::current_exe().context("this binary cannot be found")?;
        let log = std::fs::File::create(files.log).context("the node's log cannot be written")?;
        let mut child = Command::new(binary)
            .arg("serve")
            .arg("--config")
            .arg(files.config)
            .arg("--address-file")
            .arg(files.address)
            .arg("--demo-page")
            .arg(files.people.join(","))
            // The pipe ends when the demo does, however it ends: no node is left behind.
            .arg("--stop-with-stdin")
            // A group of its own: Ctrl-C is for the demo, which stops the node when it has counted.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("the node cannot be started")?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("the node ended at once ({status}):\n{}", last_lines(files.log));
            }
            if let Ok(address) = std::fs::read_to_string(files.address) {
                let address = address.trim().parse().context("the node's address")?;
                return Ok(Self { child, address });
            }
            if Instant::now() > deadline {
                bail!("the node is not ready after {START_TIMEOUT:?}:\n{}", last_lines(files.log));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its resident memory, in bytes; `None` once it has ended.
    pub(super) fn rss_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// Fails once it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("the node cannot be looked at")? {
            Some(status) => bail!("the node ended before the demo ({status})"),
            None => Ok(()),
        }
    }

    /// Asks it to stop and waits for it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => {
                let status = status.context("the node cannot be waited for")?;
                if !status.success() {
                    bail!("the node ended with {status}");
                }
                Ok(())
            }
            Err(_) => {
                self.child.kill().await.context("the node cannot be killed")?;
                bail!("the node did not stop within {STOP_TIMEOUT:?} and was killed")
            }
        }
    }
}

/// The end of a log, for an error.
fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
