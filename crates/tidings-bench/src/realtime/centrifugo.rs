//! A peer: Centrifugo, as `deploy/peers/README.md` tells.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use super::target::TOKEN_SECRET;
use crate::ingest::{Bench, HOST, last_lines, repo_root, template};

/// Its settings out of the box.
pub(super) const DEFAULT: &str = "centrifugo.json";
/// The least memory for a connection that the open-source edition can be set to.
pub(super) const LEAN: &str = "centrifugo-lean.json";
/// No secret: it listens for the length of a run.
const API_KEY: &str = "bench-0123456789abcdef";
/// What requests to its API have besides.
pub(super) const HEADERS: &str = "x-api-key: bench-0123456789abcdef\r\n";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running Centrifugo. Dropping it kills it.
pub(super) struct Centrifugo {
    child: Child,
    pid: u32,
    address: SocketAddr,
}

impl Centrifugo {
    /// Starts it with one of the settings; `None` if it is not installed.
    pub(super) async fn start(bench: &Bench, settings: &str) -> anyhow::Result<Option<Self>> {
        let program = repo_root().join("target/peers/centrifugo/bin/centrifugo");
        let Ok(program) = program.canonicalize() else {
            bench.say(
                "Centrifugo is not installed, and is left out: `cargo xtask peers` installs it",
            );
            return Ok(None);
        };
        let dir = bench.folder("centrifugo")?;
        let port = TcpListener::bind((HOST, 0))?.local_addr()?.port();
        let values =
            [("PORT", &*port.to_string()), ("TOKEN_SECRET", TOKEN_SECRET), ("API_KEY", API_KEY)];
        let config = dir.join("config.json");
        std::fs::write(&config, template(settings, &values)?)?;
        let log_file = dir.join("log");
        let log = std::fs::File::create(&log_file)?;
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("Centrifugo cannot be started")?;
        let pid = child.id().context("Centrifugo ended at once")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("Centrifugo ended at once ({status}):\n{}", last_lines(&log_file));
            }
            if begun.elapsed() > START_TIMEOUT {
                bail!("Centrifugo is not ready:\n{}", last_lines(&log_file));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Some(Self { child, pid, address }))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("Centrifugo cannot be killed")
    }
}
