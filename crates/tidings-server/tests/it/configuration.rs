//! The configuration: defaults, sources, and what is refused.

use std::{path::PathBuf, process::Command};

use tidings_core::error_chain::ErrorChain;
use tidings_server::config::{self, Config, ConfigError, DEFAULT_TOML, Secret, Sources};

fn load(toml: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidings.toml");
    std::fs::write(&file, toml).unwrap();
    config::load(&Sources { file: Some(file), flags: Vec::new() })
}

fn problem(toml: &str) -> String {
    let error = load(toml).unwrap_err();
    ErrorChain(&error).to_string()
}

#[test]
fn the_default_file_is_a_valid_configuration_that_listens_on_loopback() {
    let config = load("").unwrap();
    assert!(config.server.listen.ip().is_loopback());
    assert_eq!(config, toml::from_str(DEFAULT_TOML).unwrap());
}

#[test]
fn every_option_of_the_default_file_has_a_comment() {
    let mut commented = false;
    for line in DEFAULT_TOML.lines() {
        let is_option = line.contains(" = ") && !line.starts_with('#');
        // The options of one comment may follow each other, as in push.retry.
        if is_option && !line.starts_with("base_ms") && !line.starts_with("cap_ms") {
            let grouped = ["max_attempts", "team_id"].iter().any(|it| line.starts_with(it));
            assert!(commented || grouped, "{line} has no comment");
        }
        commented = line.starts_with('#');
    }
}

#[test]
fn a_file_overrides_the_defaults_and_flags_override_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("some.toml");
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\n[push]\nconcurrency = 7\n").unwrap();
    let flags = vec![("server.listen", "127.0.0.1:2".to_owned())];
    let config = config::load(&Sources { file: Some(file), flags }).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.push.concurrency, 7);
    assert_eq!(config.intake, load("").unwrap().intake);
}

#[test]
fn listening_to_the_world_needs_a_key() {
    let message = problem("[server]\nlisten = \"0.0.0.0:7700\"");
    assert!(message.contains("tidings keys create"), "{message}");
    let key = format!("[[auth.keys]]\nname=\"k\"\nsha256=\"{}\"\nscopes=[]", "0".repeat(64));
    load(&format!("[server]\nlisten = \"0.0.0.0:7700\"\n{key}")).unwrap();
}

#[test]
fn each_fault_names_its_option() {
    for (toml, option) in [
        ("[server]\nlistn = 1", "listn"),
        ("[server]\nlisten = \"nowhere\"", "server.listen"),
        ("[server]\nbody_limit_bytes = 0", "server.body_limit_bytes"),
        ("[server]\nbodies_limit_bytes = 33554431", "server.bodies_limit_bytes"),
        ("[graph]\nfollowing_max = 0", "graph.following_max"),
        ("[intake]\nbatch_rows = 10001", "intake.batch_rows"),
        ("[graph.neo4j]\nprefix = \"a b\"", "graph.neo4j.prefix"),
        ("[graph.neo4j]\nconnections = 0", "graph.neo4j.connections"),
        ("[graph.neo4j]\nurl = \"bolt://db\"", "graph.neo4j.password"),
        ("[graph.neo4j]\nurl = \"http://db\"\npassword = \"p\"", "graph.neo4j.url"),
        ("[graph.neo4j]\nurl = \"bolt://u:p@db\"\npassword = \"p\"", "graph.neo4j.url"),
        (
            "[graph.neo4j]\nurl = \"bolt://db\"\npassword = \"p\"\nca_file = \"ca.pem\"",
            "graph.neo4j.ca_file",
        ),
        ("[recommendations]\nlimit = 101", "recommendations.limit"),
        ("[recommendations]\nleast_known = 1001", "recommendations.least_known"),
        ("[recommendations]\nimpression_decay = nan", "recommendations.impression_decay"),
        ("[recommendations]\nimpression_floor = 1.5", "recommendations.impression_floor"),
        ("[recommendations]\nimpressions_days = 0", "recommendations.impressions_days"),
        ("[routing]\npush_from = \"urgent\"", "routing.push_from"),
        ("[routing]\nchannels = [\"websocket\"]", "routing.channels"),
        ("[routing]\nchannels = [\"fcm\", \"fcm\"]", "routing.channels"),
        ("[[routing.rules]]\ntypes = [\"a*b\"]", "routing.rules[0].types"),
        ("[[routing.rules]]\n[[routing.rules]]\nfrom = \"high\"", "routing.rules[0].types"),
        ("[[routing.rules]]\nack_wait_ms = 4000000", "routing.rules[0].ack_wait_ms"),
        ("[[routing.rules]]\npush = \"loud\"", "loud"),
        ("[push]\nlease_ms = 15000", "push.lease_ms"),
        ("[graph.cache]\nenabled = true", "graph.cache.enabled"),
        ("[graph.cache.redis]\nhold_ms = 7499", "graph.cache.redis.hold_ms"),
        ("[graph.cache.redis]\nurl = \"redis:6379\"", "graph.cache.redis.url"),
        ("[push.breaker]\nfailures = 21", "push.breaker.failures"),
        ("[[push.apps.fcm]]\nname = \"two\"", "push.apps.fcm[0].service_account_file"),
        ("[push.webpush]\nkey_file = \"k.pem\"", "push.webpush.subject"),
        ("[push.apns]\nkey_file = \"k.p8\"", "push.apns.key_id"),
        (
            "[push.fcm]\nservice_account_file=\"a\"\nendpoint = \"http://localhost\"",
            "push.fcm.endpoint",
        ),
        (
            "[push.apns]\nkey_file = \"k\"\nkey_id=\"1234567890\"\nteam_id=\"1234567890\"\n\
             certificate_file = \"c\"",
            "push.apns.key_file",
        ),
        ("[[auth.keys]]\nname=\"k\"\nsha256=\"xyz\"\nscopes=[]", "auth.keys[0]"),
        ("[auth.tokens]\nhs256_secret = \"short\"", "auth.tokens.hs256_secret"),
        ("[auth.tokens]\njwks_file = \"a\"\njwks_url = \"b\"", "auth.tokens"),
    ] {
        let message = problem(toml);
        assert!(message.contains(option), "{toml:?} gave {message}");
    }
}

#[test]
fn a_lease_of_pushes_has_room_for_their_turn_and_their_answer() {
    let toml = |lease: u64| format!("[push]\nrequest_timeout_ms = 1000\nlease_ms = {lease}");
    load(&toml(6_250)).unwrap();
    let message = problem(&toml(6_249));
    let said = "push.lease_ms: is 6249, and has to be at least 6250 with a push.request_timeout_ms";
    assert!(message.contains(said), "{message}");
}

#[test]
fn the_graph_may_not_take_longer_for_a_change_than_its_cache_reckons_with() {
    let toml = |query: u64, lease: u64, hold: u64| {
        format!(
            "[graph.neo4j]\nurl = \"bolt://db\"\npassword = \"p\"\nquery_timeout_ms = {query}\n\
             [graph.cache]\nenabled = true\nwrite_lease_ms = {lease}\n\
             [graph.cache.redis]\nurl = \"redis://cache\"\nhold_ms = {hold}"
        )
    };
    load(&toml(10_000, 10_001, 10_001)).unwrap();
    for (toml, option) in [
        (toml(10_000, 60_000, 10_000), "graph.cache.redis.hold_ms: is 10000"),
        (toml(10_000, 10_000, 20_000), "graph.cache.write_lease_ms: is 10000"),
    ] {
        let message = problem(&toml);
        assert!(message.contains(option), "{toml:?} gave {message}");
        assert!(message.contains("more than graph.neo4j.query_timeout_ms"), "{message}");
    }
    // What is not in use may be anything, and the defaults fit each other.
    load(&toml(10_000, 60_000, 10_000).replace("enabled = true", "enabled = false")).unwrap();
    load(&toml(10_000, 60_000, 10_000).replace("redis://cache", "")).unwrap();
    load(
        "[graph.neo4j]\nurl = \"bolt://db\"\npassword = \"p\"\n\
         [graph.cache]\nenabled = true\n[graph.cache.redis]\nurl = \"redis://cache\"",
    )
    .unwrap();
}

#[test]
fn each_lane_has_a_connection_that_writes() {
    let toml = |lanes, connections| {
        format!(
            "[intake]\nlanes = {lanes}\n\
             [store.postgres]\nurl = \"postgres://db\"\nconnections = {connections}"
        )
    };
    for (lanes, connections) in [(0, 2), (1, 2), (4, 8), (4, 7)] {
        load(&toml(lanes, connections)).unwrap();
    }
    let message = problem(&toml(4, 6));
    assert!(message.contains("intake.lanes: is 4") && message.contains("take 8"), "{message}");
    // The embedded store has no connections to run out of.
    load("[intake]\nlanes = 4\n[store.postgres]\nconnections = 2").unwrap();
}

#[test]
fn all_faults_are_listed_at_once() {
    let message = problem("[store]\nreaders = 0\n[realtime]\nheartbeat_ms = 1");
    assert!(message.contains("store.readers") && message.contains("realtime.heartbeat_ms"));
}

#[test]
fn secrets_are_not_shown() {
    let toml = format!("[auth.tokens]\nhs256_secret = \"{}\"", "sesame".repeat(6));
    let config = load(&toml).unwrap();
    assert_ne!(config.auth.tokens.hs256_secret, Secret::default());
    let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
    assert!(!shown.contains("sesame") && shown.contains("[redacted]"), "{shown}");
}

#[test]
fn the_environment_overrides_the_file() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["config", "print"])
        .env("TIDINGS__PUSH__RETRY__MAX_ATTEMPTS", "3")
        .current_dir(tempfile::tempdir().unwrap().path())
        .output()
        .unwrap();
    let printed: toml::Table = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    assert_eq!(printed["push"]["retry"]["max_attempts"].as_integer(), Some(3));
}

#[test]
fn the_commands_of_operators_are_taught_by_example() {
    let help = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidings")).args(args).arg("--help").output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    for (command, examples) in [
        ("migrate", ["tidings migrate --config", "TIDINGS__STORE__POSTGRES__URL"]),
        ("dlq", ["tidings dlq replay 17 --event", "tidings dlq show 17"]),
        ("offsets", ["tidings offsets set --topic", "tidings offsets list"]),
    ] {
        let text = help(&[command]);
        assert!(examples.iter().all(|example| text.contains(example)), "{text}");
    }
}

#[test]
fn a_named_file_has_to_exist() {
    let sources = Sources { file: Some(PathBuf::from("/does/not/exist.toml")), flags: Vec::new() };
    assert!(matches!(config::load(&sources), Err(ConfigError::NoFile(_))));
}

#[test]
fn no_device_belongs_to_two_credentials_and_no_two_have_one_name() {
    let first = "[push.fcm]\nservice_account_file = \"a.json\"\n";
    let second =
        |more: &str| format!("{first}[[push.apps.fcm]]\nservice_account_file = \"b.json\"\n{more}");
    let both = problem(&second(""));
    assert!(both.contains("push.apps.fcm[0].name") && both.contains("push.apps.fcm[0].apps"));
    load(&second("name = \"two\"\napps = [\"app.two\"]")).unwrap();
    let same_app = "name = \"two\"\napps = [\"x\"]\n[[push.apps.fcm]]\nname = \"three\"\n\
                    service_account_file = \"c.json\"\napps = [\"y\", \"x\"]";
    let message = problem(&second(same_app));
    assert!(message.contains("push.apps.fcm[1].apps: names \"x\""), "{message}");
    // The same app in two environments has two credentials.
    let apns = |name: &str, environment: &str| {
        format!(
            "[[push.apps.apns]]\nname = \"{name}\"\napps = [\"x\"]\nkey_file = \"k\"\n\
             key_id = \"1234567890\"\nteam_id = \"1234567890\"\nenvironment = \"{environment}\"\n"
        )
    };
    load(&(apns("one", "production") + &apns("two", "sandbox"))).unwrap();
}
