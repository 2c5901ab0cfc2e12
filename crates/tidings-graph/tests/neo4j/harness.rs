//! Graphs on the real server, empty and not shared with other tests.
//!
//! An empty graph is a prefix of its own whose users are removed first. There are a few prefixes, made
//! once, since making the indexes of a new one takes longer than most rules; a lock on a file gives
//! one to one test at a time, whichever process it is in.

use std::{fs::File, ops::Deref, sync::Arc, time::Duration};

use neo4j::{
    driver::{ConnectionConfig, Driver, DriverConfig, auth::AuthToken},
    session::SessionConfig,
};
use tidings_core::{
    clock::Timestamp,
    follow::{Edge, Follow},
    ids::UserId,
    ports::{Page, SocialGraphStore},
};
use tidings_graph::{Neo4jGraphConfig, Neo4jGraphStore};
use tidings_testkit::services::{neo4j_password, neo4j_uri, neo4j_user};

/// Tests that may run at once; the server's memory is small.
const PREFIXES: usize = 4;

/// The right to a prefix; ends with the value.
pub(crate) struct Claim {
    pub(crate) prefix: String,
    _lock: File,
}

/// Waits for a prefix that nobody uses, and removes what is left there.
pub(crate) async fn claim() -> Claim {
    loop {
        for number in 0..PREFIXES {
            let path = std::env::temp_dir().join(format!("tidings-neo4j-{number}.lock"));
            let lock = File::options().create(true).truncate(false).write(true).open(path).unwrap();
            if lock.try_lock().is_ok() {
                let prefix = format!("TidingsTest{number}");
                run(&format!("MATCH (n:{prefix}User) DETACH DELETE n")).await;
                return Claim { prefix, _lock: lock };
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a query on the shared server, past the store.
pub(crate) async fn run(cypher: &str) {
    let cypher = cypher.to_owned();
    let run = move || {
        let to: ConnectionConfig = neo4j_uri().parse().unwrap();
        let auth = AuthToken::new_basic_auth(neo4j_user(), neo4j_password());
        let driver = Driver::new(to, DriverConfig::new().with_auth(Arc::new(auth)));
        let database = SessionConfig::new().with_database(Arc::new("neo4j".to_owned()));
        driver.session(database).auto_commit(cypher).run().unwrap();
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

/// The shared server, under the prefix of `claim`.
pub(crate) fn config(claim: &Claim) -> Neo4jGraphConfig {
    let mut config = Neo4jGraphConfig::new(neo4j_uri(), neo4j_user(), neo4j_password());
    config.prefix.clone_from(&claim.prefix);
    config.connections = 4;
    // The machine may be busy with other tests.
    config.query_timeout = Duration::from_secs(60);
    config
}

/// A graph that is the test's own.
pub(crate) struct OwnGraph {
    store: Neo4jGraphStore,
    pub(crate) claim: Claim,
}

impl Deref for OwnGraph {
    type Target = Neo4jGraphStore;
    fn deref(&self) -> &Neo4jGraphStore {
        &self.store
    }
}

/// An empty graph.
pub(crate) async fn open_empty() -> OwnGraph {
    let claim = claim().await;
    let store = Neo4jGraphStore::open(config(&claim)).await.unwrap();
    OwnGraph { store, claim }
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The whole graph, by the pages of its export.
pub(crate) async fn export(store: &dyn SocialGraphStore, limit: usize) -> Vec<Edge> {
    let (mut edges, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.export_edges(cursor.as_ref(), limit).await.unwrap();
        edges.extend(page.items);
        let Some(next) = page.next else { return edges };
        cursor = Some(next);
    }
}

/// All who follow `user`, newest first.
pub(crate) async fn followers(store: &dyn SocialGraphStore, of: &UserId) -> Vec<Follow> {
    let (mut follows, mut cursor) = (Vec::new(), None);
    loop {
        let Page { items, next } = store.get_followers(of, cursor.as_ref(), 100).await.unwrap();
        follows.extend(items);
        let Some(next) = next else { return follows };
        cursor = Some(next);
    }
}
