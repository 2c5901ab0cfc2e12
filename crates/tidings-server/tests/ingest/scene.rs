//! A topic, a consumer group and a store of a test's own, and nodes on them.

use std::{fmt, net::SocketAddr};

use tidings_testkit::services::{kafka_bootstrap, postgres_url, unique_name};
use tokio::task::JoinSet;

use crate::{
    broker::{Admin, Writer},
    harness::{Node, Site},
};

/// Where the nodes keep what they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Sqlite,
    Postgres,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Sqlite { "sqlite" } else { "postgres" })
    }
}

/// What a scene is made of; [`Setup::new`] is the usual.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) store: StoreKind,
    pub(crate) partitions: i32,
    /// `bootstrap.servers` of the nodes and of the test.
    pub(crate) brokers: String,
    /// The server that databases are made on.
    pub(crate) postgres: Option<String>,
    /// Lines of `[kafka]`.
    pub(crate) kafka: String,
    /// Lines of `[kafka.options]`.
    pub(crate) options: String,
    /// The session timeout of the consumer group, in milliseconds.
    pub(crate) session_timeout_ms: u32,
    /// Other sections.
    pub(crate) sections: String,
}

impl Setup {
    pub(crate) fn new(store: StoreKind, partitions: i32) -> Self {
        Self {
            store,
            partitions,
            brokers: kafka_bootstrap(),
            postgres: None,
            kafka: String::new(),
            options: String::new(),
            session_timeout_ms: 6_000,
            sections: String::new(),
        }
    }
}

/// A topic, a consumer group and a store, and nodes on them.
pub(crate) struct Scene {
    pub(crate) setup: Setup,
    pub(crate) topic: String,
    pub(crate) admin: Admin,
    pub(crate) database: Option<Database>,
    /// The first node's.
    pub(crate) site: Site,
}

impl Scene {
    /// Makes everything but the nodes; of them the first is a static member of the group.
    pub(crate) async fn new(setup: Setup) -> Self {
        let topic = unique_name("events");
        let admin = Admin::of(&setup.brokers);
        admin.create_topic(&topic, setup.partitions).await;
        Self::on_topic(setup, topic, "node-1").await
    }

    /// The same on a topic that is there already, or not yet.
    pub(crate) async fn on_topic(setup: Setup, topic: String, instance_id: &str) -> Self {
        let database = match setup.store {
            StoreKind::Sqlite => None,
            StoreKind::Postgres => {
                let server = setup.postgres.clone().unwrap_or_else(postgres_url);
                Some(Database::create(&server).await)
            }
        };
        let admin = Admin::of(&setup.brokers);
        let url = database.as_ref().map(|it| it.url.clone());
        let toml = toml(&setup, &topic, instance_id, url.as_deref());
        Self { setup, topic, admin, database, site: Site::new(&toml) }
    }

    /// The configuration of another node of the same group, on the same store.
    pub(crate) fn toml(&self, instance_id: &str) -> String {
        let url = self.database.as_ref().map(|it| it.url.as_str());
        toml(&self.setup, &self.topic, instance_id, url)
    }

    /// The same with the store behind another address, a proxy's.
    pub(crate) fn toml_through(&self, address: &str, instance_id: &str) -> String {
        let url = self.database.as_ref().map(|it| it.url_at(address));
        toml(&self.setup, &self.topic, instance_id, url.as_deref())
    }

    /// Where the database server listens.
    pub(crate) fn postgres_address(&self) -> SocketAddr {
        let url = &self.database.as_ref().unwrap().url;
        url.rsplit_once('@').unwrap().1.split('/').next().unwrap().parse().unwrap()
    }

    /// A place for one more node.
    pub(crate) fn another_site(&self, instance_id: &str) -> Site {
        Site::new(&self.toml(instance_id))
    }

    /// Starts the first node.
    pub(crate) fn start(&self) -> Node {
        start(&self.site)
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::new(&self.setup.brokers, &self.topic)
    }

    /// Removes what the servers keep of it.
    pub(crate) async fn remove(self) {
        self.admin.remove_topic(&self.topic).await;
        if let Some(database) = &self.database {
            database.remove().await;
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.site.log();
            let lines: Vec<_> = log.lines().collect();
            println!("the first node's log ends:");
            for line in &lines[lines.len().saturating_sub(40)..] {
                println!("{line:.400}");
            }
        }
    }
}

/// Starts a node, which may take a while, without holding up the test's other tasks.
pub(crate) fn start(site: &Site) -> Node {
    tokio::task::block_in_place(|| site.start())
}

fn toml(setup: &Setup, topic: &str, instance_id: &str, url: Option<&str>) -> String {
    let Setup { brokers, kafka, options, session_timeout_ms, sections, .. } = setup;
    let url = url.unwrap_or_default();
    format!(
        r#"
[server]
shutdown_grace_ms = 10000

[store.postgres]
url = "{url}"
connections = 4
connect_timeout_ms = 1000
statement_timeout_ms = 5000

[kafka]
brokers = "{brokers}"
group = "{topic}"
instance_id = "{instance_id}"
topics = [{{ name = "{topic}" }}]
retry_base_ms = 20
retry_cap_ms = 500
{kafka}

[kafka.options]
"session.timeout.ms" = "{session_timeout_ms}"
"heartbeat.interval.ms" = "500"
"topic.metadata.refresh.interval.ms" = "500"
"statistics.interval.ms" = "200"
"reconnect.backoff.max.ms" = "500"
{options}

{sections}
"#
    )
}

/// A database of a test's own.
pub(crate) struct Database {
    server: String,
    name: String,
    pub(crate) url: String,
}

impl Database {
    async fn create(server: &str) -> Self {
        let name = unique_name("ingest");
        let (base, _) = server.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        let database = Self { server: server.to_owned(), name, url };
        database.ask(&format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    /// The same database behind another `host:port`.
    pub(crate) fn url_at(&self, address: &str) -> String {
        let (login, _) = self.url.rsplit_once('@').unwrap();
        format!("{login}@{address}/{}", self.name)
    }

    async fn remove(&self) {
        self.ask(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    async fn ask(&self, sql: &str) {
        let (client, connection) =
            tokio_postgres::connect(&self.server, tokio_postgres::NoTls).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        client.batch_execute(sql).await.unwrap();
    }
}
