//! Several nodes on one graph.

use tidings_core::{
    follow::EdgeKind,
    ports::{GraphError, SocialGraphStore},
};
use tidings_graph::Neo4jGraphStore;
use tokio::task::JoinSet;

use std::{collections::HashSet, sync::Arc};

use crate::harness::{Claim, at, claim, config, export, followers, user};

/// Two nodes that share an empty graph.
async fn two_nodes() -> (Claim, [Arc<Neo4jGraphStore>; 2]) {
    let claim = claim().await;
    let one = Neo4jGraphStore::open(config(&claim)).await.unwrap();
    let other = Neo4jGraphStore::open(config(&claim)).await.unwrap();
    assert_eq!(one.id(), other.id(), "it is one graph");
    (claim, [Arc::new(one), Arc::new(other)])
}

/// Makes fans follow the hub, in this order; gives those of whom it was new.
async fn follow_all(node: Arc<Neo4jGraphStore>, fans: Vec<i64>) -> Vec<i64> {
    let mut new = Vec::new();
    for fan in fans {
        let id = user(&format!("fan{fan}"));
        if node.add_follow(&id, &user("hub"), at(fan)).await.unwrap() {
            new.push(fan);
        }
    }
    new
}

/// Follows, blocks and unblocks at random among a few users.
async fn follow_and_block(node: Arc<Neo4jGraphStore>, seed: usize) {
    let mut random = seed.wrapping_mul(0x9e37_79b9);
    for step in 0..60 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let [a, b] = [random >> 33, random >> 37].map(|it| user(&format!("u{}", it % 6)));
        if a == b {
            continue;
        }
        match (random >> 41) % 4 {
            0 | 1 => match node.add_follow(&a, &b, at(step)).await {
                Ok(_) | Err(GraphError::Blocked) => {}
                Err(error) => panic!("{error:?}"),
            },
            2 => drop(node.add_block(&a, &b, at(step)).await.unwrap()),
            _ => drop(node.remove_block(&a, &b).await.unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_write_the_same_edges_one_is_told_that_it_is_new() {
    let (_claim, nodes) = two_nodes().await;
    let mut tasks = JoinSet::new();
    for (n, node) in nodes.iter().enumerate() {
        for task in 0..4 {
            // From both ends, so that they meet in the middle.
            let steps = (0..60).map(move |step| if n == 0 { step } else { 59 - step });
            tasks.spawn(follow_all(Arc::clone(node), steps.map(|it| it * 4 + task).collect()));
        }
    }
    let mut new: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    new.sort_unstable();
    assert_eq!(new, (0..240).collect::<Vec<_>>(), "each edge was new exactly once");
    let [one, other] = &nodes;
    let listed = followers(&**one, &user("hub")).await;
    assert_eq!(listed.len(), 240);
    assert_eq!(followers(&**other, &user("hub")).await, listed, "both read the same order");
    assert_eq!(one.counts(&user("hub")).await.unwrap().followers, 240);
    assert_eq!(other.stats().await.unwrap().follows, 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_one_node_is_good_at_the_other() {
    let (_claim, [one, other]) = two_nodes().await;
    let hub = user("hub");
    for n in 0..7 {
        one.add_follow(&user(&format!("u{n}")), &hub, at(n)).await.unwrap();
    }
    let first = one.get_followers(&hub, None, 3).await.unwrap();
    other.add_follow(&user("late"), &hub, at(9)).await.unwrap();
    let rest = other.get_followers(&hub, first.next.as_ref(), 9).await.unwrap();
    let names: Vec<_> = rest.items.iter().map(|it| it.follower.to_string()).collect();
    assert_eq!(names, ["u3", "u2", "u1", "u0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_follow_is_left_beside_a_block_whichever_node_made_them() {
    let (_claim, nodes) = two_nodes().await;
    let mut tasks = JoinSet::new();
    for (n, node) in nodes.iter().enumerate() {
        for task in 0..4 {
            tasks.spawn(follow_and_block(Arc::clone(node), n * 4 + task + 1));
        }
    }
    tasks.join_all().await;
    let edges = export(&*nodes[0], 17).await;
    let of_kind = |kind| {
        let edges = edges.iter().filter(move |edge| edge.kind == kind);
        edges.map(|edge| (edge.source.clone(), edge.target.clone())).collect::<Vec<_>>()
    };
    let (follows, blocks) = (of_kind(EdgeKind::Follow), of_kind(EdgeKind::Block));
    let distinct: HashSet<_> = follows.iter().collect();
    assert_eq!(distinct.len(), follows.len(), "an edge is there once");
    for (a, b) in blocks {
        assert!(!distinct.contains(&(a.clone(), b.clone())), "{a} follows {b} past a block");
        assert!(!distinct.contains(&(b.clone(), a.clone())), "{b} follows {a} past a block");
    }
    let stats = nodes[1].stats().await.unwrap();
    assert_eq!(stats.follows, follows.len() as u64);
}
