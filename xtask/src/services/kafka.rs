//! Apache Kafka: one node that is broker and `KRaft` controller, from Maven Central.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::endpoints::{HOST, KAFKA_PORT};
use super::home::Home;
use super::java::{fetch_jars, java};
use crate::process::capture;

/// The `KRaft` controller's listener.
pub(super) const CONTROLLER_PORT: u16 = KAFKA_PORT + 1;

/// 16 bytes in URL-safe base64, as Kafka wants it; these spell `tidings-services`.
const CLUSTER_ID: &str = "dGlkaW5ncy1zZXJ2aWNlcw";

const LOG4J: &str = "\
appenders = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRefs = console
rootLogger.appenderRef.console.ref = console
";

/// Fetches the jars, formats the log folder if it is new, and returns the command that starts the
/// broker.
pub(crate) fn prepare(home: &Home) -> Result<Command> {
    fetch_jars(home, "kafka")?;
    fs::create_dir_all(home.data())?;
    let settings = home.write_conf("server.properties", &server_properties(home))?;
    let log4j = home.write_conf("log4j2.properties", LOG4J)?;
    let log4j = format!("-Dlog4j2.configurationFile={}", log4j.display());
    if !home.data().join("meta.properties").exists() {
        let format = &["-Xmx128m", "-XX:TieredStopAtLevel=1", &log4j];
        capture(
            java(home, format, "kafka.tools.StorageTool")
                .args(["format", "--cluster-id", CLUSTER_ID, "--config"])
                .arg(&settings),
        )?;
    }
    let mut broker = java(home, &["-Xms256m", "-Xmx512m", &log4j], "kafka.Kafka");
    broker.arg(settings);
    Ok(broker)
}

fn server_properties(home: &Home) -> String {
    let data = home.data().display().to_string();
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{CONTROLLER_PORT}
listeners=PLAINTEXT://{HOST}:{KAFKA_PORT},CONTROLLER://{HOST}:{CONTROLLER_PORT}
advertised.listeners=PLAINTEXT://{HOST}:{KAFKA_PORT}
controller.listener.names=CONTROLLER
log.dirs={data}
# A topic exists because a test made it: a misspelt name shall fail.
auto.create.topics.enable=false
# One node holds the one copy of everything.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# Test groups have all their members at once; do not wait for more.
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
"
    )
}

/// Asks the broker for the cluster's brokers, and whether it is one of them: it is not before it has
/// registered with its controller, though its port is open.
pub(crate) fn probe() -> Result<()> {
    let mut stream = super::connect(KAFKA_PORT)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&metadata_request())?;
    let response = read_frame(&mut stream)?;
    ensure!(
        brokers_in(&response).context("the answer is not a metadata response")? > 0,
        "the broker has not joined its cluster yet"
    );
    Ok(())
}

/// Metadata, version 5, for no topic. <https://kafka.apache.org/protocol#The_Messages_Metadata>
fn metadata_request() -> Vec<u8> {
    const CLIENT_ID: &[u8; 5] = b"xtask";
    let mut request = Vec::new();
    request.extend_from_slice(&3_i16.to_be_bytes()); // api key: Metadata
    request.extend_from_slice(&5_i16.to_be_bytes()); // its version
    request.extend_from_slice(&1_i32.to_be_bytes()); // correlation id
    request.extend_from_slice(&5_i16.to_be_bytes()); // length of the client id
    request.extend_from_slice(CLIENT_ID);
    request.extend_from_slice(&0_i32.to_be_bytes()); // no topics
    request.push(0); // make no topic
    let mut frame = vec![0, 0, 0, 20];
    frame.extend_from_slice(&request);
    frame
}

fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    /// A cluster of one, asked about no topic, needs far less.
    const MAX_BYTES: u32 = 64 * 1024;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    ensure!(length <= MAX_BYTES, "the answer is not Kafka's: it claims {length} bytes");
    let mut frame = Vec::new();
    stream.take(length.into()).read_to_end(&mut frame)?;
    Ok(frame)
}

/// How many brokers a metadata response lists; `None` if it is too short or not an answer to ours.
fn brokers_in(response: &[u8]) -> Option<i32> {
    let correlation_id = i32::from_be_bytes(response.get(0..4)?.try_into().ok()?);
    // Bytes 4 to 8 are the time that the broker throttled us for.
    let brokers = i32::from_be_bytes(response.get(8..12)?.try_into().ok()?);
    (correlation_id == 1).then_some(brokers)
}

#[cfg(test)]
mod tests {
    use super::{brokers_in, metadata_request};

    #[test]
    fn the_request_says_its_own_length() {
        let frame = metadata_request();
        assert_eq!(usize::from(frame[3]), frame.len() - 4);
    }

    #[test]
    fn an_answer_that_lists_no_broker_is_told_from_one_that_does() {
        let answer = |brokers: u8| [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, brokers];
        assert_eq!(brokers_in(&answer(0)), Some(0));
        assert_eq!(brokers_in(&answer(1)), Some(1));
        assert_eq!(brokers_in(b"HTTP/1.1 400"), None);
        assert_eq!(brokers_in(b"short"), None);
    }
}
