//! Where the real services listen and who may enter: the one place that says so.
//!
//! The file is compiled twice, into `xtask`, which starts the servers, and into `tidings-testkit`,
//! which tells the tests where they are; so it holds constants only.
//!
//! The ports are 21 and the last three digits of the servers' usual ones. A PostgreSQL or Redis that a
//! machine already runs is neither disturbed nor used; and they lie below the range that Linux takes
//! outgoing ports from (32768 up), or a load test with thousands of sockets could take a server's own.

/// Every service listens on loopback only.
pub(crate) const HOST: &str = "127.0.0.1";

/// PostgreSQL.
pub(crate) const POSTGRES_PORT: u16 = 21432;
/// The superuser of the test cluster.
pub(crate) const POSTGRES_USER: &str = "tidings";
/// No secret: the server is reachable from this machine only, and holds test data.
pub(crate) const POSTGRES_PASSWORD: &str = "tidings";
/// The database that tests make their schemas in.
pub(crate) const POSTGRES_DATABASE: &str = "tidings";

/// Redis, without a password.
pub(crate) const REDIS_PORT: u16 = 21379;

/// Kafka's plaintext listener for clients. Its controller, which they do not speak to, has the next.
pub(crate) const KAFKA_PORT: u16 = 21092;

/// Neo4j's Bolt listener.
pub(crate) const NEO4J_BOLT_PORT: u16 = 21687;
/// Neo4j's HTTP listener.
pub(crate) const NEO4J_HTTP_PORT: u16 = 21474;
/// Neo4j's built-in administrator.
pub(crate) const NEO4J_USER: &str = "neo4j";
/// No secret, for the same reason; Neo4j insists on eight characters.
pub(crate) const NEO4J_PASSWORD: &str = "tidings-test";
