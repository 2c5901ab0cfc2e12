//! Where the real servers are that tests run against, as `cargo xtask services up` starts them.
//!
//! Each function that names a server first sees whether it listens, and panics with what to do if it
//! does not: a test that needs a server fails without it, and never passes by leaving something out.
//!
//! The servers keep their data between runs and serve all tests at once. A test works in names of its
//! own, from [`unique_name`], and removes what it made if it can.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

// xtask starts the servers where this says; it is one file so that the two cannot differ.
#[path = "../../../xtask/src/services/endpoints.rs"]
mod endpoints;

use endpoints::{
    HOST, KAFKA_PORT, NEO4J_BOLT_PORT, NEO4J_HTTP_PORT, NEO4J_PASSWORD, NEO4J_USER,
    POSTGRES_DATABASE, POSTGRES_PASSWORD, POSTGRES_PORT, POSTGRES_USER, REDIS_PORT,
};

/// How long a server of this machine may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The URL of the PostgreSQL database for tests; its user may do anything.
///
/// # Panics
///
/// If PostgreSQL does not listen.
pub fn postgres_url() -> String {
    require("postgres", POSTGRES_PORT);
    let user = format!("{POSTGRES_USER}:{POSTGRES_PASSWORD}");
    format!("postgres://{user}@{HOST}:{POSTGRES_PORT}/{POSTGRES_DATABASE}")
}

/// The URL of Redis, which asks for no password.
///
/// # Panics
///
/// If Redis does not listen.
pub fn redis_url() -> String {
    require("redis", REDIS_PORT);
    format!("redis://{HOST}:{REDIS_PORT}/")
}

/// Kafka's `bootstrap.servers`. Topics are not made by their first use.
///
/// # Panics
///
/// If Kafka does not listen.
pub fn kafka_bootstrap() -> String {
    require("kafka", KAFKA_PORT);
    format!("{HOST}:{KAFKA_PORT}")
}

/// The address of Neo4j's Bolt listener, as in `bolt://host:port`.
///
/// # Panics
///
/// If Neo4j does not listen.
pub fn neo4j_uri() -> String {
    require("neo4j", NEO4J_BOLT_PORT);
    format!("bolt://{HOST}:{NEO4J_BOLT_PORT}")
}

/// The address of Neo4j's HTTP listener.
///
/// # Panics
///
/// If Neo4j does not listen.
pub fn neo4j_http_url() -> String {
    require("neo4j", NEO4J_HTTP_PORT);
    format!("http://{HOST}:{NEO4J_HTTP_PORT}")
}

/// The name of Neo4j's administrator.
pub fn neo4j_user() -> &'static str {
    NEO4J_USER
}

/// The password of [`neo4j_user`].
pub fn neo4j_password() -> &'static str {
    NEO4J_PASSWORD
}

/// A name that no other test and no earlier run has used: `prefix`, an underscore and 16 hex digits.
///
/// With a prefix of lower-case letters, digits and underscores it is a valid schema, topic, consumer
/// group, key and label.
pub fn unique_name(prefix: &str) -> String {
    // The standard library seeds each of these differently, at random.
    format!("{prefix}_{:016x}", RandomState::new().build_hasher().finish())
}

#[expect(clippy::panic, reason = "a test without its server must fail, and say why")]
fn require(service: &str, port: u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if let Err(error) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
        panic!(
            "this test needs {service} on {address} ({error}): run `cargo xtask services up {service}`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{HOST, require, unique_name};

    #[test]
    #[should_panic(expected = "run `cargo xtask services up redis`")]
    fn a_test_without_its_server_fails_and_says_what_to_run() {
        // A port that was free a moment ago: bound here and given back.
        let listener = std::net::TcpListener::bind((HOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        require("redis", port);
    }

    #[test]
    fn unique_names_differ() {
        assert_ne!(unique_name("topic"), unique_name("topic"));
    }
}
