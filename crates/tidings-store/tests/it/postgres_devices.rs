//! Devices that are registered on several nodes at once.

use std::time::{Duration, Instant};

use tidings_core::{
    device::{Device, Platform, PushToken},
    ids::{DeviceId, UserId},
    ports::DeviceStore,
};
use tidings_store::{Migrate, PostgresStore};

use crate::{
    directory::{now, user},
    postgres_open::TestSchema,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn device(user: &UserId, token: &str) -> Device {
    Device::new(
        user.clone(),
        DeviceId::new("phone").unwrap(),
        Platform::Fcm,
        "app",
        PushToken::new(token.to_owned()).unwrap(),
        now(),
    )
}

#[tokio::test]
async fn a_token_that_another_node_registers_meanwhile_is_counted_where_it_ends() {
    let schema = TestSchema::new();
    let mut config = schema.config();
    config.application_name.clone_from(&schema.name);
    let slow = PostgresStore::open(config, Migrate::AtStart).await.unwrap();
    let other = schema.open().await;
    let (ann, ben) = (user("ann"), user("ben"));
    slow.put_device(device(&ann, "before")).await.unwrap();
    other.put_device(device(&ben, "of-ben")).await.unwrap();

    // Ann's node has looked who has the token, and waits for her inbox.
    let held = schema.hold("SELECT * FROM inbox WHERE user_id = 'ann' FOR UPDATE").await;
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE application_name = '{}' AND wait_event_type = 'Lock'",
        schema.name
    );
    let overtake = async {
        let started = Instant::now();
        while schema.number(&waits).await == 0 {
            assert!(started.elapsed() < PATIENCE, "nobody waits for the inbox");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.put_device(device(&ben, "token")).await.unwrap();
        held.let_go().await;
    };
    let (put, ()) = tokio::join!(slow.put_device(device(&ann, "token")), overtake);
    put.unwrap();

    assert_eq!(slow.list_devices(&ann).await.unwrap(), [device(&ann, "token")]);
    assert!(slow.list_devices(&ben).await.unwrap().is_empty());
    let miscounted = "SELECT count(*) FROM inbox i WHERE i.devices <> \
                      (SELECT count(*) FROM device d WHERE d.inbox = i.inbox)";
    assert_eq!(schema.number(miscounted).await, 0);
}
