//! PostgreSQL stores in schemas of their own.

use std::{ops::Deref, sync::Arc};

use tidings_store::{Migrate, PostgresConfig, PostgresStore};
use tidings_testkit::{
    contract::{Store, dead_letter_store::DEAD_LETTERS_MAX},
    services::{postgres_url, unique_name},
};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// A schema that is gone when this is.
pub(crate) struct TestSchema {
    url: String,
    pub(crate) name: String,
}

impl TestSchema {
    /// A new name; the schema is made by the first store that is opened with it.
    pub(crate) fn new() -> Self {
        Self::at(postgres_url())
    }

    pub(crate) fn at(url: String) -> Self {
        Self { url, name: unique_name("store") }
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        let mut config = PostgresConfig::new(&self.url);
        config.schema = Some(self.name.clone());
        config.dead_letters_max = DEAD_LETTERS_MAX;
        config
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        PostgresStore::open(self.config(), Migrate::AtStart).await.unwrap()
    }

    /// Runs `statements` in the schema, beside the store.
    pub(crate) async fn run(&self, statements: &str) {
        let search_path = format!("SET search_path = {}", self.name);
        with(&self.url, async |client| {
            client.batch_execute(&search_path).await.unwrap();
            client.batch_execute(statements).await.unwrap();
        })
        .await;
    }

    /// Runs `statement` in a transaction that stays open.
    pub(crate) async fn hold(&self, statement: &str) -> Held {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        let mut connections = JoinSet::new();
        connections.spawn(async { connection.await.unwrap() });
        let begin = format!("SET search_path = {}; BEGIN; {statement}", self.name);
        client.batch_execute(&begin).await.unwrap();
        Held { client, connections }
    }

    /// The one number that `query` gives in the schema.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let search_path = format!("SET search_path = {}", self.name);
        with(&self.url, async |client| {
            client.batch_execute(&search_path).await.unwrap();
            client.query_one(query, &[]).await.unwrap().get(0)
        })
        .await
    }
}

/// A transaction that is open.
pub(crate) struct Held {
    client: Client,
    connections: JoinSet<()>,
}

impl Held {
    pub(crate) async fn let_go(self) {
        self.end("ROLLBACK").await;
    }

    pub(crate) async fn commit(self) {
        self.end("COMMIT").await;
    }

    async fn end(self, how: &str) {
        self.client.batch_execute(how).await.unwrap();
        drop(self.client);
        self.connections.join_all().await;
    }
}

async fn run(url: &str, statements: &str) {
    with(url, async |client| client.batch_execute(statements).await.unwrap()).await;
}

async fn with<T>(url: &str, work: impl AsyncFnOnce(&Client) -> T) -> T {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let (done, _) = tokio::join!(
        async {
            let done = work(&client).await;
            drop(client);
            done
        },
        connection,
    );
    done
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let (url, drop_schema) =
            (self.url.clone(), format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name));
        // A test's own runtime cannot be waited for here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(run(&url, &drop_schema));
        });
        // A server that a test has stopped keeps the schema, and goes with it.
        let _gone = dropped.join();
    }
}

/// A store and the schema that goes with it.
pub(crate) struct TestPostgres {
    // Before the schema: closed, then dropped.
    store: PostgresStore,
    _schema: TestSchema,
}

impl Deref for TestPostgres {
    type Target = PostgresStore;
    fn deref(&self) -> &PostgresStore {
        &self.store
    }
}

pub(crate) async fn open_postgres() -> TestPostgres {
    let schema = TestSchema::new();
    TestPostgres { store: schema.open().await, _schema: schema }
}

/// A store whose pools and caches are as small as they can be.
pub(crate) async fn open_tiny_postgres() -> TestPostgres {
    let schema = TestSchema::new();
    let mut config = schema.config();
    config.write_connections = 1;
    config.read_connections = 1;
    config.inbox_cache = 1;
    let store = PostgresStore::open(config, Migrate::AtStart).await.unwrap();
    TestPostgres { store, _schema: schema }
}

/// The stores of several nodes on one schema.
pub(crate) struct TestNodes {
    pub(crate) stores: Vec<Arc<dyn Store>>,
    _schema: TestSchema,
}

impl Deref for TestNodes {
    type Target = [Arc<dyn Store>];
    fn deref(&self) -> &[Arc<dyn Store>] {
        &self.stores
    }
}

pub(crate) async fn open_postgres_nodes() -> TestNodes {
    let schema = TestSchema::new();
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..4 {
        stores.push(Arc::new(schema.open().await));
    }
    TestNodes { stores, _schema: schema }
}
