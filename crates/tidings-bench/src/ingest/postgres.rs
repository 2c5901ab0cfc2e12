//! The shared PostgreSQL: databases of our own, and what the server uses.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use tokio::{task::JoinSet, time::timeout};
use tokio_postgres::{Client, NoTls};

use super::{
    bench::repo_root,
    endpoints::{HOST, POSTGRES_DATABASE, POSTGRES_PASSWORD, POSTGRES_PORT, POSTGRES_USER},
};
use crate::process;

/// How long the server may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection.
pub(super) struct Sql {
    pub(super) client: Client,
    /// Ends with this.
    _driver: JoinSet<()>,
}

impl Sql {
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        let connecting = timeout(CONNECT_TIMEOUT, tokio_postgres::connect(url, NoTls));
        let (client, connection) = connecting
            .await
            .context("PostgreSQL does not answer")?
            .context("PostgreSQL cannot be reached: run `cargo xtask services up`")?;
        let mut driver = JoinSet::new();
        // What ends a connection is told to whoever uses it next.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { client, _driver: driver })
    }

    /// The one number that `query` asks for.
    pub(super) async fn number(&self, query: &str) -> anyhow::Result<u64> {
        let row = self.client.query_one(query, &[]).await.with_context(|| query.to_owned())?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }
}

/// A database, and a connection to it for looking.
pub(super) struct Database {
    name: String,
    url: String,
    postmaster: u32,
    pub(super) sql: Sql,
}

impl Database {
    /// One that is there, on a server of this machine.
    pub(super) async fn open(name: &str, url: &str) -> anyhow::Result<Self> {
        let sql = Sql::connect(url).await?;
        let backend = sql.number("SELECT pg_backend_pid()::bigint").await?;
        let postmaster = process::parent(u32::try_from(backend)?)
            .context("PostgreSQL is not on this machine")?;
        Ok(Self { name: name.to_owned(), url: url.to_owned(), postmaster, sql })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The server's first process, the parent of all others.
    pub(super) fn postmaster(&self) -> u32 {
        self.postmaster
    }

    /// Brings the tables of the store into an empty database.
    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        for step in migrations("postgres")? {
            self.sql.client.batch_execute(&step).await?;
        }
        Ok(())
    }

    /// Writes what is dirty to the disk, so that it is not the next one's burden.
    pub(super) async fn checkpoint(&self) -> anyhow::Result<()> {
        Ok(self.sql.client.batch_execute("CHECKPOINT").await?)
    }

    /// Checks that the inboxes hold exactly `notifications`, each inbox 1, 2, 3 … without holes.
    pub(super) async fn check(&self, notifications: u64) -> anyhow::Result<()> {
        let rows = self.sql.number("SELECT count(*) FROM notification").await?;
        let holes = self.sql.number(HOLES).await?;
        anyhow::ensure!(rows == notifications, "{rows} notifications, not {notifications}");
        anyhow::ensure!(holes == 0, "{holes} inboxes have holes");
        Ok(())
    }
}

/// Inboxes whose numbers are not 1 to the count of their rows, or that say another last number.
const HOLES: &str = "SELECT count(*) FROM inbox i LEFT JOIN (
        SELECT inbox, count(*) AS rows, max(seq) AS last FROM notification GROUP BY inbox) n
    ON n.inbox = i.inbox
    WHERE i.last_seq <> coalesce(n.rows, 0) OR i.last_seq <> coalesce(n.last, 0)";

/// The steps of the schema of a store, in order.
pub(super) fn migrations(store: &str) -> anyhow::Result<Vec<String>> {
    let dir = repo_root().join("crates/tidings-store/migrations").join(store);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.sort();
    files.iter().map(|file| Ok(std::fs::read_to_string(file)?)).collect()
}

/// The URL of a database on the shared server.
pub(super) fn url_of(database: &str) -> String {
    format!("postgres://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{HOST}:{POSTGRES_PORT}/{database}")
}

pub(super) async fn create_database(name: &str) -> anyhow::Result<Database> {
    let sql = Sql::connect(&url_of(POSTGRES_DATABASE)).await?;
    sql.client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
    Database::open(name, &url_of(name)).await
}

pub(super) async fn drop_database(name: &str) -> anyhow::Result<()> {
    let sql = Sql::connect(&url_of(POSTGRES_DATABASE)).await?;
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    Ok(sql.client.batch_execute(&drop).await?)
}
