//! Room that is used again, and sweeps over what is large, slow or broken.

use std::time::Duration;

use tidings_core::{
    device::{Device, Platform, PushToken},
    ids::DeviceId,
    ports::{Cutoffs, DeviceStore, NotificationStore, RetentionStore},
};
use tidings_store::{Migrate, PostgresStore};

use crate::{
    directory::{batch, now, user},
    postgres_open::TestSchema,
};

const GENERATIONS: u64 = 6;
const EVENTS: usize = 40;

async fn forget_before(store: &PostgresStore, generation: u64) {
    let cutoff = now().after(Duration::from_secs(generation));
    let cutoffs = Cutoffs { notifications: Some(cutoff), ..Cutoffs::default() };
    while !store.forget(cutoffs, 500).await.unwrap().complete {}
}

#[tokio::test]
async fn what_is_forgotten_makes_room_for_what_comes() {
    let schema = TestSchema::new();
    let store = schema.open().await;
    let users: Vec<_> = (0..25).map(|n| user(&format!("u{n}"))).collect();
    let mut sizes = Vec::new();
    for generation in 0..GENERATIONS {
        for number in 0..EVENTS {
            let told = batch(&format!("g{generation}-{number}"), &users);
            let at = now().after(Duration::from_secs(generation));
            store.append(told.into(), at).await.unwrap();
        }
        forget_before(&store, generation).await;
        // What autovacuum does when its time has come, by the settings of the tables.
        schema.run("VACUUM event_key, event, notification, inbox").await;
        let size = "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables \
                    WHERE schemaname = current_schema()";
        sizes.push(schema.number(size).await);
        let kept = schema.number("SELECT count(*) FROM notification").await;
        assert_eq!(kept, i64::try_from(EVENTS * users.len()).unwrap());
    }
    // Two generations at once is the most that there is; from then on it does not grow, but for the
    // page or two that each of the partitions may be out by.
    let (settled, last) = (sizes[2], sizes[sizes.len() - 1]);
    assert!(last <= settled + settled / 4, "it grows: {sizes:?}");
}

/// Puts a view in the place of the notifications, and has `body` run for each row that is read. It is
/// cheap in the eyes of the planner: it comes before any other condition.
async fn watch_notifications(schema: &TestSchema, body: &str) {
    let statements = format!(
        "CREATE SEQUENCE reads; \
         CREATE FUNCTION read_one(inbox bigint) RETURNS boolean VOLATILE COST 0.0001 \
         LANGUAGE plpgsql AS $$ BEGIN {body} RETURN true; END $$; \
         ALTER TABLE notification RENAME TO stored; \
         CREATE VIEW notification AS SELECT * FROM stored WHERE read_one(inbox)"
    );
    schema.run(&statements).await;
}

/// All that was told up to now.
fn all_old() -> Cutoffs {
    let cutoff = Some(now().after(Duration::from_secs(1)));
    Cutoffs { notifications: cutoff, ..Cutoffs::default() }
}

async fn tell(store: &PostgresStore, users: usize, events: usize) {
    let users: Vec<_> = (0..users).map(|n| user(&format!("u{n}"))).collect();
    for number in 0..events {
        store.append(batch(&format!("e{number}"), &users).into(), now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_piece_of_a_sweep_reads_little_more_than_it_removes() {
    const ROWS: usize = 50;
    let schema = TestSchema::new();
    let store = schema.open().await;
    tell(&store, 200, 60).await;
    watch_notifications(&schema, "PERFORM nextval('reads');").await;
    let store = schema.open().await;
    let forgotten = store.forget(all_old(), ROWS).await.unwrap();
    assert_eq!(forgotten.notifications, ROWS as u64);
    let read = schema.number("SELECT last_value FROM reads").await;
    assert!(read < 2_500, "{read} rows were read to remove {ROWS}");
}

#[tokio::test]
async fn a_sweep_that_takes_too_long_goes_on_in_smaller_pieces() {
    const EVENTS: usize = 400;
    let schema = TestSchema::new();
    tell(&schema.open().await, 1, EVENTS).await;
    watch_notifications(&schema, "PERFORM pg_sleep(0.002);").await;
    let mut config = schema.config();
    config.statement_timeout = Duration::from_millis(400);
    let store = PostgresStore::open(config, Migrate::Never).await.unwrap();
    let (mut removed, mut failures) = (0, 0);
    for _ in 0..200 {
        match store.forget(all_old(), EVENTS).await {
            Ok(forgotten) => removed += forgotten.notifications,
            Err(_) => failures += 1,
        }
        if removed == EVENTS as u64 {
            break;
        }
    }
    assert_eq!(removed, EVENTS as u64, "{failures} failures");
    assert!(failures > 0, "it was to take too long");
}

#[tokio::test]
async fn a_sweep_leaves_what_always_fails_and_comes_to_the_rest() {
    let schema = TestSchema::new();
    let store = schema.open().await;
    tell(&store, 3, 2).await;
    let old = Device::new(
        user("u0"),
        DeviceId::new("phone").unwrap(),
        Platform::Fcm,
        "app",
        PushToken::new("token".to_owned()).unwrap(),
        now(),
    );
    store.put_device(old).await.unwrap();
    watch_notifications(&schema, "RAISE EXCEPTION 'broken';").await;
    let store = schema.open().await;
    let cutoffs = Cutoffs { devices: all_old().notifications, ..all_old() };
    let mut devices = 0;
    for _ in 0..100 {
        if let Ok(forgotten) = store.forget(cutoffs, 2_000).await {
            devices += forgotten.devices;
            if forgotten.complete {
                break;
            }
        }
    }
    assert_eq!(devices, 1);
    // The next sweep begins with what failed.
    schema.run("DROP VIEW notification; ALTER TABLE stored RENAME TO notification").await;
    let forgotten = store.forget(cutoffs, 2_000).await.unwrap();
    assert_eq!(forgotten.notifications, 6);
}
