//! Nodes on one database and one Redis.

use tidings_testkit::services::{postgres_url, unique_name};
use tokio::task::JoinSet;

use crate::{
    harness::{Node, Site},
    redis::{PrivateRedis, free_port},
    until::until,
};

/// What the tests work with besides nodes.
pub(crate) struct Scene {
    pub(crate) redis: PrivateRedis,
    schema: String,
    pub(crate) sites: Vec<Site>,
}

impl Scene {
    /// Places for `nodes` nodes, each with a port that it keeps.
    pub(crate) fn new(redis: PrivateRedis, nodes: usize, sections: &str) -> Self {
        let schema = unique_name("nodes");
        let toml = format!(
            r#"
[store.postgres]
url = "{}"
schema = "{schema}"
connections = 4

[realtime.bus.redis]
url = "{}"
{sections}
"#,
            postgres_url(),
            redis.url(),
        );
        let sites = (0..nodes).map(|_| Site::on_port(&toml, free_port())).collect();
        Self { redis, schema, sites }
    }

    pub(crate) fn start_all(&self) -> Vec<Node> {
        self.sites.iter().map(start).collect()
    }

    /// The first column of the only row.
    pub(crate) async fn number(&self, select: &str) -> i64 {
        let client = self.client().await;
        client.0.query_one(select, &[]).await.unwrap().get(0)
    }

    async fn client(&self) -> (tokio_postgres::Client, JoinSet<()>) {
        let (client, connection) =
            tokio_postgres::connect(&postgres_url(), tokio_postgres::NoTls).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move { connection.await.unwrap() });
        let schema = &self.schema;
        client.batch_execute(&format!("SET search_path TO {schema}")).await.unwrap();
        (client, driver)
    }

    /// Removes what the database keeps of it.
    pub(crate) async fn remove(self) {
        let drop_schema = format!("DROP SCHEMA {} CASCADE", self.schema);
        self.client().await.0.batch_execute(&drop_schema).await.unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (number, site) in self.sites.iter().enumerate() {
                let log = site.log();
                let lines: Vec<_> = log.lines().collect();
                println!("the log of node {number} ends:");
                for line in &lines[lines.len().saturating_sub(15)..] {
                    println!("{line:.300}");
                }
            }
        }
    }
}

/// Starts a node, which may take a while, without holding up the test's other tasks.
pub(crate) fn start(site: &Site) -> Node {
    tokio::task::block_in_place(|| site.start())
}

/// Waits until each node says this of its bus, and takes work all the while.
pub(crate) async fn until_bus(nodes: &[Node], is_up: bool) {
    for node in nodes {
        until("the nodes notice how the bus is", async || {
            let ready = node.get("/readyz").await.expect(200);
            let parts = ready["parts"].as_array().unwrap();
            let bus = parts.iter().find(|part| part["name"] == "bus").unwrap();
            assert_eq!(bus["costs"].is_string(), bus["up"] == false, "{bus}");
            bus["up"] == is_up
        })
        .await;
    }
}

/// A metric without labels.
pub(crate) async fn metric(node: &Node, name: &str) -> f64 {
    let metrics = node.get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until each node hears `others` other nodes.
pub(crate) async fn until_nodes(nodes: &[Node], others: u32) {
    for node in nodes {
        until("the nodes hear each other", async || {
            metric(node, "tidings_bus_nodes").await == f64::from(others)
        })
        .await;
    }
}
