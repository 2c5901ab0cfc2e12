//! A peer: Kafka Connect with Debezium's JDBC sink, as `deploy/peers/README.md` tells.

use std::{
    collections::HashSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail};
use tokio::process::Command;

use super::{
    bench::{Bench, last_lines, repo_root, unique_name},
    endpoints::{HOST, POSTGRES_PASSWORD, POSTGRES_PORT, POSTGRES_USER},
    kafka::{self, Backlog},
    measure::{Run, Watched, measure},
    postgres::Database,
    story,
};

/// The table that the sink writes to.
const TABLE: &str = "notification";

/// Installed by `cargo xtask peers`.
pub(super) struct Connect {
    jars: PathBuf,
}

impl Connect {
    pub(super) fn find() -> Option<Self> {
        let jars = repo_root().join("target/peers/connect/lib").canonicalize().ok()?;
        Some(Self { jars })
    }

    /// Stores the backlog with `tasks` tasks.
    pub(super) async fn store(
        &self,
        bench: &Bench,
        backlog: &Backlog,
        tasks: u32,
    ) -> anyhow::Result<Run> {
        let database = bench.database("connect").await?;
        let dir = bench.folder("connect")?;
        let table = template("table.sql", &[("TABLE", TABLE)])?;
        database.sql.client.batch_execute(&table).await?;
        database.checkpoint().await?;
        write_settings(&dir, &database, backlog, tasks)?;
        let log = std::fs::File::create(dir.join("log"))?;
        let log4j = repo_root().join("deploy/peers/log4j2.properties");
        let mut worker = Command::new("java")
            .arg("-Xmx512m")
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .arg(dir.join("worker.properties"))
            .arg(dir.join("sink.json"))
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("java cannot be started")?;
        let pid = worker.id().context("Kafka Connect ended at once")?;
        let watched = Watched { pid, postmaster: Some(database.postmaster()) };
        let mut arrived = Arrived::new(backlog);
        let name = format!("Kafka Connect, PostgreSQL, {tasks} task(s)");
        let looking = measure(bench, &name, backlog.events, watched, async || {
            if let Some(status) = worker.try_wait()? {
                bail!("Kafka Connect ended ({status})");
            }
            arrived.look(&database).await
        });
        let run = looking.await.map_err(|error| error.context(last_lines(&dir.join("log"))))?;
        worker.kill().await?;
        let rows = database.sql.number(&format!("SELECT count(*) FROM {TABLE}")).await?;
        anyhow::ensure!(rows == backlog.events, "Kafka Connect stored {rows} rows");
        bench.drop_database(database).await?;
        Ok(run)
    }
}

/// How far the table is, without counting it all the time.
struct Arrived {
    backlog: Backlog,
    /// Partitions whose last event is in the table.
    complete: HashSet<usize>,
    first: u64,
}

impl Arrived {
    fn new(backlog: &Backlog) -> Self {
        Self { backlog: backlog.clone(), complete: HashSet::new(), first: 0 }
    }

    /// The rows of the first look that finds some, until all are there: order is kept per partition, so
    /// that its last event tells of all others.
    async fn look(&mut self, database: &Database) -> anyhow::Result<u64> {
        if self.first == 0 {
            self.first = database.sql.number(&format!("SELECT count(*) FROM {TABLE}")).await?;
            return Ok(self.first);
        }
        for (partition, last) in self.backlog.last_of_partition.iter().enumerate() {
            if self.complete.contains(&partition) {
                continue;
            }
            let query = format!(
                "SELECT count(*) FROM {TABLE} WHERE \"user\" = '{}' AND source = 'posts' AND id = '{}'",
                story::user_name(story::user_of(*last)),
                story::event_id(*last)
            );
            if database.sql.number(&query).await? == 0 {
                // The others are not asked for: all have to be there.
                return Ok(self.first);
            }
            self.complete.insert(partition);
        }
        Ok(self.backlog.events)
    }
}

fn write_settings(
    dir: &Path,
    database: &Database,
    backlog: &Backlog,
    tasks: u32,
) -> anyhow::Result<()> {
    let rest_port = TcpListener::bind((HOST, 0))?.local_addr()?.port();
    let worker = template(
        "worker.properties",
        &[
            ("BOOTSTRAP", &kafka::brokers()),
            ("REST_PORT", &rest_port.to_string()),
            ("DIR", &dir.display().to_string()),
        ],
    )?;
    std::fs::write(dir.join("worker.properties"), worker)?;
    let schema = template("schema.json", &[])?;
    let schema = serde_json::to_string(&schema)?;
    let sink = template(
        "sink.json",
        &[
            ("NAME", &unique_name("sink")),
            ("TASKS", &tasks.to_string()),
            ("TOPIC", &backlog.topic),
            ("PG_HOST", HOST),
            ("PG_PORT", &POSTGRES_PORT.to_string()),
            ("PG_DATABASE", database.name()),
            ("PG_SCHEMA", "public"),
            ("PG_USER", POSTGRES_USER),
            ("PG_PASSWORD", POSTGRES_PASSWORD),
            ("TABLE", TABLE),
            ("SCHEMA", schema.trim_matches('"')),
        ],
    )?;
    Ok(std::fs::write(dir.join("sink.json"), sink)?)
}

/// A file of `deploy/peers` with its places filled in.
pub(crate) fn template(file: &str, places: &[(&str, &str)]) -> anyhow::Result<String> {
    let path = repo_root().join("deploy/peers").join(file);
    let mut text = std::fs::read_to_string(&path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    for (place, value) in places {
        text = text.replace(&format!("@{place}@"), value);
    }
    Ok(text)
}
