//! The same events through a node on SQLite and one on PostgreSQL give the same inboxes.
//!
//! One partition, so that there is one order: each inbox has the same events under the same numbers.

use std::collections::BTreeMap;

use crate::{
    broker::Writer,
    harness::Node,
    scene::{Scene, Setup, StoreKind, start},
    story::Story,
    verify::{assert_exact, inbox, list_dead_letters, until_drained},
};

/// How many records to compare instead of the usual.
const EVENTS: &str = "TIDINGS_DIFFERENTIAL_EVENTS";
const USUAL: usize = 50_000;
const USERS: usize = 200;

fn events() -> usize {
    std::env::var_os(EVENTS).map_or(USUAL, |it| it.into_string().unwrap().parse().unwrap())
}

/// Everything that is stored, as far as the stores may not differ in it.
async fn everything(node: &Node, users: &[String]) -> (BTreeMap<String, Vec<String>>, Vec<i64>) {
    let mut inboxes = BTreeMap::new();
    for user in users {
        inboxes.insert(user.clone(), inbox(node, user).await);
    }
    let letters = list_dead_letters(node).await;
    let offsets = letters.iter().map(|it| it["offset"].as_i64().unwrap()).collect();
    (inboxes, offsets)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_make_the_same_inboxes_of_the_same_events() {
    let (seed, records) = (u64::from(rand::random::<u32>()), events());
    println!("seed {seed}, {records} records");
    let on_postgres = Scene::new(Setup::new(StoreKind::Postgres, 1)).await;
    let topic = on_postgres.topic.clone();
    let on_sqlite = Scene::on_topic(Setup::new(StoreKind::Sqlite, 1), topic, "node-2").await;
    let mut story = Story::new(seed, USERS, 1);
    let users = story.users();
    let mut writer: Writer = on_postgres.writer();
    for _ in 0..records / 1_000 {
        writer.write(&story.take(1_000)).await;
    }
    let mut found = Vec::new();
    // One after the other: both are members of a group of the same name.
    for scene in [&on_postgres, &on_sqlite] {
        let node = start(&scene.site);
        until_drained(&node, &writer.ledger).await;
        assert_exact(&node, &writer.ledger).await;
        found.push(everything(&node, &users).await);
        tokio::task::block_in_place(|| node.stop());
    }
    for user in &users {
        let (one, other) = (found[0].0.get(user), found[1].0.get(user));
        assert!(one == other, "the inbox of {user} differs: {one:?} and {other:?}");
    }
    assert_eq!(found[0].1, found[1].1, "the dead letters");
    println!("{} notifications are the same", writer.ledger.notifications());
    on_postgres.remove().await;
    on_sqlite.remove().await;
}
