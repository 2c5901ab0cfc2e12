//! Follows that come as records: each is made or ended in the order of its partition, and tells once,
//! however often the node is killed on the way.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::{
    scene::{Scene, Setup, StoreKind, start},
    story::Draft,
    verify::{assert_exact, until_drained},
};

const FOLLOWERS: usize = 20;
const CHANGES: usize = 3_000;
const KILLS: usize = 3;
const SECTIONS: &str = "
[follow_events]
follow_type = \"follow\"
unfollow_type = \"unfollow\"
";

fn follower(number: usize) -> String {
    format!("f{number}")
}

/// Follows and unfollows of one user by some, each in an order that ends as the map says.
fn changes(random: &mut StdRng) -> (Vec<Draft>, BTreeMap<String, bool>) {
    let mut follows = BTreeMap::new();
    let mut drafts = Vec::new();
    for n in 0..CHANGES {
        let follower = follower(random.random_range(0..FOLLOWERS));
        let is_follow = random.random_bool(0.5);
        let (id, kind) = (format!("c{n}"), if is_follow { "follow" } else { "unfollow" });
        let event = json!({
            "id": id, "source": "app", "type": kind, "actor": follower,
            "audience": {"users": ["star"]}, "title": "someone follows you",
        });
        let users = if is_follow { vec!["star".to_owned()] } else { Vec::new() };
        drafts.push(Draft::telling(&id, &users, event.to_string()));
        follows.insert(follower, is_follow);
    }
    (drafts, follows)
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_that_come_as_records_end_as_their_order_says_after_any_kill() {
    let seed = u64::from(rand::random::<u32>());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut setup = Setup::new(StoreKind::Sqlite, 1);
    setup.sections = SECTIONS.to_owned();
    let scene = Scene::new(setup).await;
    let (drafts, follows) = changes(&mut random);
    let mut writer = scene.writer();
    let mut node = scene.start();
    for part in drafts.chunks(CHANGES / KILLS) {
        writer.write(part).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        node.kill();
        node = start(&scene.site);
    }
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    for (follower, is_following) in &follows {
        let question = json!({"follower": follower, "followees": ["star"]}).to_string();
        let answer = node.post("/v1/graph/check", question).await.expect(200);
        assert_eq!(answer["following"], json!([is_following]), "seed {seed}, {follower}");
    }
    let followers = follows.values().filter(|is_following| **is_following).count();
    let counts = node.get("/v1/users/star/counts").await.expect(200);
    assert_eq!(counts, json!({"followers": followers, "following": 0}), "seed {seed}");
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}
