//! `kill -9` at named moments, on PostgreSQL: a proxy sees them pass.

use std::net::SocketAddr;

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

async fn proxy_before(scene: &Scene) -> FaultProxy {
    let url = &scene.database.as_ref().unwrap().url;
    let address = url.rsplit_once('@').unwrap().1.split('/').next().unwrap();
    FaultProxy::start(address.parse::<SocketAddr>().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_transaction_a_node_loses_nothing_and_tells_nobody_twice() {
    let seed = u64::from(rand::random::<u32>());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::new(Setup::new(StoreKind::Postgres, 3)).await;
    let proxy = proxy_before(&scene).await;
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
    let mut staying: Option<(Site, Node)> = None;
    for _ in 0..3 {
        let (site, node) = match staying.take() {
            Some(staying) => staying,
            None => {
                let site = scene.another_site("");
                let node = start(&site);
                (site, node)
            }
        };
        let before = records_done(&node).await;
        until("it stores", async || records_done(&node).await > before + 500).await;
        let revoked = revocations(&site);
        // Another joins, and this one has to give some of its partitions away.
        let other_site = scene.another_site("");
        let other = start(&other_site);
        until("partitions are taken from it", async || revocations(&site) > revoked).await;
        node.kill();
        staying = Some((other_site, other));
    }
    let (_site, node) = staying.unwrap();
    let (writer, _) = stream.stop().await;
    until_drained(&node, &writer.ledger).await;
    assert_exact(&node, &writer.ledger).await;
    tokio::task::block_in_place(|| node.stop());
    scene.remove().await;
}
