//! Opening a store: the schema, and what is said when it cannot be.

use std::{error::Error, time::Duration};

use tidings_core::{
    checkpoint::{Advance, Epoch, PartitionId},
    device::{Device, Platform, PushToken},
    error_chain::ErrorChain,
    ids::{DeviceId, Seq},
    ports::{DeviceStore, NotificationStore, StoreError},
};
use tidings_store::{Migrate, PostgresConfig, PostgresOpenError, PostgresStore};
use tokio::task::JoinSet;

use crate::{
    directory::{batch, now, user},
    postgres_faults::wait_for,
    postgres_open::TestSchema,
};

async fn refusal(config: PostgresConfig, migrate: Migrate) -> PostgresOpenError {
    PostgresStore::open(config, migrate).await.unwrap_err()
}

#[tokio::test]
async fn nodes_that_start_at_once_make_one_schema() {
    let schema = TestSchema::new();
    let mut nodes = JoinSet::new();
    for _ in 0..4 {
        let config = schema.config();
        nodes.spawn(PostgresStore::open(config, Migrate::AtStart));
    }
    for store in nodes.join_all().await {
        store.unwrap().check().await.unwrap();
    }
    assert_eq!(schema.number("SELECT count(*) - max(version) FROM schema_migration").await, 0);
}

#[tokio::test]
async fn a_schema_that_may_not_be_migrated_has_to_be_of_this_version() {
    let schema = TestSchema::new();
    let error = refusal(schema.config(), Migrate::Never).await;
    assert!(matches!(error, PostgresOpenError::Outdated { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("run `tidings migrate`"), "{error}");
    let version = PostgresStore::migrate(schema.config()).await.unwrap();
    assert_eq!(PostgresStore::migrate(schema.config()).await.unwrap(), version);
    let store = PostgresStore::open(schema.config(), Migrate::Never).await.unwrap();
    store.append(batch("e1", &[user("ann")]).into(), now()).await.unwrap();

    schema.run("INSERT INTO schema_migration (version) VALUES (999)").await;
    for migrate in [Migrate::Never, Migrate::AtStart] {
        let error = refusal(schema.config(), migrate).await;
        assert!(matches!(error, PostgresOpenError::Newer { found: 999, .. }), "{error}");
    }
}

/// The steps before the one that gave devices their details, as an older program has taken them.
const VERSION_3: &str = concat!(
    "CREATE TABLE schema_migration (version integer PRIMARY KEY, \
     taken_at timestamptz NOT NULL DEFAULT now()); \
     INSERT INTO schema_migration (version) VALUES (1), (2), (3);",
    include_str!("../../migrations/postgres/0001_store.sql"),
    include_str!("../../migrations/postgres/0002_fan_out_graph.sql"),
    include_str!("../../migrations/postgres/0003_revocations.sql"),
);

#[tokio::test]
async fn devices_of_the_version_before_become_devices_of_production_without_details() {
    let schema = TestSchema::new();
    schema.run(&format!("CREATE SCHEMA {}", schema.name)).await;
    schema.run(VERSION_3).await;
    schema
        .run(
            "INSERT INTO user_inbox (user_id, inbox) VALUES ('ann', nextval('inbox_number'));
             INSERT INTO inbox (inbox, user_id, devices) VALUES (1, 'ann', 1);
             INSERT INTO device (inbox, device_id, platform, app, token, token_key, registered_ms)
             VALUES (1, 'phone', 'apns', 'app', 'token', gen_random_uuid(), 1700000000000)",
        )
        .await;
    let store = schema.open().await;
    let ann = user("ann");
    let phone = Device::new(
        ann.clone(),
        DeviceId::new("phone").unwrap(),
        Platform::Apns,
        "app",
        PushToken::new("token".into()).unwrap(),
        now(),
    );
    assert_eq!(store.list_devices(&ann).await.unwrap(), [phone]);
}

#[tokio::test]
async fn a_closed_store_refuses_and_another_reads_what_it_wrote() {
    let schema = TestSchema::new();
    let ann = user("ann");
    let first = schema.open().await;
    first.append(batch("e1", std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    first.close();
    let closed = first.inbox(&ann).await.unwrap_err();
    assert!(closed.is_transient(), "{closed}");
    let second = schema.open().await;
    assert_eq!(second.inbox(&ann).await.unwrap().last_seq, Seq(1));
}

/// The error and all its causes, as they are printed and as `Debug` shows them.
fn shown(error: &(dyn Error + 'static)) -> String {
    format!("{} {error:?}", ErrorChain(error))
}

#[tokio::test]
async fn a_wrong_password_is_said_but_not_shown() {
    let schema = TestSchema::new();
    let mut config = schema.config();
    config.url = config.url.replacen(":tidings@", ":tiger-in-the-tank@", 1);
    assert!(config.url.contains("tiger"), "the URL of the tests has changed its form");
    let error = refusal(config, Migrate::AtStart).await;
    let shown = shown(&error);
    assert!(shown.contains("password authentication failed"), "{shown}");
    assert!(shown.contains("database tidings on"), "{shown}");
    assert!(!shown.contains("tiger"), "{shown}");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named() {
    let url = "postgres://ann:tiger@no-such-host.invalid/app";
    let error = refusal(PostgresConfig::new(url), Migrate::AtStart).await;
    assert!(matches!(error, PostgresOpenError::Unreachable { .. }), "{error}");
    let shown = shown(&error);
    assert!(shown.contains("database app on no-such-host.invalid:5432"), "{shown}");
    assert!(!shown.contains("tiger"), "{shown}");
    let error = refusal(PostgresConfig::new("not a URL, tiger"), Migrate::AtStart).await;
    assert!(matches!(error, PostgresOpenError::Url), "{error}");
}

#[tokio::test]
async fn an_append_that_is_fenced_or_loses_a_lock_leaves_the_numbers_of_inboxes_known() {
    let schema = TestSchema::new();
    let mut config = schema.config();
    config.lock_timeout = Duration::from_millis(100);
    let store = PostgresStore::open(config, Migrate::AtStart).await.unwrap();
    let ann = user("ann");
    store.append(batch("e1", std::slice::from_ref(&ann)).into(), now()).await.unwrap();

    let mut fenced = batch("e2", std::slice::from_ref(&ann));
    let partition = PartitionId { group: "g".into(), topic: "t".into(), partition: 0 };
    fenced.advance(Advance { partition, epoch: Epoch(7), from: None, to: 9 }, now());
    let error = store.append(fenced.into(), now()).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error}");
    let held = schema.hold("SELECT * FROM inbox FOR UPDATE").await;
    let error = store.append(batch("e2", std::slice::from_ref(&ann)).into(), now()).await;
    assert!(error.unwrap_err().is_transient());
    held.let_go().await;

    // Whoever has to look for the inbox now does not find it.
    schema.run("ALTER TABLE user_inbox RENAME TO put_away").await;
    store.append(batch("e2", std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    store.append(batch("e2", &[user("ben")]).into(), now()).await.unwrap_err();
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_and_the_store_goes_on() {
    let schema = TestSchema::new();
    let mut config = schema.config();
    config.lock_timeout = Duration::from_millis(200);
    let store = PostgresStore::open(config, Migrate::AtStart).await.unwrap();
    let ann = user("ann");
    store.append(batch("e1", std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    // Another node that hangs in the middle of an append.
    let held = schema.hold("SELECT * FROM inbox FOR UPDATE").await;
    let error = store.append(batch("e2", std::slice::from_ref(&ann)).into(), now()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(shown(&error).contains("lock timeout"), "{}", shown(&error));
    // Reads do not wait for it.
    assert_eq!(store.inbox(&ann).await.unwrap().last_seq, Seq(1));
    held.let_go().await;
    store.append(batch("e2", std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    assert_eq!(store.inbox(&ann).await.unwrap().last_seq, Seq(2));

    let device = Device::new(
        ann.clone(),
        DeviceId::new("phone").unwrap(),
        Platform::Fcm,
        "app",
        PushToken::new("token".into()).unwrap(),
        now(),
    );
    store.put_device(device).await.unwrap();
    schema.run("ALTER TABLE device RENAME TO elsewhere").await;
    schema.run("CREATE VIEW device AS SELECT e.* FROM elsewhere e, pg_sleep(600)").await;
    let mut config = schema.config();
    config.statement_timeout = Duration::from_millis(500);
    let store = PostgresStore::open(config, Migrate::Never).await.unwrap();
    let error = store.list_devices(&ann).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(shown(&error).contains("statement timeout"), "{}", shown(&error));
    wait_for(&store).await;
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let schema = TestSchema::new();
    let patient = schema.open().await;
    let ann = user("ann");
    patient.append(batch("e1", std::slice::from_ref(&ann)).into(), now()).await.unwrap();
    let mut config = schema.config();
    config.write_connections = 1;
    config.call_timeout = Duration::from_millis(500);
    let store = PostgresStore::open(config, Migrate::Never).await.unwrap();
    let held = schema.hold("SELECT * FROM inbox FOR UPDATE").await;
    let error = store.append(batch("e2", std::slice::from_ref(&ann)).into(), now()).await;
    assert!(error.unwrap_err().is_transient());
    held.let_go().await;
    // The only connection that writes was in the middle of a transaction: there is another now.
    wait_for(&store).await;
    let appended = patient.append(batch("e3", std::slice::from_ref(&ann)).into(), now()).await;
    assert_eq!(appended.unwrap()[0].stored[0].id.seq, Seq(2), "what was given up was rolled back");
}
