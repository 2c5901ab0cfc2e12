//! Neo4j Community, from Maven Central.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::bolt;
use super::endpoints::{HOST, NEO4J_BOLT_PORT, NEO4J_HTTP_PORT, NEO4J_PASSWORD};
use super::home::Home;
use super::java::{fetch_jars, java};
use crate::process::capture;

/// What Neo4j's own start script passes to Java 17, less the tuning.
const SETTINGS: &[&str] = &[
    "-Xms256m",
    "-Xmx512m",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "-Dlog4j2.disable.jmx=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
];

/// Fetches the jars, sets the password if the data is new, and returns the command that starts the
/// server.
pub(crate) fn prepare(home: &Home) -> Result<Command> {
    fetch_jars(home, "neo4j")?;
    for folder in ["data", "plugins", "import", "logs", "run", "licenses"] {
        fs::create_dir_all(home.dir().join(folder))?;
    }
    let settings = home.write_conf("neo4j.conf", &configuration())?;
    // The administrator's password can be set only while the server has never run.
    if !home.data().join("databases").exists() {
        capture(
            java(home, &["-Xmx128m", "-XX:TieredStopAtLevel=1"], "org.neo4j.cli.AdminTool")
                .args(["dbms", "set-initial-password", NEO4J_PASSWORD])
                .env("NEO4J_HOME", home.dir())
                .env("NEO4J_CONF", home.dir().join("conf")),
        )?;
    }
    let mut server = java(home, SETTINGS, "org.neo4j.server.CommunityEntryPoint");
    server
        .arg(format!("--home-dir={}", home.dir().display()))
        .arg(format!("--config-dir={}", settings.with_file_name("").display()));
    Ok(server)
}

fn configuration() -> String {
    format!(
        "\
server.default_listen_address={HOST}
server.bolt.listen_address={HOST}:{NEO4J_BOLT_PORT}
server.bolt.advertised_address={HOST}:{NEO4J_BOLT_PORT}
server.http.listen_address={HOST}:{NEO4J_HTTP_PORT}
server.http.advertised_address={HOST}:{NEO4J_HTTP_PORT}
server.https.enabled=false
server.memory.pagecache.size=64m
dbms.usage_report.enabled=false
# A wait for late clients after the databases are closed; 5 s, twice, otherwise.
internal.dbms.bolt.netty_server_shutdown_quiet_period=0
# A quarter of a gigabyte of log is set aside at the start otherwise.
db.tx_log.preallocate=false
"
    )
}

/// Runs `RETURN 1` over Bolt.
pub(crate) fn probe() -> Result<()> {
    bolt::return_one(super::connect(NEO4J_BOLT_PORT)?)
}
