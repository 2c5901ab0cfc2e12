//! What the server does for a query: no page may read or sort all edges of a user who has many.

use std::{collections::BTreeSet, fs::File, sync::Arc};

use neo4j::{ValueSend, driver::Driver, session::SessionConfig, summary::Profile};
use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind},
    ids::UserId,
    ports::SocialGraphStore,
};
use tidings_testkit::services::{neo4j_password, neo4j_uri, neo4j_user};

use super::{
    Neo4jGraphConfig, Neo4jGraphStore, address,
    cypher::{Names, Reads, Writes},
    row::{Parameters, count, with},
};

/// Followers of the hub, and as many whom it follows.
const DEGREE: usize = 8_000;
const PREFIX: &str = "TidingsPlans";

/// Operators that read more than what they give.
const FORBIDDEN: [&str; 8] = [
    "AllNodesScan",
    "NodeByLabelScan",
    "DirectedRelationshipTypeScan",
    "UndirectedRelationshipTypeScan",
    "RelationshipIndexScan",
    "Expand(All)",
    "Sort",
    "NodeHashJoin",
];

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

struct Server {
    driver: Driver,
    _lock: File,
}

impl Server {
    /// What it did: db hits, and operators.
    fn profile(&self, cypher: &str, parameters: &Parameters) -> (i64, BTreeSet<String>) {
        let database = SessionConfig::new().with_database(Arc::new("neo4j".to_owned()));
        let mut session = self.driver.session(database);
        let profiled = format!("PROFILE {cypher}");
        let done = session.auto_commit(profiled).with_parameters(parameters).run().unwrap();
        let mut operators = BTreeSet::new();
        let hits = sum(&done.summary.profile.unwrap(), &mut operators);
        (hits, operators)
    }

    fn assert_bounded(&self, what: &str, cypher: &str, parameters: &Parameters, most: i64) {
        let (hits, operators) = self.profile(cypher, parameters);
        assert!(hits <= most, "{what}: {hits} db hits by {operators:?}");
        let is_bad = |it: &&String| FORBIDDEN.iter().any(|bad| it.contains(bad));
        let bad: Vec<_> = operators.iter().filter(is_bad).collect();
        assert!(bad.is_empty(), "{what}: {bad:?} of {operators:?}");
    }
}

fn sum(profile: &Profile, operators: &mut BTreeSet<String>) -> i64 {
    operators.insert(profile.op_type.clone());
    profile.db_hits + profile.children.iter().map(|it| sum(it, operators)).sum::<i64>()
}

/// A hub whom many follow, and who follows many, some of them back.
async fn server_with_hub() -> Server {
    let path = std::env::temp_dir().join("tidings-neo4j-plans.lock");
    let lock = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    let mut config = Neo4jGraphConfig::new(neo4j_uri(), neo4j_user(), neo4j_password());
    config.prefix = PREFIX.to_owned();
    config.query_timeout = std::time::Duration::from_secs(60);
    let driver = address::driver(&config).unwrap();
    let store = Neo4jGraphStore::open(config).await.unwrap();
    // Kept from run to run: adding again is idempotent.
    let (hub, at) = (user("hub"), Timestamp::from_millis(1));
    let edge = |source: &UserId, target: &UserId| Edge {
        kind: EdgeKind::Follow,
        source: source.clone(),
        target: target.clone(),
        at,
    };
    let edges = (0..DEGREE).flat_map(|n| {
        let (fan, idol) = (user(&format!("u{n}")), user(&format!("u{}", n + DEGREE / 2)));
        [edge(&fan, &hub), edge(&hub, &idol)]
    });
    let edges: Vec<_> = edges.chain([edge(&user("ann"), &hub)]).collect();
    store.import_edges(edges).await.unwrap();
    store.add_block(&user("u7"), &hub, at).await.unwrap();
    Server { driver, _lock: lock.unwrap().unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_of_a_user_with_many_edges_reads_or_sorts_them_all() {
    let server = server_with_hub().await;
    let names = Names::new(PREFIX).unwrap();
    let (reads, writes) = (Reads::new(&names), Writes::new(&names));
    let text = |it: &str| ValueSend::String(it.to_owned());
    let texts = |some: &[&str]| ValueSend::List(some.iter().map(|it| text(it)).collect());
    let whose = |who: &str, other: &str, limit| {
        with([
            ("user", text(who)),
            ("other", text(other)),
            ("before", ValueSend::Integer(i64::MAX)),
            ("limit", count(limit)),
        ])
    };
    tokio::task::block_in_place(|| {
        let hub = whose("hub", "hub", 51);
        server.assert_bounded("followers", &reads.followers, &hub, 1_000);
        server.assert_bounded("following", &reads.targets[0], &hub, 1_000);
        server.assert_bounded("blocks", &reads.targets[1], &hub, 1_000);
        let piece = whose("hub", "u9", 128);
        server.assert_bounded("friends", &reads.known, &whose("hub", "hub", 128), 4_000);
        server.assert_bounded("common", &reads.common, &piece, 4_000);
        server.assert_bounded("followers you know", &reads.known, &whose("ann", "hub", 128), 4_000);
        server.assert_bounded("counts", &reads.counts, &hub, 30);
        let about = with([("user", text("hub")), ("others", texts(&["u1", "u2", "ann"]))]);
        server.assert_bounded("is following", &reads.are_following, &about, 100);
        let about = with([("actor", text("hub")), ("others", texts(&["u1", "u7", "ann"]))]);
        server.assert_bounded("is averted", &reads.is_averted, &about, 30);
        server.assert_bounded("hidden", &reads.hidden, &about, 100);
        let from = with([
            ("source", ValueSend::Integer(-1)),
            ("number", ValueSend::Integer(0)),
            ("limit", count(50)),
        ]);
        server.assert_bounded("export", &reads.export_after[0], &from, 1_000);
        server.assert_bounded("export of one", &reads.export_source[0], &from, 1_000);
        let pair = |a, b| ValueSend::List(vec![count(a), count(b)]);
        let group = with([
            ("ids", texts(&["hub", "u1", "nobody"])),
            ("follows", ValueSend::List(vec![pair(0, 1), pair(1, 0), pair(2, 0)])),
            ("blocks", ValueSend::List(vec![pair(0, 1)])),
            ("mutes", ValueSend::List(vec![])),
        ]);
        server.assert_bounded("state of a group", &writes.find, &group, 200);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_of_the_graph_is_read_from_the_servers_counts() {
    let server = server_with_hub().await;
    let reads = Reads::new(&Names::new(PREFIX).unwrap());
    tokio::task::block_in_place(|| {
        let (hits, operators) = server.profile(&reads.stats, &with([]));
        assert!(hits <= 10, "{hits} db hits by {operators:?}");
    });
}
