//! Everything that can go wrong between nodes, while events are sent to all of them.

use crate::{
    clients::Clients,
    producers::Producers,
    redis::PrivateRedis,
    scene::{Scene, metric, start, until_bus, until_nodes},
};

const USERS: usize = 24;

/// Clients of every user on every node, and producers.
struct Play {
    clients: Clients,
    producers: Producers,
}

impl Play {
    /// Waits until all clients have what has been sent by now.
    async fn catch_up(&self, when: &str) {
        self.producers.until_more(30).await;
        self.clients.until_caught_up(when, &self.producers.told()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_of_every_node_gets_each_once_in_order_whatever_becomes_of_redis_and_a_node() {
    let mut scene = Scene::new(PrivateRedis::start().await, 3, "");
    let mut nodes = scene.start_all();
    until_bus(&nodes, true).await;
    until_nodes(&nodes, 2).await;
    let urls: Vec<_> = nodes.iter().map(|node| node.url().to_owned()).collect();
    let mut clients = Clients::default();
    for user in 0..USERS {
        urls.iter().for_each(|url| clients.connect(url, user));
    }
    let play = Play { clients, producers: Producers::start(&urls, USERS) };
    play.catch_up("while all is well").await;
    let received = metric(&nodes[0], "tidings_bus_received_total").await;
    assert!(received > 0.0, "what other nodes store comes over the bus");

    scene.redis.stop();
    scene.redis.start_again().await;
    until_bus(&nodes, true).await;
    play.catch_up("after a restart of Redis").await;

    scene.redis.freeze();
    until_bus(&nodes, false).await;
    play.catch_up("while Redis is frozen").await;
    scene.redis.thaw();
    until_bus(&nodes, true).await;
    play.catch_up("after Redis was frozen").await;

    scene.redis.tell("FLUSHALL");
    play.catch_up("after Redis was flushed").await;
    scene.redis.cut_off_subscribers(3);
    play.catch_up("after Redis cut the nodes off").await;
    until_bus(&nodes, true).await;

    nodes.remove(1).kill();
    play.producers.until_more(30).await;
    nodes.insert(1, start(&scene.sites[1]));
    play.catch_up("after a node was killed and started again").await;

    scene.redis.kill();
    until_bus(&nodes, false).await;
    play.catch_up("without Redis").await;
    scene.redis.start_again().await;
    until_bus(&nodes, true).await;
    until_nodes(&nodes, 2).await;
    play.catch_up("with Redis again").await;

    let told = play.producers.finish().await;
    play.clients.expect(&told).await;
    nodes.into_iter().for_each(|node| tokio::task::block_in_place(|| node.stop()));
    scene.remove().await;
}
