//! What the PostgreSQL store can be told.

use std::{fmt, path::PathBuf, time::Duration};

/// How a PostgreSQL store is opened. Numbers of connections below 1 count as 1.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`, with options of libpq behind a `?`; several hosts
    /// may be named, the one that takes writes is used. A secret: neither `Debug` nor any error shows it.
    ///
    /// `sslmode` is `disable`, `prefer` (the default), `require`, or `verify-full`. As in libpq,
    /// `prefer` and `require` encrypt without asking who the server is, unless [`Self::ca`] is given.
    /// `verify-full` checks the server's name against the certificates of the system or of `ca`.
    pub url: String,
    /// Certificates (PEM) that the server is checked against. With it TLS is never left out, whatever
    /// `sslmode` says short of `disable`.
    pub ca: Option<PathBuf>,
    /// The schema, 1 to 63 of a-z, 0-9 and _, not beginning with a digit; `None` for what the
    /// connection's `search_path` says, usually `public`.
    pub schema: Option<String>,
    /// How the connections are called in `pg_stat_activity`.
    pub application_name: String,
    /// Connections that write: appends, marks, claims.
    pub write_connections: usize,
    /// Connections that read.
    pub read_connections: usize,
    /// How long a call may wait for a connection of the pool.
    pub acquire_timeout: Duration,
    /// How long making a connection may take, for each host.
    pub connect_timeout: Duration,
    /// How long the server may work on one statement.
    pub statement_timeout: Duration,
    /// How long a statement may wait for what another transaction has locked.
    pub lock_timeout: Duration,
    /// How long a transaction may wait for us before the server ends it: what a node that hangs holds
    /// locked is free again after this.
    pub idle_in_transaction_timeout: Duration,
    /// How long a call may take in all, for a server that accepts but never answers. The wait for a
    /// connection of the pool and the making of one are part of it: longer than those together, or a
    /// call gives up before it has begun.
    pub call_timeout: Duration,
    /// How long a connection may be silent before it is probed; a peer that does not answer for three
    /// times as long is given up.
    pub tcp_keepalive: Duration,
    /// Dead letters that are kept; beyond it the oldest are dropped.
    pub dead_letters_max: u64,
    /// Users whose inbox number is remembered: about 150 bytes each.
    pub inbox_cache: usize,
}

impl PostgresConfig {
    /// The defaults, for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca: None,
            schema: None,
            application_name: "tidings".to_owned(),
            write_connections: 4,
            read_connections: 4,
            acquire_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(10),
            idle_in_transaction_timeout: Duration::from_secs(15),
            call_timeout: Duration::from_secs(30),
            tcp_keepalive: Duration::from_secs(10),
            dead_letters_max: 100_000,
            inbox_cache: 262_144,
        }
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("url", &"…")
            .field("ca", &self.ca)
            .field("schema", &self.schema)
            .field("application_name", &self.application_name)
            .field("write_connections", &self.write_connections)
            .field("read_connections", &self.read_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("idle_in_transaction_timeout", &self.idle_in_transaction_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("tcp_keepalive", &self.tcp_keepalive)
            .field("dead_letters_max", &self.dead_letters_max)
            .field("inbox_cache", &self.inbox_cache)
            .finish()
    }
}
