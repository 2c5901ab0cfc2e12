//! Opening: versions, credentials, addresses.

use std::time::{Duration, Instant};

use tidings_core::{error_chain::ErrorChain, ports::SocialGraphStore};
use tidings_graph::{Neo4jGraphConfig, Neo4jGraphStore, Neo4jOpenError};

use crate::harness::{claim, config, run};

#[tokio::test]
async fn the_graph_keeps_its_id_and_another_prefix_has_another() {
    let (one, other) = (claim().await, claim().await);
    let first = Neo4jGraphStore::open(config(&one)).await.unwrap();
    first.close().await;
    let again = Neo4jGraphStore::open(config(&one)).await.unwrap();
    assert_eq!(first.id(), again.id());
    let other = Neo4jGraphStore::open(config(&other)).await.unwrap();
    assert_ne!(first.id(), other.id());
}

#[tokio::test]
async fn a_prefix_that_differs_from_another_in_case_only_is_refused() {
    let claim = claim().await;
    Neo4jGraphStore::open(config(&claim)).await.unwrap();
    let prefix = claim.prefix.to_uppercase();
    let refused = Neo4jGraphStore::open(Neo4jGraphConfig { prefix, ..config(&claim) }).await;
    let error = refused.unwrap_err();
    let Neo4jOpenError::PrefixTaken { other, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*other, claim.prefix);
    // It has left nothing that would keep the other from its graph.
    Neo4jGraphStore::open(config(&claim)).await.unwrap();
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused_by_its_version() {
    let claim = claim().await;
    Neo4jGraphStore::open(config(&claim)).await.unwrap();
    let set = |version: u32| format!("MATCH (g:{}Graph) SET g.version = {version}", claim.prefix);
    run(&set(99)).await;
    let refused = Neo4jGraphStore::open(config(&claim)).await;
    run(&set(1)).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, Neo4jOpenError::Newer { found: 99, .. }), "{error}");
    Neo4jGraphStore::open(config(&claim)).await.unwrap();
}

#[tokio::test]
async fn a_schema_that_was_made_by_half_is_completed() {
    let claim = claim().await;
    Neo4jGraphStore::open(config(&claim)).await.unwrap();
    let (prefix, lower) = (&claim.prefix, claim.prefix.to_lowercase());
    run(&format!("MATCH (g:{prefix}Graph) SET g.version = 0")).await;
    run(&format!("DROP INDEX {lower}_follows_target")).await;
    let store = Neo4jGraphStore::open(config(&claim)).await.unwrap();
    // The page's hint names the index, which is an error without it.
    let hub = crate::harness::user("hub");
    assert_eq!(store.get_followers(&hub, None, 5).await.unwrap().items, []);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let claim = claim().await;
    let password = "not-the-password".to_owned();
    let error =
        Neo4jGraphStore::open(Neo4jGraphConfig { password, ..config(&claim) }).await.unwrap_err();
    let said = format!("{} {error:?}", ErrorChain(&error));
    assert!(matches!(error, Neo4jOpenError::Server { .. }), "{said}");
    assert!(said.contains("Unauthorized") || said.contains("authentication"), "{said}");
    assert!(!said.contains("not-the-password"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_refused_within_the_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut silent = Some(listener);
    let claim = claim().await;
    let mut config = Neo4jGraphConfig { url: format!("bolt://{address}"), ..config(&claim) };
    config.connect_timeout = Duration::from_millis(500);
    config.query_timeout = Duration::from_millis(1_500);
    // One that is silent, and then one that is not there.
    for is_silent in [true, false] {
        assert_eq!(silent.is_some(), is_silent);
        let started = Instant::now();
        let error = Neo4jGraphStore::open(config.clone()).await.unwrap_err();
        assert!(matches!(error, Neo4jOpenError::Server { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        silent = None;
    }
}

#[tokio::test]
async fn the_address_of_a_cluster_is_asked_for_the_way_to_its_leader() {
    let claim = claim().await;
    let url = config(&claim).url.replace("bolt://", "neo4j://");
    let store = Neo4jGraphStore::open(Neo4jGraphConfig { url, ..config(&claim) }).await.unwrap();
    let [ann, ben] = ["ann", "ben"].map(crate::harness::user);
    assert!(store.add_follow(&ann, &ben, crate::harness::at(1)).await.unwrap());
    assert!(store.is_following(&ann, &ben).await.unwrap());
    assert_eq!(store.counts(&ben).await.unwrap().followers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_on_an_empty_database_make_one_graph() {
    let claim = claim().await;
    let (prefix, lower) = (&claim.prefix, claim.prefix.to_lowercase());
    for _ in 0..3 {
        for name in ["user", "graph", "writer", "follows_pair", "blocks_pair", "mutes_pair"] {
            run(&format!("DROP CONSTRAINT {lower}_{name} IF EXISTS")).await;
        }
        for name in ["follows_source", "follows_target", "blocks_source", "mutes_source"] {
            run(&format!("DROP INDEX {lower}_{name} IF EXISTS")).await;
        }
        run(&format!("MATCH (g:{prefix}Graph) DELETE g")).await;
        let mut nodes = tokio::task::JoinSet::new();
        for _ in 0..4 {
            nodes.spawn(Neo4jGraphStore::open(config(&claim)));
        }
        let nodes = nodes.join_all().await;
        let ids: Vec<_> = nodes.into_iter().map(|node| node.unwrap().id()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}
