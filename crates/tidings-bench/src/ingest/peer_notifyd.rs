//! A peer: notifyd, as `deploy/peers/README.md` tells.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    bench::{Bench, last_lines, repo_root, unique_name},
    endpoints::HOST,
    peer_connect::template,
    postgres::Database,
    story,
};
use crate::process;

/// No secret: it listens for the length of a run.
const API_KEY: &str = "nk_bench_0123456789abcdef0123456789abcdef";
const PROJECT: &str = "bench";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running notifyd. Dropping it kills it.
pub(super) struct Notifyd {
    child: Child,
    pid: u32,
    address: SocketAddr,
    database: Database,
}

impl Notifyd {
    /// Starts it with the subscribers that the events are for; `None` if it is not installed.
    pub(super) async fn start(bench: &Bench) -> anyhow::Result<Option<Self>> {
        let Ok(program) = repo_root().join("target/peers/notifyd/bin/notifyd").canonicalize()
        else {
            return Ok(None);
        };
        let database = bench.database("notifyd").await?;
        let dir = bench.folder("notifyd")?;
        let port = TcpListener::bind((HOST, 0))?.local_addr()?.port();
        let settings = template(
            "notifyd.toml",
            &[
                ("PORT", &port.to_string()),
                ("DATABASE_URL", database.url()),
                ("POLL_INTERVAL_MS", "500"),
                ("BATCH_SIZE", "50"),
                ("PROJECT", PROJECT),
                ("API_KEY", API_KEY),
            ],
        )?;
        let config = dir.join("notifyd.toml");
        std::fs::write(&config, settings)?;
        let log_file = dir.join("log");
        let log = std::fs::File::create(&log_file)?;
        let mut child = Command::new(program)
            .env("NOTIFYD_CONFIG", &config)
            .env("RUST_LOG", "warn")
            .env("ADMIN_API_KEY", unique_name("admin"))
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("notifyd cannot be started")?;
        let pid = child.id().context("notifyd ended at once")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begun = Instant::now();
        // It listens once its tables are there.
        while timeout(START_TIMEOUT, TcpStream::connect(address)).await?.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("notifyd ended at once ({status}):\n{}", last_lines(&log_file));
            }
            if begun.elapsed() > START_TIMEOUT {
                bail!("notifyd is not ready:\n{}", last_lines(&log_file));
            }
            sleep(Duration::from_millis(50)).await;
        }
        let rows = format!(
            "INSERT INTO projects (id, name, api_key_hash, channels)
                 VALUES ('{PROJECT}', '{PROJECT}', '-', '{{in_app}}');
             INSERT INTO subscribers (id, project_id)
                 SELECT 'u_' || lpad(n::text, 6, '0'), '{PROJECT}'
                 FROM generate_series(0, {}) n;",
            story::USERS - 1
        );
        database.sql.client.batch_execute(&rows).await?;
        database.checkpoint().await?;
        Ok(Some(Self { child, pid, address, database }))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its requests have besides.
    pub(super) fn headers(&self) -> String {
        format!("x-api-key: {API_KEY}\r\n")
    }

    pub(super) fn rss_bytes(&self) -> u64 {
        process::usage(self.pid).unwrap_or_default().rss_bytes
    }

    pub(super) async fn stop(mut self, bench: &Bench) -> anyhow::Result<()> {
        self.child.kill().await?;
        bench.drop_database(self.database).await
    }
}
