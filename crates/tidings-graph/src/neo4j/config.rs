//! What the graph on Neo4j can be told.

use std::{fmt, path::PathBuf, time::Duration};

use tidings_core::retry::RetryPolicy;

/// How a graph on Neo4j is reached.
#[derive(Clone)]
pub struct Neo4jGraphConfig {
    /// `bolt://host:port` for one server, `neo4j://host:port` for a cluster; with `+s` over TLS.
    pub url: String,
    /// The user's name there.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// The database.
    pub database: String,
    /// Certificates (PEM) that the server's has to be signed by; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// What the names of labels, relationship types, constraints and indexes begin with: an ASCII
    /// letter, then up to 31 letters and digits. Graphs share a database if their prefixes differ in
    /// more than upper and lower case.
    pub prefix: String,
    /// Connections that read, at least 1; one more writes.
    pub connections: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a call may take, waits and retries included, and a transaction on the server.
    pub query_timeout: Duration,
    /// When a query that failed for a passing reason is tried again, within `query_timeout`.
    pub retry: RetryPolicy,
    /// Commands that may wait for the writer; more wait in their callers. At least 1.
    pub writer_queue: usize,
    /// Edges at which a transaction takes no further command, and of one piece of an import. At
    /// least 1.
    pub batch_edges: usize,
}

impl Neo4jGraphConfig {
    /// The defaults, for the server at `url`.
    pub fn new(
        url: impl Into<String>,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            user: user.into(),
            password: password.into(),
            database: "neo4j".to_owned(),
            ca: None,
            prefix: "Tidings".to_owned(),
            connections: 16,
            connect_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(10),
            retry: RetryPolicy { max_attempts: 20, base_ms: 50, cap_ms: 1_000 },
            writer_queue: 1_024,
            batch_edges: 2_000,
        }
    }
}

impl fmt::Debug for Neo4jGraphConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("Neo4jGraphConfig")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .field("connections", &self.connections)
            .field("query_timeout", &self.query_timeout)
            .finish_non_exhaustive()
    }
}
