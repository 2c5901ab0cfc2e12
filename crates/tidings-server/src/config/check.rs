//! What the types cannot say about options: ranges, and what goes together.

use std::{collections::HashSet, fmt, ops::RangeInclusive, path::Path};

use tidings_core::{event::MAX_TITLE_BYTES, ids::MAX_ID_BYTES};

use super::{
    graph_cache,
    model::{
        AuthSection, Config, FollowEventsSection, KafkaSection, Neo4jSection, PostgresSection,
        RealtimeSection,
    },
    push, recommendations, routing,
};
use crate::{auth::Scope, follow_notices::FOLLOWER, http::AllowedOrigins};

/// An option with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Path of the option, for example `server.listen`.
    pub option: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.problem)
    }
}

/// What has been found so far.
pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub(super) fn add(&mut self, option: &str, problem: impl Into<String>) {
        self.0.push(ConfigProblem { option: option.to_owned(), problem: problem.into() });
    }

    pub(super) fn range<T: PartialOrd + fmt::Display + Copy>(
        &mut self,
        option: &str,
        value: T,
        allowed: RangeInclusive<T>,
    ) {
        if !allowed.contains(&value) {
            let (least, most) = allowed.into_inner();
            self.add(option, format!("is {value}, from {least} to {most} is allowed"));
        }
    }
}

/// Lists every option whose value is not valid.
pub(super) fn check(config: &Config) -> Vec<ConfigProblem> {
    let mut problems = Problems(Vec::new());
    check_ranges(config, &mut problems);
    check_postgres(&config.store.postgres, &mut problems);
    problems.range("graph.following_max", config.graph.following_max, 1..=1_000_000_000);
    check_neo4j(&config.graph.neo4j, &mut problems);
    check_lanes(config, &mut problems);
    check_kafka(&config.kafka, &mut problems);
    check_retention(config, &mut problems);
    check_follow_events(&config.follow_events, &mut problems);
    recommendations::check(&config.recommendations, &mut problems);
    check_bus(config, &mut problems);
    graph_cache::check(config, &mut problems);
    routing::check(&config.routing, &mut problems);
    push::check(&config.push, &mut problems);
    check_auth(&config.auth, &mut problems);
    check_tickets(&config.realtime, &mut problems);
    if let Err(error) = AllowedOrigins::new(&config.server.allowed_origins) {
        problems.add("server.allowed_origins", error.to_string());
    }
    if !config.server.listen.ip().is_loopback() && config.auth.keys.is_empty() {
        problems.add(
            "server.listen",
            format!(
                "{} can be reached from other machines, and no auth.keys are configured: make one \
                 with `tidings keys create`, or listen on 127.0.0.1",
                config.server.listen
            ),
        );
    }
    problems.0
}

fn check_ranges(config: &Config, problems: &mut Problems) {
    let server = &config.server;
    problems.range("server.body_limit_bytes", server.body_limit_bytes, 1024..=1 << 30);
    // One of the longest has to fit.
    let all = server.body_limit_bytes.max(1 << 20)..=64 << 30;
    problems.range("server.bodies_limit_bytes", server.bodies_limit_bytes, all);
    problems.range("server.unattended_max", server.unattended_max, 0..=1_000_000);
    problems.range("server.request_timeout_ms", server.request_timeout_ms, 100..=600_000);
    problems.range("server.header_timeout_ms", server.header_timeout_ms, 100..=600_000);
    problems.range("server.shutdown_grace_ms", server.shutdown_grace_ms, 0..=600_000);
    let store = &config.store;
    problems.range("store.writer_queue", store.writer_queue, 1..=100_000);
    problems.range("store.readers", store.readers, 1..=64);
    problems.range("store.dead_letters_max", store.dead_letters_max, 1..=10_000_000);
    let intake = &config.intake;
    problems.range("intake.batch_rows", intake.batch_rows, 1..=10_000);
    problems.range("intake.batch_bytes", intake.batch_bytes, 1024..=64 << 20);
    problems.range("intake.batch_linger_ms", intake.batch_linger_ms, 0..=1_000);
    problems.range("intake.queue_jobs", intake.queue_jobs, 1..=1_000_000);
    problems.range("intake.queue_bytes", intake.queue_bytes, 64 << 10..=4 << 30);
    problems.range("intake.queue_wait_ms", intake.queue_wait_ms, 1..=60_000);
    problems.range("intake.answer_wait_ms", intake.answer_wait_ms, 100..=600_000);
    if intake.answer_wait_ms >= server.request_timeout_ms {
        problems.add("intake.answer_wait_ms", "has to be less than server.request_timeout_ms");
    }
    problems.range("intake.lanes", intake.lanes, 0..=16);
    let realtime = &config.realtime;
    problems.range("realtime.sessions_max", realtime.sessions_max, 1..=10_000_000);
    let per_user = realtime.sessions_per_user_max;
    problems.range("realtime.sessions_per_user_max", per_user, 1..=10_000);
    problems.range("realtime.mailbox_frames", realtime.mailbox_frames, 1..=65_536);
    problems.range("realtime.replay_page", realtime.replay_page, 1..=1_000);
    problems.range("realtime.hello_timeout_ms", realtime.hello_timeout_ms, 100..=60_000);
    problems.range("realtime.heartbeat_ms", realtime.heartbeat_ms, 1_000..=600_000);
    problems.range("auth.revocations_max", config.auth.revocations_max, 1_000..=100_000_000);
    problems.range("realtime.slow_ms", realtime.slow_ms, 1_000..=3_600_000);
    problems.range("realtime.frame_bytes", realtime.frame_bytes, 4_096..=1 << 20);
    problems.range("realtime.frames_per_second", realtime.frames_per_second, 1..=100_000);
    problems.range("realtime.frames_burst", realtime.frames_burst, 1..=100_000);
    problems.range("realtime.accepts_per_s", realtime.accepts_per_s, 1..=1_000_000);
    problems.range("realtime.hellos_max", realtime.hellos_max, 1..=1_000_000);
    problems.range("realtime.drain_ms", realtime.drain_ms, 0..=600_000);
    problems.range("realtime.drain_retry_ms", realtime.drain_retry_ms, 0..=600_000);
    if config.store.data_dir.as_os_str().is_empty() {
        problems.add("store.data_dir", "is empty");
    }
}

/// What the node writes into an event has to fit into one.
fn check_follow_events(section: &FollowEventsSection, problems: &mut Problems) {
    let longest = "x".repeat(MAX_ID_BYTES);
    let title = section.title.replace(FOLLOWER, &longest);
    if title.is_empty() || title.len() > MAX_TITLE_BYTES {
        let problem = format!(
            "has {} bytes with the longest id for {FOLLOWER}, from 1 to {MAX_TITLE_BYTES} are allowed",
            title.len()
        );
        problems.add("follow_events.title", problem);
    }
    let kind = section.notification_type.len();
    problems.range("follow_events.notification_type", kind, 1..=MAX_ID_BYTES);
    for (option, value) in [
        ("follow_events.group", &section.group),
        ("follow_events.follow_type", &section.follow_type),
        ("follow_events.unfollow_type", &section.unfollow_type),
    ] {
        problems.range(option, value.len(), 0..=MAX_ID_BYTES);
    }
    if !section.follow_type.is_empty() && section.follow_type == section.unfollow_type {
        problems.add("follow_events.unfollow_type", "is the same as follow_events.follow_type");
    }
}

fn check_postgres(postgres: &PostgresSection, problems: &mut Problems) {
    problems.range("store.postgres.connections", postgres.connections, 2..=1_000);
    let connect = postgres.connect_timeout_ms;
    problems.range("store.postgres.connect_timeout_ms", connect, 100..=60_000);
    let statement = postgres.statement_timeout_ms;
    problems.range("store.postgres.statement_timeout_ms", statement, 100..=600_000);
    let url = postgres.url.expose();
    let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    if !postgres.url.is_empty() && !known {
        problems.add("store.postgres.url", "has to begin with postgres://");
    }
}

fn check_neo4j(neo4j: &Neo4jSection, problems: &mut Problems) {
    problems.range("graph.neo4j.connections", neo4j.connections, 1..=1_000);
    let connect = neo4j.connect_timeout_ms;
    problems.range("graph.neo4j.connect_timeout_ms", connect, 100..=60_000);
    problems.range("graph.neo4j.query_timeout_ms", neo4j.query_timeout_ms, 100..=600_000);
    problems.range("graph.neo4j.batch_edges", neo4j.batch_edges, 1..=100_000);
    let prefix = neo4j.prefix.as_bytes();
    let is_name = prefix.first().is_some_and(u8::is_ascii_alphabetic)
        && prefix.iter().all(u8::is_ascii_alphanumeric);
    if !is_name || prefix.len() > 32 {
        problems.add(
            "graph.neo4j.prefix",
            "has to be an ASCII letter and up to 31 ASCII letters and digits",
        );
    }
    if neo4j.url.is_empty() {
        return;
    }
    let (scheme, address) = neo4j.url.split_once("://").unwrap_or_default();
    if !["bolt", "bolt+s", "neo4j", "neo4j+s"].contains(&scheme) {
        let problem = "has to begin with bolt://, neo4j://, bolt+s:// or neo4j+s://";
        problems.add("graph.neo4j.url", problem);
    }
    if address.contains('@') {
        let problem = "holds a user: set graph.neo4j.user and graph.neo4j.password instead";
        problems.add("graph.neo4j.url", problem);
    }
    if neo4j.ca_file != Path::new("") && !scheme.ends_with("+s") {
        let problem = "is set, and graph.neo4j.url asks for no TLS";
        problems.add("graph.neo4j.ca_file", problem);
    }
    for (option, is_empty) in [
        ("graph.neo4j.user", neo4j.user.is_empty()),
        ("graph.neo4j.password", neo4j.password.is_empty()),
        ("graph.neo4j.database", neo4j.database.is_empty()),
    ] {
        if is_empty {
            problems.add(option, "is empty, and graph.neo4j.url is set");
        }
    }
}

/// A lane without a connection of its own waits for another's, and may run into the time limit of
/// its call meanwhile.
fn check_lanes(config: &Config, problems: &mut Problems) {
    let postgres = &config.store.postgres;
    let (lanes, writers) = (config.intake.lanes, postgres.write_connections());
    if !postgres.url.is_empty() && lanes > writers {
        let connections = postgres.connections;
        let problem = format!(
            "is {lanes}, and store.postgres.connections = {connections} gives {writers} that write: \
             take {} connections, or {writers} lanes at most",
            2 * lanes
        );
        problems.add("intake.lanes", problem);
    }
}

fn check_kafka(kafka: &KafkaSection, problems: &mut Problems) {
    problems.range("kafka.queue_bytes", kafka.queue_bytes, 1 << 20..=4 << 30);
    let per_partition = kafka.partition_queue_bytes;
    problems.range("kafka.partition_queue_bytes", per_partition, 64 << 10..=1 << 30);
    let kept = kafka.dead_letter_payload_bytes;
    problems.range("kafka.dead_letter_payload_bytes", kept, 0..=1 << 20);
    problems.range("kafka.breaker_records", kafka.breaker_records, 100..=100_000);
    problems.range("kafka.breaker_bad_percent", kafka.breaker_bad_percent, 50..=100);
    problems.range("kafka.retry_base_ms", kafka.retry_base_ms, 1..=600_000);
    problems.range("kafka.retry_cap_ms", kafka.retry_cap_ms, 1..=600_000);
    if kafka.brokers.is_empty() {
        if !kafka.topics.is_empty() {
            problems.add("kafka.brokers", "is empty, and kafka.topics is not");
        }
        return;
    }
    if kafka.topics.is_empty() {
        problems.add("kafka.topics", "names no topic, and kafka.brokers is set");
    }
    if kafka.group.is_empty() {
        problems.add("kafka.group", "is empty");
    }
    let mut seen = HashSet::new();
    for topic in &kafka.topics {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=249).contains(&topic.name.len()) || !topic.name.bytes().all(plain) {
            let name = &topic.name;
            problems.add("kafka.topics", format!("{name:?} cannot be the name of a topic"));
        }
        if !seen.insert(&topic.name) {
            problems.add("kafka.topics", format!("names {:?} twice", topic.name));
        }
    }
}

fn check_retention(config: &Config, problems: &mut Problems) {
    let fan_out = &config.fan_out;
    problems.range("fan_out.page", fan_out.page, 1..=10_000);
    problems.range("fan_out.concurrent", fan_out.concurrent, 1..=1_000);
    problems.range("fan_out.lease_ms", fan_out.lease_ms, 1_000..=3_600_000);
    let retention = &config.retention;
    for (option, days) in [
        ("retention.notifications_days", retention.notifications_days),
        ("retention.expired_days", retention.expired_days),
        ("retention.deliveries_days", retention.deliveries_days),
        ("retention.devices_days", retention.devices_days),
        ("retention.revocations_days", retention.revocations_days),
    ] {
        problems.range(option, days, 0..=36_500);
    }
    problems.range("retention.answers_hours", retention.answers_hours, 1..=720);
    problems.range("retention.step_rows", retention.step_rows, 1..=10_000);
    problems.range("retention.pause_ms", retention.pause_ms, 0..=60_000);
}

fn check_bus(config: &Config, problems: &mut Problems) {
    let bus = &config.realtime.bus;
    problems.range("realtime.bus.heartbeat_ms", bus.heartbeat_ms, 50..=5_000);
    problems.range("realtime.bus.poll_ms", bus.poll_ms, 50..=60_000);
    problems.range("realtime.bus.repair_users_per_s", bus.repair_users_per_s, 1..=1_000_000);
    problems.range("realtime.bus.repair_group", bus.repair_group, 1..=10_000);
    let refresh = bus.presence_refresh_ms;
    problems.range("realtime.bus.presence_refresh_ms", refresh, 1_000..=600_000);
    problems.range("realtime.bus.presence_users_max", bus.presence_users_max, 0..=100_000_000);
    let redis = &bus.redis;
    let connect = redis.connect_timeout_ms;
    problems.range("realtime.bus.redis.connect_timeout_ms", connect, 100..=60_000);
    let answer = redis.answer_timeout_ms;
    problems.range("realtime.bus.redis.answer_timeout_ms", answer, 100..=60_000);
    problems.range("realtime.bus.redis.queue_bytes", redis.queue_bytes, 64 << 10..=1 << 30);
    problems.range("the length of realtime.bus.redis.prefix", redis.prefix.len(), 1..=64);
    if redis.url.is_empty() {
        return;
    }
    let known = ["redis://", "rediss://"].iter().any(|it| redis.url.expose().starts_with(it));
    if !known {
        problems.add("realtime.bus.redis.url", "has to begin with redis:// or rediss://");
    }
    if config.store.postgres.url.is_empty() {
        problems.add(
            "realtime.bus.redis.url",
            "is set, and the store is this node's own: nodes that share a bus share a database \
             (store.postgres.url)",
        );
    }
}

fn check_auth(auth: &AuthSection, problems: &mut Problems) {
    for (index, key) in auth.keys.iter().enumerate() {
        let option = format!("auth.keys[{index}]");
        let is_digest =
            key.sha256.len() == 64 && key.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest {
            problems
                .add(&option, "sha256 takes the 64 hex digits that `tidings keys create` prints");
        }
        if key.name.is_empty() {
            problems.add(&option, "name is empty; it tells keys apart in the log");
        }
        for scope in &key.scopes {
            if Scope::from_name(scope).is_none() {
                let known = Scope::ALL.map(Scope::as_str).join(", ");
                problems.add(&option, format!("there is no scope {scope:?}; there are {known}"));
            }
        }
    }
    let tokens = &auth.tokens;
    let ways = [
        !tokens.hs256_secret.is_empty(),
        !tokens.jwks_file.as_os_str().is_empty(),
        !tokens.jwks_url.is_empty(),
    ];
    if ways.iter().filter(|set| **set).count() > 1 {
        problems.add("auth.tokens", "set at most one of hs256_secret, jwks_file and jwks_url");
    }
    if !tokens.hs256_secret.is_empty() && tokens.hs256_secret.expose().len() < 32 {
        problems.add("auth.tokens.hs256_secret", "has to have at least 32 bytes");
    }
    problems.range("auth.tokens.leeway_secs", tokens.leeway_secs, 0..=600);
}

fn check_tickets(realtime: &RealtimeSection, problems: &mut Problems) {
    for (option, secret) in [
        ("realtime.ticket_secret", &realtime.ticket_secret),
        ("realtime.ticket_secret_previous", &realtime.ticket_secret_previous),
    ] {
        if !secret.is_empty() && secret.expose().len() < 32 {
            problems.add(option, "has to have at least 32 bytes");
        }
    }
    if realtime.ticket_secret.is_empty() && !realtime.ticket_secret_previous.is_empty() {
        problems
            .add("realtime.ticket_secret_previous", "is set, and realtime.ticket_secret is not");
    }
}
