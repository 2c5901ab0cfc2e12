//! The connection is lost over a commit.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
};
use tidings_graph::{Neo4jGraphConfig, Neo4jGraphStore};
use tidings_testkit::services::neo4j_uri;

use crate::{
    harness::{OwnGraph, at, config, followers, open_empty, user},
    proxy::{Fate, Proxy},
};

/// A graph, and another way to it, through a proxy.
async fn graph_and_proxied() -> (OwnGraph, Proxy, Arc<Neo4jGraphStore>) {
    let own = open_empty().await;
    let server = neo4j_uri().strip_prefix("bolt://").unwrap().parse().unwrap();
    let proxy = Proxy::start(server).await;
    let url = format!("bolt://{}", proxy.address);
    let config = Neo4jGraphConfig { url, ..config(&own.claim) };
    let proxied = Arc::new(Neo4jGraphStore::open(config).await.unwrap());
    (own, proxy, proxied)
}

async fn until_following(store: &Neo4jGraphStore, [a, b]: [&UserId; 2], is_there: bool) {
    let wait = async { while store.is_following(a, b).await.unwrap() != is_there {} };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_whose_commit_is_lost_or_unanswered_is_new_once() {
    let (own, proxy, proxied) = graph_and_proxied().await;
    let hub = user("hub");
    for (number, fate) in [Fate::Unanswered, Fate::Lost, Fate::Unanswered].into_iter().enumerate() {
        let fan = user(&format!("fan{number}"));
        proxy.hold(fate);
        let (proxied, followed) = (Arc::clone(&proxied), (fan.clone(), hub.clone()));
        let mut adding = tokio::task::JoinSet::new();
        adding.spawn(async move { proxied.add_follow(&followed.0, &followed.1, at(1)).await });
        proxy.caught().await;
        if fate == Fate::Unanswered {
            // It is done, and only the answer is missing.
            until_following(&own, [&fan, &hub], true).await;
        } else {
            assert!(!own.is_following(&fan, &hub).await.unwrap());
        }
        proxy.cut();
        let is_new = adding.join_next().await.unwrap().unwrap().unwrap();
        assert!(is_new, "{fate:?}: it is told of its own edge");
        assert_eq!(followers(&*own, &hub).await.len(), number + 1, "{fate:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfollow_and_a_block_whose_answers_are_lost_are_told_what_they_did() {
    let (own, proxy, proxied) = graph_and_proxied().await;
    let (ann, ben) = (user("ann"), user("ben"));
    assert!(own.add_follow(&ann, &ben, at(1)).await.unwrap());
    proxy.hold(Fate::Unanswered);
    let cut = async {
        proxy.caught().await;
        until_following(&own, [&ann, &ben], false).await;
        proxy.cut();
    };
    let (removed, ()) = tokio::join!(proxied.remove_follow(&ann, &ben), cut);
    assert!(removed.unwrap(), "the edge that was removed is not looked for again");

    assert!(own.add_follow(&ann, &ben, at(2)).await.unwrap());
    proxy.hold(Fate::Unanswered);
    let cut = async {
        proxy.caught().await;
        until_following(&own, [&ann, &ben], false).await;
        proxy.cut();
    };
    let (blocked, ()) = tokio::join!(proxied.add_block(&ben, &ann, at(3)), cut);
    assert!(blocked.unwrap());
    let refused = own.add_follow(&ann, &ben, at(4)).await;
    assert!(matches!(refused, Err(GraphError::Blocked)), "{refused:?}");
}
