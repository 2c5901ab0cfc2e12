//! The node under test: the release binary, a process of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tidings_client::Api;
use tokio::process::{Child, Command};

use super::{
    bench::{Bench, last_lines, sibling_program},
    http_client::HttpConnection,
    kafka,
};
use crate::process;

/// How long a node may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// Where a node keeps what it is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Store<'a> {
    /// SQLite in the data directory.
    Embedded,
    /// PostgreSQL at this URL.
    Postgres(&'a str),
}

/// What a node reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    pub(crate) topic: String,
    pub(crate) group: String,
    /// Empty for none.
    pub(crate) instance_id: String,
}

/// What a node is told.
#[derive(Debug, Clone)]
pub(crate) struct Setup<'a> {
    pub(crate) store: Store<'a>,
    /// `None` for a node that takes events over HTTP only.
    pub(crate) source: Option<Source>,
}

impl Setup<'_> {
    fn to_toml(&self) -> String {
        let mut toml = String::from("[server]\nlisten = \"127.0.0.1:0\"\n");
        if let Store::Postgres(url) = self.store {
            toml += &format!("[store.postgres]\nurl = \"{url}\"\n");
        }
        if let Some(Source { topic, group, instance_id }) = &self.source {
            toml += &format!(
                "[kafka]\nbrokers = \"{}\"\ngroup = \"{group}\"\ninstance_id = \"{instance_id}\"\n\
                 topics = [{{ name = \"{topic}\" }}]\n",
                kafka::brokers()
            );
        }
        toml
    }
}

/// A running node. Dropping it kills it.
pub(crate) struct Node {
    child: Child,
    pid: u32,
    address: SocketAddr,
    dir: PathBuf,
    started: Instant,
}

impl Node {
    /// Starts a node with a new data directory and waits until it listens.
    pub(crate) async fn start(bench: &Bench, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let dir = bench.folder("node")?;
        Self::start_in(&dir, setup).await
    }

    /// Starts a node whose files are in `dir`, which another may have left.
    pub(crate) async fn start_in(dir: &Path, setup: &Setup<'_>) -> anyhow::Result<Self> {
        Self::start_with(dir, &setup.to_toml()).await
    }

    /// Starts a node with these options, whose files are in `dir`, which another may have left.
    pub(crate) async fn start_with(dir: &Path, toml: &str) -> anyhow::Result<Self> {
        let (config, address) = (dir.join("tidings.toml"), dir.join("address"));
        std::fs::write(&config, toml)?;
        if address.exists() {
            std::fs::remove_file(&address)?;
        }
        let log_file = dir.join("log");
        let log = std::fs::File::options().create(true).append(true).open(&log_file)?;
        let program = sibling_program("tidings")?;
        let started = Instant::now();
        let mut child = Command::new(&program)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .arg("--address-file")
            .arg(&address)
            // The pipe ends when the bench does, however it ends: no node is left behind.
            .arg("--stop-with-stdin")
            // A group of its own: Ctrl-C is for the bench, which then ends its nodes.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started: build it first", program.display()))?;
        let pid = child.id().context("the node ended at once")?;
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("the node ended at once ({status}):\n{}", last_lines(&log_file));
            }
            if let Ok(address) = std::fs::read_to_string(&address) {
                let address = address.trim().parse().context("the node's address")?;
                return Ok(Self { child, pid, address, dir: dir.to_owned(), started });
            }
            if started.elapsed() > START_TIMEOUT {
                bail!("the node is not ready after {START_TIMEOUT:?}:\n{}", last_lines(&log_file));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// When its process was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        Ok(Api::new(&self.url(), None)?)
    }

    /// The file of the embedded store.
    pub(crate) fn database_file(&self) -> PathBuf {
        self.dir.join("data/store.db")
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        last_lines(&self.dir.join("log"))
    }

    /// Its resident memory now, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        process::usage(self.pid).unwrap_or_default().rss_bytes
    }

    /// A metric as it is now: its series' labels, in braces if there are any, and values.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<Vec<(String, f64)>> {
        let mut connection = HttpConnection::open(self.address, "").await?;
        ensure!(connection.get("/metrics").await? == 200, "the metrics cannot be read");
        let is_label_or_end = |rest: &&str| rest.starts_with(['{', ' ']);
        let body = connection.body();
        let series =
            body.lines().filter_map(|line| line.strip_prefix(name).filter(is_label_or_end));
        series
            .map(|rest| {
                let (labels, value) = rest.rsplit_once(' ').context("a metric without a value")?;
                Ok((labels.to_owned(), value.parse()?))
            })
            .collect()
    }

    /// The sum of a counter over its labels; 0 if it has not counted yet.
    pub(crate) async fn counter(&self, name: &str) -> anyhow::Result<f64> {
        Ok(self.metric(name).await?.into_iter().map(|(_, value)| value).sum())
    }

    /// Asks it to stop and waits for it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => {
                let status = status.context("the node cannot be waited for")?;
                if !status.success() {
                    bail!("the node ended with {status}:\n{}", self.log());
                }
                Ok(())
            }
            Err(_) => {
                self.child.kill().await.context("the node cannot be killed")?;
                bail!("the node did not stop within {STOP_TIMEOUT:?}:\n{}", self.log())
            }
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the node cannot be killed")
    }
}
