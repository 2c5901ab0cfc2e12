//! The server is killed, restarted and frozen under load.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tidings_core::{
    ids::UserId,
    ports::{GraphError, SocialGraphStore},
};
use tidings_graph::{Neo4jGraphConfig, Neo4jGraphStore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    harness::{at, followers, user},
    server::PrivateNeo4j,
};

/// The limit of a call in these tests, and what a busy machine may add to it.
const LIMIT: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_secs(2);

async fn open(server: &PrivateNeo4j) -> Arc<Neo4jGraphStore> {
    let config = Neo4jGraphConfig { query_timeout: LIMIT, ..server.config() };
    Arc::new(Neo4jGraphStore::open(config).await.unwrap())
}

/// Edges by what was said of them.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: Vec<UserId>,
    failed: Vec<UserId>,
}

/// Writers that follow the hub, each fan once, until they are told to stop.
struct Load {
    tasks: JoinSet<Ledger>,
    acknowledged: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Load {
    fn start(store: &Arc<Neo4jGraphStore>, round: &str) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let acknowledged = Arc::new(AtomicUsize::new(0));
        for task in 0..4 {
            tasks.spawn(follow_until(
                (Arc::clone(store), stop.clone()),
                format!("{round}-{task}"),
                Arc::clone(&acknowledged),
            ));
        }
        Self { tasks, acknowledged, stop }
    }

    /// Waits until it is well under way: the first queries of a server take long.
    async fn under_way(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let begun = self.acknowledged.load(Ordering::Relaxed);
        while self.acknowledged.load(Ordering::Relaxed) < begun + 100 {
            assert!(Instant::now() < deadline, "the load does not run");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> Ledger {
        self.stop.cancel();
        let mut all = Ledger::default();
        for ledger in self.tasks.join_all().await {
            all.acknowledged.extend(ledger.acknowledged);
            all.failed.extend(ledger.failed);
        }
        all
    }
}

async fn follow_until(
    (store, stop): (Arc<Neo4jGraphStore>, CancellationToken),
    name: String,
    acknowledged: Arc<AtomicUsize>,
) -> Ledger {
    let mut ledger = Ledger::default();
    let mut step = 0;
    while !stop.is_cancelled() {
        let fan = user(&format!("{name}-{step}"));
        let started = Instant::now();
        match store.add_follow(&fan, &user("hub"), at(step)).await {
            Ok(is_new) => {
                assert!(is_new, "{fan} follows for the first time");
                ledger.acknowledged.push(fan);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(GraphError::Unavailable { .. }) => ledger.failed.push(fan),
            Err(error) => panic!("{error:?}"),
        }
        assert!(started.elapsed() < LIMIT + SLACK, "{:?}", started.elapsed());
        step += 1;
    }
    ledger
}

async fn until_up(store: &Neo4jGraphStore) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.check().await {
        assert!(Instant::now() < deadline, "the graph does not come back: {error:?}");
    }
}

/// All that was acknowledged is there, once, and nothing that nobody asked for.
async fn assert_kept(store: &Neo4jGraphStore, ledger: &Ledger) {
    let listed: Vec<_> = followers(store, &user("hub")).await;
    let listed: Vec<_> = listed.into_iter().map(|it| it.follower).collect();
    let distinct: HashSet<_> = listed.iter().collect();
    assert_eq!(distinct.len(), listed.len(), "an edge is there twice");
    for fan in &ledger.acknowledged {
        assert!(distinct.contains(fan), "{fan} was acknowledged and is gone");
    }
    let most = ledger.acknowledged.len() + ledger.failed.len();
    assert!(listed.len() <= most, "{} of {most}", listed.len());
    let counts = store.counts(&user("hub")).await.unwrap();
    assert_eq!(counts.followers, listed.len() as u64);
}

/// Each in turn on one server, since starting one takes long.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_outlives_a_kill_and_a_freeze_and_no_call_hangs() {
    let mut server = PrivateNeo4j::start().await;
    let store = open(&server).await;
    let mut ledger = Ledger::default();

    for round in ["kill"] {
        let load = Load::start(&store, round);
        load.under_way().await;
        server.kill();
        let error = store.check().await.unwrap_err();
        assert!(matches!(error, GraphError::Unavailable { .. }), "{error:?}");
        server.start_again().await;
        // The same store, without being opened again.
        until_up(&store).await;
        load.under_way().await;
        let Ledger { acknowledged, failed } = load.end().await;
        ledger.acknowledged.extend(acknowledged);
        ledger.failed.extend(failed);
        assert_kept(&store, &ledger).await;
    }

    for round in ["freeze"] {
        let load = Load::start(&store, round);
        load.under_way().await;
        server.freeze();
        let started = Instant::now();
        let error = store.counts(&user("hub")).await.unwrap_err();
        assert!(matches!(error, GraphError::Unavailable { .. }), "{error:?}");
        assert!(started.elapsed() < LIMIT + SLACK, "{:?}", started.elapsed());
        tokio::time::sleep(LIMIT).await;
        server.thaw();
        until_up(&store).await;
        load.under_way().await;
        let Ledger { acknowledged, failed } = load.end().await;
        assert!(!failed.is_empty(), "some of the calls fell into the freeze");
        ledger.acknowledged.extend(acknowledged);
        ledger.failed.extend(failed);
        assert_kept(&store, &ledger).await;
    }

    // A node that stops while the server is frozen is not held up by it.
    server.freeze();
    let follow = store.add_follow(&user("late"), &user("hub"), at(1)).await;
    assert!(matches!(follow, Err(GraphError::Unavailable { .. })), "{follow:?}");
    let started = Instant::now();
    store.close().await;
    assert!(started.elapsed() < LIMIT + SLACK * 2, "{:?}", started.elapsed());
    server.thaw();
}
