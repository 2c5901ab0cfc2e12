//! Nodes that join, leave and die while the others work, all on one database.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    broker::Stream,
    harness::{Node, Site},
    ledger::Ledger,
    process::signal,
    proxy::{Direction, FaultProxy},
    scene::{Scene, Setup, StoreKind, start},
    story::Story,
    until::until,
    verify::{assert_exact, part, positions, records_done, until_drained},
};

const NODES: usize = 3;
/// Times that a node joins or leaves.
const CHANGES: usize = 9;
const PARTITIONS: i32 = 6;

/// Three places for nodes, some of them taken.
struct Cluster {
    sites: Vec<Site>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// The place of a node that runs; starts one if none does.
    fn any(&mut self) -> &Node {
        let taken = self.nodes.iter().position(Option::is_some).unwrap_or(0);
        let site = &self.sites[taken];
        self.nodes[taken].get_or_insert_with(|| start(site))
    }

    /// Lets a node join in this place, or leave it: in good order, or at once.
    fn change(&mut self, place: usize, random: &mut StdRng) {
        match self.nodes[place].take() {
            None => self.nodes[place] = Some(start(&self.sites[place])),
            Some(node) if random.random_bool(0.5) => {
                tokio::task::block_in_place(|| node.stop());
            }
            Some(node) => node.kill(),
        }
    }

    async fn until_some_more(&mut self, records: i64) {
        let node = self.any();
        let before = records_done(node).await;
        until("some more records are stored", async || {
            records_done(node).await >= before + records
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_leave_and_die_share_the_work_without_doing_any_twice() {
    let seed = u64::from(rand::random::<u32>());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let scene = Scene::new(Setup::new(StoreKind::Postgres, PARTITIONS)).await;
    let sites: Vec<_> = (0..NODES).map(|_| scene.another_site("")).collect();
    let mut cluster = Cluster { nodes: sites.iter().map(|_| None).collect(), sites };
    let stream = Stream::start(scene.writer(), Story::new(seed, 60, PARTITIONS), 800);
    for _ in 0..CHANGES {
        cluster.change(random.random_range(0..NODES), &mut random);
        cluster.until_some_more(random.random_range(1..1_000)).await;
    }
    let (writer, _) = stream.stop().await;
    finish(&mut cluster, &writer.ledger).await;
    scene.remove().await;
}

async fn finish(cluster: &mut Cluster, ledger: &Ledger) {
    let node = cluster.any();
    until_drained(node, ledger).await;
    assert_exact(node, ledger).await;
    for node in cluster.nodes.drain(..).flatten() {
        tokio::task::block_in_place(|| node.stop());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_frozen_and_wakes_up_after_it_lost_its_partitions_stores_nothing() {
    const FENCED: &str = "claims of the batch were taken over by others";
    let scene = Scene::new(Setup::new(StoreKind::Postgres, 2)).await;
    let stream = Stream::start(scene.writer(), Story::new(7, 20, 2), 1_000);
    let proxy = FaultProxy::start(scene.postgres_address()).await;
    let first_site = Site::new(&scene.toml_through(&proxy.address.to_string(), ""));
    let first = start(&first_site);
    let other_site = scene.another_site("");
    for round in 1..=2 {
        let before = records_done(&first).await;
        until("the first one stores", async || records_done(&first).await > before + 500).await;
        // It is frozen with a transaction that has not reached the database.
        proxy.hold_at(Direction::Up, b"BEGIN\0", 2);
        proxy.caught().await;
        signal(first.id(), "STOP");
        // The group notices after the session timeout, and the other takes over.
        let other = start(&other_site);
        until("the other one stores", async || {
            let before = records_done(&other).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            records_done(&other).await > before + 100
        })
        .await;
        proxy.release();
        let taken = positions(&other).await.unwrap();
        signal(first.id(), "CONT");
        until("its transaction is refused", async || {
            first_site.log().matches(FENCED).count() >= round
        })
        .await;
        let now = positions(&other).await.unwrap();
        assert!(taken.iter().all(|(partition, at)| now[partition] >= *at), "{taken:?} {now:?}");
        let before = records_done(&other).await;
        until("both go on", async || records_done(&other).await > before + 2_000).await;
        tokio::task::block_in_place(|| other.stop());
    }
    let (writer, _) = stream.stop().await;
    until_drained(&first, &writer.ledger).await;
    assert_exact(&first, &writer.ledger).await;
    tokio::task::block_in_place(|| first.stop());
    scene.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_the_same_static_id_one_ends_says_so_and_nothing_is_told_twice() {
    let scene = Scene::new(Setup::new(StoreKind::Postgres, 2)).await;
    let stream = Stream::start(scene.writer(), Story::new(8, 20, 2), 500);
    let first = scene.start();
    until("the first one stores", async || records_done(&first).await > 500).await;
    let other_site = scene.another_site("node-1");
    let other = start(&other_site);
    until("one of them says why it reads no more", async || {
        let mut said = false;
        for node in [&first, &other] {
            let kafka = part(node, "kafka").await.unwrap_or_default();
            said |= kafka["up"] == false && kafka.to_string().contains("instance_id");
        }
        said
    })
    .await;
    let before = records_done(&other).await;
    until("the other goes on", async || records_done(&other).await > before + 500).await;
    let (writer, _) = stream.stop().await;
    until_drained(&other, &writer.ledger).await;
    assert_exact(&other, &writer.ledger).await;
    for node in [first, other] {
        tokio::task::block_in_place(|| node.stop());
    }
    scene.remove().await;
}
