//! The real servers that the tests run against: what each is, and the commands on them.

mod bolt;
#[cfg(test)]
mod compose;
pub(crate) mod endpoints;
mod guard;
mod home;
mod java;
mod kafka;
mod lifecycle;
mod neo4j;
mod pidfile;
pub(crate) mod postgres;
mod redis;

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

pub(crate) use guard::{Guard, watch};
pub(crate) use lifecycle::{Wipe, answering, down, logs, status, up};

use endpoints::{HOST, KAFKA_PORT, NEO4J_BOLT_PORT, NEO4J_HTTP_PORT, POSTGRES_PORT, REDIS_PORT};
use home::Home;

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    Postgres,
    Redis,
    Kafka,
    Neo4j,
}

impl Service {
    /// All of them. The slow starters come last, so that they are waited for together.
    pub(crate) const ALL: [Self; 4] = [Self::Postgres, Self::Redis, Self::Kafka, Self::Neo4j];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
            Self::Neo4j => "neo4j",
        }
    }

    /// The ports it listens on; clients use the first.
    fn ports(self) -> &'static [u16] {
        match self {
            Self::Postgres => &[POSTGRES_PORT],
            Self::Redis => &[REDIS_PORT],
            Self::Kafka => &[KAFKA_PORT, kafka::CONTROLLER_PORT],
            Self::Neo4j => &[NEO4J_BOLT_PORT, NEO4J_HTTP_PORT],
        }
    }

    /// How long it may take until it answers, on a machine that is busy building.
    fn start_deadline(self) -> Duration {
        match self {
            Self::Postgres | Self::Redis => Duration::from_secs(60),
            Self::Kafka | Self::Neo4j => Duration::from_secs(180),
        }
    }

    /// The signals that stop it, each for when the one before did not: in good order first.
    fn stop_signals(self) -> &'static [&'static str] {
        match self {
            // SIGTERM would wait for every client to leave. SIGQUIT takes the server's children along,
            // which SIGKILL leaves to notice by themselves.
            Self::Postgres => &["INT", "QUIT", "KILL"],
            Self::Redis | Self::Kafka | Self::Neo4j => &["TERM", "KILL"],
        }
    }

    /// Fetches what tests start servers of their own with, also where this one runs already.
    fn fetch(self, home: &Home) -> Result<()> {
        match self {
            Self::Kafka => java::fetch_jars(home, "kafka"),
            Self::Neo4j => java::fetch_jars(home, "neo4j"),
            Self::Postgres | Self::Redis => Ok(()),
        }
    }

    /// Puts everything in place and returns the command that starts the server.
    fn prepare(self, home: &Home) -> Result<Command> {
        match self {
            Self::Postgres => postgres::prepare(home),
            Self::Redis => redis::prepare(home),
            Self::Kafka => kafka::prepare(home),
            Self::Neo4j => neo4j::prepare(home),
        }
    }

    /// Makes one real request.
    ///
    /// # Errors
    ///
    /// If the server did not serve it.
    fn probe(self) -> Result<()> {
        match self {
            Self::Postgres => postgres::probe(),
            Self::Redis => redis::probe(),
            Self::Kafka => kafka::probe(),
            Self::Neo4j => neo4j::probe(),
        }
    }

    /// Removes what it stored.
    fn wipe(self, home: &Home) -> Result<()> {
        match self {
            Self::Postgres => postgres::wipe(home),
            Self::Redis | Self::Kafka | Self::Neo4j => lifecycle::remove_dir(&home.data()),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Connects to a port of ours.
fn connect(port: u16) -> Result<TcpStream> {
    let address: SocketAddr = format!("{HOST}:{port}").parse()?;
    TcpStream::connect_timeout(&address, Duration::from_secs(2))
        .with_context(|| format!("nobody listens on {address}"))
}
