//! The rules of the port, with the cache in between.

use std::{ops::Deref, time::Duration};

use tidings_testkit::{
    contract_graph::agree,
    services::{redis_url, unique_name},
};

use crate::{
    around::With,
    scene::{Any, Far, Node, config, shared_config, two_nodes},
};

/// A store and what it needs.
struct Kept<T>(T);

impl Deref for Kept<Node> {
    type Target = tidings_graph::GraphCache;
    fn deref(&self) -> &tidings_graph::GraphCache {
        &self.0
    }
}

impl Deref for Kept<With<Any>> {
    type Target = With<Any>;
    fn deref(&self) -> &With<Any> {
        &self.0
    }
}

async fn open_one_node() -> Kept<Node> {
    Kept(Node::open(Far::open(Duration::ZERO), &config()).await)
}

async fn open_two_nodes() -> Kept<With<Any>> {
    let config = shared_config(&redis_url(), &unique_name("cache"));
    Kept(two_nodes(Far::open(Duration::ZERO), &config).await)
}

async fn open_two_nodes_far_away() -> Kept<With<Any>> {
    let config = shared_config(&redis_url(), &unique_name("cache"));
    Kept(two_nodes(Far::open(Duration::from_micros(500)), &config).await)
}

mod one_node {
    tidings_testkit::graph_contract_tests!(super::open_one_node);
}

mod two_nodes {
    tidings_testkit::graph_contract_tests!(super::open_two_nodes);
}

mod two_nodes_far_away {
    tidings_testkit::graph_contract_tests!(super::open_two_nodes_far_away);
}

#[tokio::test]
async fn two_nodes_and_a_graph_without_a_cache_give_the_same_answers() {
    let (cached, other) = (open_two_nodes().await, Far::open(Duration::ZERO));
    agree(&*cached, other.0.near(), 7, 3_000).await;
}
