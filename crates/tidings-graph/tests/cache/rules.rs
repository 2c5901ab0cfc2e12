//! What is kept, for whom, and what ends it.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures_util::future::join_all;
use tidings_core::{
    follow::{Edge, EdgeKind, FollowCounts, Hidden},
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
};
use tidings_graph::GraphCacheConfig;
use tidings_testkit::services::{redis_url, unique_name};
use tokio::time::{sleep, timeout};

use crate::{
    around::With,
    scene::{Far, Node, config, now, patient_config, until, user},
};

/// Every question that can be kept, about users who may be unknown.
async fn ask_everything(graph: &dyn SocialGraphStore, one: &UserId, other: &UserId) {
    graph.counts(one).await.unwrap();
    graph.is_following(one, other).await.unwrap();
    graph.are_following(one, &[other.clone(), one.clone()]).await.unwrap();
    graph.hidden_from(one, std::slice::from_ref(other)).await.unwrap();
    graph.get_followers(one, None, 5).await.unwrap();
    graph.get_following(one, None, 5).await.unwrap();
    graph.get_mutual_follows(one, None, 5).await.unwrap();
    graph.get_common_follows(one, other, None, 5).await.unwrap();
    graph.get_followers_you_know(one, other, None, 5).await.unwrap();
    graph.list_blocks(one, None, 5).await.unwrap();
    graph.list_mutes(one, None, 5).await.unwrap();
}

async fn counts_of(graph: &dyn SocialGraphStore, id: &str) -> (u64, u64) {
    let FollowCounts { followers, following } = graph.counts(&user(id)).await.unwrap();
    (followers, following)
}

async fn follow(graph: &dyn SocialGraphStore, follower: &str, followee: &str) {
    graph.add_follow(&user(follower), &user(followee), now()).await.unwrap();
}

fn fresh_redis() -> GraphCacheConfig {
    patient_config(&redis_url(), &unique_name("cache"))
}

/// A far store and two nodes before it, which share a Redis.
async fn two_nodes() -> (Arc<With<Far>>, Node, Node) {
    let (far, config) = (Far::open(Duration::ZERO), fresh_redis());
    let [one, two] = [(); 2].map(|()| Node::start(Arc::clone(&far) as _, &config));
    one.is_open().await;
    two.is_open().await;
    (far, one, two)
}

#[tokio::test]
async fn what_was_answered_is_not_asked_again_also_if_it_was_nothing() {
    let [ann, ben] = ["ann", "ben"].map(user);
    for config in [config(), fresh_redis()] {
        let far = Far::open(Duration::ZERO);
        let node = Node::open(Arc::clone(&far) as _, &config).await;
        ask_everything(&*node, &ann, &ben).await;
        assert_eq!(far.0.take_reads(), 9, "one for each question, and one for all of following");
        ask_everything(&*node, &ann, &ben).await;
        assert_eq!(far.0.take_reads(), 0);
    }
}

#[tokio::test]
async fn what_one_node_was_answered_serves_the_other() {
    let (far, one, two) = two_nodes().await;
    let [ann, ben] = ["ann", "ben"].map(user);
    follow(&*one, "ann", "ben").await;
    ask_everything(&*one, &ann, &ben).await;
    far.0.take_reads();
    // What was answered is on its way to Redis.
    until("the other node finds it all", async || {
        ask_everything(&*two, &ann, &ben).await;
        far.0.take_reads() == 0
    })
    .await;
    assert_eq!(counts_of(&*two, "ann").await, (0, 1));
}

#[tokio::test]
async fn a_write_ends_what_it_changes_on_all_nodes_and_nothing_else() {
    let (far, one, two) = two_nodes().await;
    for id in ["ann", "ben", "cem"] {
        assert_eq!(counts_of(&*one, id).await, (0, 0));
        assert_eq!(counts_of(&*two, id).await, (0, 0));
    }
    follow(&*one, "ann", "ben").await;
    for node in [&one, &two] {
        far.0.take_reads();
        assert_eq!(counts_of(&**node, "cem").await, (0, 0));
        assert_eq!(far.0.take_reads(), 0, "cem has nothing to do with it");
        assert_eq!(counts_of(&**node, "ann").await, (0, 1));
        assert_eq!(counts_of(&**node, "ben").await, (1, 0));
        assert!(node.is_following(&user("ann"), &user("ben")).await.unwrap());
    }
    two.add_block(&user("ben"), &user("ann"), now()).await.unwrap();
    assert!(!one.is_following(&user("ann"), &user("ben")).await.unwrap());
    assert_eq!(counts_of(&*one, "ann").await, (0, 0));
    for (actor, other) in [("ann", "ben"), ("ben", "ann")] {
        let hidden = one.hidden_from(&user(actor), &[user(other)]).await.unwrap();
        assert_eq!(hidden, Hidden::Those(vec![true]));
    }
    one.remove_block(&user("ben"), &user("ann")).await.unwrap();
    let hidden = two.hidden_from(&user("ann"), &[user("ben")]).await.unwrap();
    assert_eq!(hidden, Hidden::Nobody);
}

#[tokio::test]
async fn an_import_ends_what_it_changes() {
    let (_far, one, two) = two_nodes().await;
    let edge = |kind, source: &str, target: &str| Edge {
        kind,
        source: user(source),
        target: user(target),
        at: now(),
    };
    let mut edges: Vec<_> =
        (0..1_500).map(|n| edge(EdgeKind::Follow, &format!("u{n}"), "hub")).collect();
    edges.push(edge(EdgeKind::Block, "hub", "u1400"));
    edges.push(edge(EdgeKind::Mute, "u7", "hub"));
    for id in ["u1400", "u7", "u1499", "hub"] {
        assert_eq!(counts_of(&*two, id).await, (0, 0));
    }
    let asked = ["u1400", "u7", "u8"].map(user);
    assert_eq!(two.hidden_from(&user("hub"), &asked).await.unwrap(), Hidden::Nobody);
    one.import_edges(edges).await.unwrap();
    assert_eq!(counts_of(&*two, "hub").await, (1_499, 0));
    assert_eq!(counts_of(&*two, "u1400").await, (0, 0));
    assert_eq!(counts_of(&*two, "u1499").await, (0, 1));
    let hidden = two.hidden_from(&user("hub"), &asked).await.unwrap();
    assert_eq!(hidden, Hidden::Those(vec![true, true, false]));
}

#[tokio::test]
async fn a_thousand_who_miss_at_once_ask_the_store_once() {
    for config in [config(), fresh_redis()] {
        let far = Far::open(Duration::from_millis(40));
        let node = Node::open(Arc::clone(&far) as _, &config).await;
        let ann = user("ann");
        let answers = join_all((0..1_000).map(|_| node.get_followers(&ann, None, 50))).await;
        assert!(answers.into_iter().all(|page| page.unwrap().items.is_empty()));
        assert_eq!(far.0.take_reads(), 1);
    }
}

#[tokio::test]
async fn a_cancelled_question_is_asked_by_the_next_and_a_failed_one_is_not_kept() {
    let far = Far::open(Duration::from_millis(100));
    let node = Node::open(Arc::clone(&far) as _, &fresh_redis()).await;
    let ann = user("ann");
    let cancelled = timeout(Duration::from_millis(1), node.counts(&ann));
    let others = join_all((0..100).map(|_| node.counts(&ann)));
    let (cancelled, others) = tokio::join!(cancelled, others);
    assert!(cancelled.is_err());
    assert!(others.into_iter().all(|counts| counts.is_ok()));
    assert!(far.0.take_reads() <= 2);
    far.0.refuses_reads.store(true, SeqCst);
    let ben = user("ben");
    for failed in join_all((0..100).map(|_| node.counts(&ben))).await {
        assert!(matches!(failed, Err(GraphError::Unavailable { .. })));
    }
    far.0.refuses_reads.store(false, SeqCst);
    assert_eq!(counts_of(&*node, "ben").await, (0, 0));
}

#[tokio::test]
async fn a_write_whose_end_nobody_knows_keeps_its_lists_out_of_the_cache() {
    for config in [config(), fresh_redis()] {
        let far = Far::open(Duration::ZERO);
        let node = Node::open(Arc::clone(&far) as _, &config).await;
        assert_eq!(counts_of(&*node, "ben").await, (0, 0));
        far.0.loses_answers.store(true, SeqCst);
        let lost = node.add_follow(&user("ann"), &user("ben"), now()).await;
        assert!(matches!(lost, Err(GraphError::Unavailable { .. })));
        assert_eq!(counts_of(&*node, "ben").await, (1, 0), "it has been done");
        // Until the lease is over it may still be done: here, once more.
        far.0.near().remove_follow(&user("ann"), &user("ben")).await.unwrap();
        assert_eq!(counts_of(&*node, "ben").await, (0, 0));
        until("the answer is kept again", async || {
            counts_of(&*node, "ben").await;
            far.0.take_reads();
            assert_eq!(counts_of(&*node, "ben").await, (0, 0));
            far.0.take_reads() == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_write_that_is_cancelled_or_whose_node_dies_is_seen() {
    let config = fresh_redis();
    let far = Far::open(Duration::ZERO);
    let [one, two] = [(); 2].map(|()| Node::start(Arc::clone(&far) as _, &config));
    one.is_open().await;
    two.is_open().await;
    assert_eq!(counts_of(&*two, "ben").await, (0, 0));
    far.0.holds_answers.store(true, SeqCst);
    let (ann, ben) = (user("ann"), user("ben"));
    {
        let mut write = std::pin::pin!(one.add_follow(&ann, &ben, now()));
        let done = async || far.0.near().is_following(&ann, &ben).await.unwrap();
        let done = until("the store has it", done);
        tokio::select! {
            _ = &mut write => panic!("it has no answer"),
            () = done => {}
        }
    }
    one.kill();
    far.0.holds_answers.store(false, SeqCst);
    for _ in 0..50 {
        assert_eq!(counts_of(&*two, "ben").await, (1, 0));
        sleep(Duration::from_millis(60)).await;
    }
    two.is_open().await;
    until("it is kept again", async || {
        far.0.take_reads();
        assert_eq!(counts_of(&*two, "ben").await, (1, 0));
        far.0.take_reads() == 0
    })
    .await;
}

#[tokio::test]
async fn what_was_in_use_is_asked_anew_before_anybody_does() {
    let (far, one, _two) = two_nodes().await;
    for _ in 0..2 {
        counts_of(&*one, "ben").await;
        one.get_followers(&user("ben"), None, 20).await.unwrap();
    }
    // Asked for once, and used by nobody since.
    counts_of(&*one, "ann").await;
    far.0.take_reads();
    follow(&*one, "ann", "ben").await;
    let mut asked = 0;
    until("it is asked anew", async || {
        asked += far.0.take_reads();
        asked == 2
    })
    .await;
    until("it is kept", async || {
        assert_eq!(counts_of(&*one, "ben").await, (1, 0));
        let page = one.get_followers(&user("ben"), None, 20).await.unwrap();
        assert_eq!(page.items.len(), 1);
        far.0.take_reads() == 0
    })
    .await;
    assert_eq!(counts_of(&*one, "ann").await, (0, 1));
    assert_eq!(far.0.take_reads(), 1, "nobody had used it");
}

#[tokio::test]
async fn a_node_that_starts_asks_what_is_asked_most() {
    let mut config = fresh_redis();
    config.warm_up_questions = 3;
    let far = Far::open(Duration::ZERO);
    let node = Node::open(Arc::clone(&far) as _, &config).await;
    for round in 0..400 {
        for id in ["ann", "ben", "cem"] {
            counts_of(&*node, id).await;
        }
        counts_of(&*node, &format!("seldom-{round}")).await;
    }
    node.stop().await;
    // Out of Redis, too: they are asked from the store.
    for id in ["ann", "ben", "cem"] {
        let config = fresh_redis();
        let passing = Node::open(Arc::clone(&far) as _, &config).await;
        counts_of(&*passing, id).await;
        passing.stop().await;
    }
    let node = Node::open(Arc::clone(&far) as _, &config).await;
    until("it is warm", async || {
        far.0.take_reads();
        for id in ["ann", "ben", "cem"] {
            counts_of(&*node, id).await;
        }
        far.0.take_reads() == 0
    })
    .await;
}

#[tokio::test]
async fn a_user_who_is_erased_is_in_nobodys_list_any_more() {
    let (_far, one, two) = two_nodes().await;
    follow(&*one, "ann", "gone").await;
    follow(&*one, "gone", "ben").await;
    for (source, target) in [("cem", "gone"), ("gone", "dot")] {
        one.add_block(&user(source), &user(target), now()).await.unwrap();
    }
    one.add_mute(&user("eva"), &user("gone"), now()).await.unwrap();
    let [ann, ben, cem, eva, gone] = ["ann", "ben", "cem", "eva", "gone"].map(user);
    let show = async |node: &Node| {
        (
            counts_of(&**node, "ann").await,
            counts_of(&**node, "ben").await,
            node.get_followers(&ben, None, 9).await.unwrap().items.len(),
            node.get_following(&ann, None, 9).await.unwrap().items.len(),
            node.is_following(&ann, &gone).await.unwrap(),
            node.list_blocks(&cem, None, 9).await.unwrap().items.len(),
            node.list_mutes(&eva, None, 9).await.unwrap().items.len(),
            node.hidden_from(&cem, std::slice::from_ref(&gone)).await.unwrap(),
        )
    };
    let there = ((0, 1), (1, 0), 1, 1, true, 1, 1, Hidden::Those(vec![true]));
    assert_eq!(show(&two).await, there);
    assert_eq!(show(&one).await, there);
    assert_eq!(one.erase_user(&gone).await.unwrap(), 5);
    let erased = ((0, 0), (0, 0), 0, 0, false, 0, 0, Hidden::Nobody);
    assert_eq!(show(&two).await, erased);
    assert_eq!(show(&one).await, erased);
}

#[tokio::test]
async fn when_a_user_known_to_many_is_erased_everything_is_asked_anew() {
    let (far, one, two) = two_nodes().await;
    let follow = |n: u32| Edge {
        kind: EdgeKind::Follow,
        source: user(&format!("u{n}")),
        target: user("hub"),
        at: now(),
    };
    far.0.near().import_edges((0..10_001).map(follow).collect()).await.unwrap();
    assert_eq!(counts_of(&*two, "u17").await, (0, 1));
    assert_eq!(one.erase_user(&user("hub")).await.unwrap(), 10_001);
    assert_eq!(counts_of(&*two, "u17").await, (0, 0));
}
