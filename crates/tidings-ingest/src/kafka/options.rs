//! From our configuration to librdkafka's.

use std::sync::Arc;

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tidings_core::ports::BoxError;

use super::{config::KafkaConfig, context::Context, health::Board};

/// Why a consumer cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaSetupError {
    /// An option that this consumer sets itself.
    #[error("the option {name} cannot be set: {reason}")]
    ReservedOption {
        /// The option.
        name: String,
        /// Why it is set here.
        reason: &'static str,
    },
    /// An option is not known, or does not take its value. The value may be a secret, so it is not said.
    #[error("kafka.options: {name} is not an option of librdkafka, or does not take this value")]
    Option {
        /// The option.
        name: String,
    },
    /// librdkafka refuses the configuration.
    #[error("the Kafka client could not be made")]
    Client(#[source] BoxError),
    /// The thread that polls could not be started.
    #[error("the thread of the Kafka client could not be started")]
    Thread(#[source] std::io::Error),
}

impl KafkaSetupError {
    /// Why a client could not be made, without the values of options.
    pub(super) fn of_client(error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, _, name, _) => Self::Option { name },
            error => Self::Client(error.into()),
        }
    }
}

const STATISTICS: &str = "statistics.interval.ms";
const POSITIONS: &str = "positions are kept in the store, with the rows";
const RESERVED: [(&str, &str); 15] = [
    ("bootstrap.servers", "it is kafka.brokers"),
    ("metadata.broker.list", "it is kafka.brokers"),
    ("group.id", "it is kafka.group"),
    ("group.instance.id", "it is kafka.instance_id"),
    ("enable.auto.commit", POSITIONS),
    ("auto.commit.enable", POSITIONS),
    ("auto.commit.interval.ms", POSITIONS),
    ("enable.auto.offset.store", POSITIONS),
    ("offset.store.method", POSITIONS),
    ("auto.offset.reset", "a position is never reset silently; where to begin is kafka.start"),
    ("partition.assignment.strategy", "partitions are moved one by one: cooperative-sticky"),
    ("enable.partition.eof", "the end of a partition is not an event"),
    ("allow.auto.create.topics", "a topic that is missing is waited for"),
    ("isolation.level", "what a producer has aborted must not be told to anyone"),
    // What does not match is reported without its partition, and the client reads on behind it.
    ("check.crcs", "the client would pass over what does not match"),
];

/// What we choose and an operator may change.
///
/// - Fetching: a low latency (the broker waits at most 100 ms to answer an empty fetch, and a client
///   whose queue was full asks again after 5 ms, not 1,000), and 4 MiB read ahead, not 64: the records
///   wait in our queue, which is counted, and what was read ahead is lost when a partition is paused.
/// - Topics that appear or grow are seen within 10 s, not 5 minutes.
/// - Statistics once a second: the lag comes from there.
const DEFAULTS: [(&str, &str); 9] = [
    ("client.id", "tidings"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.max.bytes", "4194304"),
    ("queued.max.messages.kbytes", "4096"),
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("metadata.max.age.ms", "30000"),
    (STATISTICS, "1000"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// Who died is missed after 10 s, not 45, and a rebalance is noticed within 1 s, not 3: partitions rest
/// that much shorter. To be given up too early costs a member nothing but reading again what it had
/// not stored, since the store fences it.
const CLASSIC_DEFAULTS: [(&str, &str); 2] =
    [("session.timeout.ms", "10000"), ("heartbeat.interval.ms", "1000")];

/// The consumer's client. Reads nothing before it has [subscribed](subscribe).
pub(super) fn client(
    config: &KafkaConfig,
    board: &Arc<Board>,
) -> Result<BaseConsumer<Context>, KafkaSetupError> {
    let client = consumer(config)?.create_with_context(Context::new(Arc::clone(board)));
    client.map_err(KafkaSetupError::of_client)
}

/// Subscribes a client to the topics.
pub(super) fn subscribe(
    client: &BaseConsumer<Context>,
    config: &KafkaConfig,
) -> Result<(), KafkaSetupError> {
    let topics: Vec<_> = config.topics.iter().map(|topic| topic.name.as_str()).collect();
    client.subscribe(&topics).map_err(KafkaSetupError::of_client)
}

/// The configuration of the consumer's client.
fn consumer(config: &KafkaConfig) -> Result<ClientConfig, KafkaSetupError> {
    for (name, reason) in RESERVED {
        if config.options.contains_key(name) {
            return Err(KafkaSetupError::ReservedOption { name: name.to_owned(), reason });
        }
    }
    if config.options.get(STATISTICS).is_some_and(|value| value.trim() == "0") {
        let reason = "the lag, and whether a broker is connected, are known from there";
        return Err(KafkaSetupError::ReservedOption { name: STATISTICS.to_owned(), reason });
    }
    let mut client = base(config);
    client
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "false")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", "read_committed");
    // The newer group protocol assigns on the broker, incrementally too, and takes none of these.
    if config.options.get("group.protocol").is_none_or(|protocol| protocol == "classic") {
        client.set("partition.assignment.strategy", "cooperative-sticky");
        for (name, value) in CLASSIC_DEFAULTS {
            client.set(name, value);
        }
    }
    if let Some(id) = &config.instance_id {
        client.set("group.instance.id", id);
    }
    for (name, value) in DEFAULTS {
        client.set(name, value);
    }
    for (name, value) in &config.options {
        client.set(name, value);
    }
    Ok(client)
}

/// The configuration of the client that produces dead letters: how to reach the brokers, and nothing
/// that is meant for consuming.
pub(super) fn producer(config: &KafkaConfig) -> ClientConfig {
    const SHARED: [&str; 7] =
        ["security.", "ssl.", "sasl.", "socket.", "broker.", "enable.ssl.", "enable.sasl."];
    let mut client = base(config);
    client
        .set("client.id", "tidings-dead-letters")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "5000")
        // What is too large is the broker's to say: the topic may take as much as the source does.
        .set("message.max.bytes", "1000000000")
        .set("linger.ms", "5");
    for (name, value) in &config.options {
        if SHARED.iter().any(|prefix| name.starts_with(prefix)) {
            client.set(name, value);
        }
    }
    client
}

fn base(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set_log_level(RDKafkaLogLevel::Info);
    client.set("bootstrap.servers", &config.brokers);
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("127.0.0.1:9", "group", ["topic"]);
        config.options.insert(name.to_owned(), value.to_owned());
        config
    }

    #[test]
    fn what_the_promises_rest_on_cannot_be_changed() {
        for (name, reason) in RESERVED {
            let error = consumer(&config(name, "true")).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
        assert!(consumer(&config(STATISTICS, "0")).is_err());
    }

    #[test]
    fn any_other_option_passes_through_and_wins_over_a_default() {
        let client = consumer(&config("fetch.wait.max.ms", "7")).unwrap();
        assert_eq!(client.get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(client.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        let client = consumer(&config("group.protocol", "consumer")).unwrap();
        assert_eq!(client.get("partition.assignment.strategy"), None);
    }

    #[test]
    fn librdkafka_takes_what_is_set_here() {
        let mut config = config("security.protocol", "ssl");
        config.instance_id = Some("node-1".to_owned());
        assert!(consumer(&config).unwrap().create_native_config().is_ok());
        assert!(producer(&config).create_native_config().is_ok());
        assert_eq!(producer(&config).get("security.protocol"), Some("ssl"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", config("sasl.password", "hunter2"));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_misspelt_option_is_named_without_its_value() {
        let error = consumer(&config("sasl.pasword", "hunter2"))
            .and_then(|client| {
                let made: Result<BaseConsumer, _> = client.create();
                made.map_err(KafkaSetupError::of_client)
            })
            .err()
            .unwrap();
        let said = format!("{error} {error:?}");
        assert!(said.contains("sasl.pasword") && !said.contains("hunter2"), "{said}");
    }
}
