//! `kill -9` at named moments, on PostgreSQL: a proxy sees them pass.

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    broker::Stream,
    harness::{Node, Site},
    process::signal,
    proxy::{Direction, FaultProxy},
    scene::{Scene, Setup, StoreKind, start},
    story::Story,
    until::until,
    verify::{assert_exact, records_done, until_drained},
};

/// Names of moments, and what of PostgreSQL's protocol passes then.
const MOMENTS: [(&str, Direction, &[u8]); 3] = [
    ("after poll, before the transaction", Direction::Up, b"BEGIN\0"),
    ("after the rows and the position, before the commit", Direction::Up, b"COMMIT\0"),
    ("after the commit, before anybody knows", Direction::Down, b"COMMIT\0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_transaction_a_node_loses_nothing_and_tells_nobody_twice() {
    let seed = u64::from(rand::random::<u32>());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::new(Setup::new(StoreKind::Postgres, 3)).await;
    let proxy = FaultProxy::start(scene.postgres_address()).await;
    let site = Site::new(&scene.toml_through(&proxy.address.to_string(), "node-1"));
    let stream = Stream::start(scene.writer(), Story::new(seed, 30, 3), 1_000);
    for (name, direction, word) in MOMENTS.into_iter().chain(MOMENTS) {
        let node = start(&site);
        let nth = random.random_range(1..20);
        proxy.hold_at(direction, word, nth);
        proxy.caught().await;
        node.kill();
        // The server rolls back what was not committed.
        proxy.cut();
        println!("killed {name}, the {nth}th time");
    }
    // In the drain: told to stop, and killed at its last commit or after it.
    for direction in [Direction::Up, Direction::Down] {
        let node = start(&site);
        let before = records_done(&node).await;
        until("some records are stored", async || records_done(&node).await > before).await;
        proxy.hold_at(direction, b"COMMIT\0", 1);
        signal(node.id(), "TERM");
        proxy.caught().await;
        node.kill();
        proxy.cut();
    }
    let (writer, _) = stream.stop().await;
    let node = start(&scene.site);
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}

/// How often the node's log says that partitions were taken from it.
fn revocations(site: &Site) -> usize {
    site.log().matches("partitions are taken from this node").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_revocation_of_its_partitions_a_node_leaves_nothing_half_done() {
    let scene = Scene::new(Setup::new(StoreKind::Postgres, 4)).await;
    let stream = Stream::start(scene.writer(), Story::new(31, 30, 4), 1_000);
    let mut staying: Option<Node> = None;
    for direction in [Direction::Up, Direction::Down, Direction::Up] {
        let proxy = FaultProxy::start(scene.postgres_address()).await;
        let site = Site::new(&scene.toml_through(&proxy.address.to_string(), ""));
        let node = start(&site);
        let before = records_done(&node).await;
        until("it stores", async || records_done(&node).await > before + 200).await;
        if let Some(earlier) = staying.take() {
            tokio::task::block_in_place(|| earlier.stop());
        }
        // A commit is under way, or its answer, when another joins and takes some of the partitions.
        proxy.hold_at(direction, b"COMMIT\0", 3);
        proxy.caught().await;
        let revoked = revocations(&site);
        let other = start(&scene.another_site(""));
        until("partitions are taken from it", async || revocations(&site) > revoked).await;
        node.kill();
        proxy.cut();
        staying = Some(other);
    }
    let node = staying.unwrap();
    let (writer, _) = stream.stop().await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}
