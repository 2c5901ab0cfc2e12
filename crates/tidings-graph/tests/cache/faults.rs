//! Redis that is gone, slow or empty, and nodes that cannot reach it: slower, never wrong, never failing.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use tidings_core::ports::SocialGraphStore;
use tidings_graph::{GraphCache, GraphCacheConfig, RedisCacheConfig};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    around::With,
    redis::PrivateRedis,
    scene::{Far, Node, now, patient_config, shared_config, until, user},
};

async fn followers(graph: &dyn SocialGraphStore, id: &str) -> u64 {
    graph.counts(&user(id)).await.unwrap().followers
}

async fn follow(graph: &dyn SocialGraphStore, follower: &str, followee: &str) {
    graph.add_follow(&user(follower), &user(followee), now()).await.unwrap();
}

async fn open(far: &Arc<With<Far>>, configs: [&GraphCacheConfig; 2]) -> [Node; 2] {
    let nodes = configs.map(|config| Node::start(Arc::clone(far) as _, config));
    for node in &nodes {
        node.is_open().await;
    }
    nodes
}

/// Longer than any node trusts what it cannot check, and a write waits at most.
const LAPSE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_write_without_redis_waits_until_nobody_trusts_an_answer() {
    let redis = PrivateRedis::start().await;
    let far = Far::open(Duration::ZERO);
    let config = shared_config(&redis.url(), "t");
    let [one, two] = open(&far, [&config, &config]).await;
    assert_eq!(followers(&*two, "hub").await, 0);
    redis.freeze();
    let began = Instant::now();
    follow(&*one, "ann", "hub").await;
    assert!(began.elapsed() < LAPSE, "{:?}", began.elapsed());
    assert_eq!(followers(&*two, "hub").await, 1);
    // From now on nobody waits.
    let began = Instant::now();
    follow(&*one, "ben", "hub").await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    redis.thaw();
    // What was kept before the pause is in Redis and in the other node, and its version has not changed.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(followers(&*two, "hub").await, 2);
        tokio::task::yield_now().await;
    }
    two.is_open().await;
    assert_eq!(followers(&*two, "hub").await, 2);
}

#[tokio::test]
async fn a_server_that_takes_no_marks_lets_no_write_wait_for_ever() {
    let redis = PrivateRedis::start().await;
    let far = Far::open(Duration::ZERO);
    let config = shared_config(&redis.url(), "t");
    let [one, two] = open(&far, [&config, &config]).await;
    assert_eq!(followers(&*two, "hub").await, 0);
    redis.tell("CONFIG SET maxmemory 1");
    for fan in 1..=5 {
        let began = Instant::now();
        follow(&*one, &format!("fan-{fan}"), "hub").await;
        assert!(began.elapsed() < LAPSE, "{:?}", began.elapsed());
        assert_eq!(followers(&*two, "hub").await, fan);
    }
    redis.tell("CONFIG SET maxmemory 0");
    for node in [&one, &two] {
        node.is_open().await;
        assert_eq!(followers(&**node, "hub").await, 5);
    }
}

#[tokio::test]
async fn answers_from_before_a_restart_do_not_count_after_it() {
    let mut redis =
        PrivateRedis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let far = Far::open(Duration::ZERO);
    let config = shared_config(&redis.url(), "t");
    let [one, two] = open(&far, [&config, &config]).await;
    assert_eq!(followers(&*one, "hub").await, 0);
    assert_eq!(followers(&*two, "hub").await, 0);
    redis.kill();
    follow(&*one, "ann", "hub").await;
    assert_eq!(followers(&*two, "hub").await, 1);
    redis.start_again().await;
    let size = redis.ask("DBSIZE");
    assert!(!size.starts_with(":0"), "it has its old data: {size}");
    let began = Instant::now();
    while !(one.health.snapshot().is_open && two.health.snapshot().is_open) {
        assert_eq!(followers(&*one, "hub").await, 1);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    for node in [&one, &two] {
        assert_eq!(followers(&**node, "hub").await, 1);
    }
}

#[tokio::test]
async fn a_write_whose_end_nobody_knows_is_marked_again_when_redis_was_emptied() {
    let redis = PrivateRedis::start().await;
    let far = Far::open(Duration::ZERO);
    let mut config = shared_config(&redis.url(), "t");
    // Longer than all of this takes.
    config.write_lease = Duration::from_secs(60);
    let [one, two] = open(&far, [&config, &config]).await;
    far.0.loses_answers.store(true, SeqCst);
    let lost = one.add_follow(&user("ann"), &user("hub"), now()).await;
    assert!(lost.is_err());
    far.0.loses_answers.store(false, SeqCst);
    // A sign of life later the others would be told; it may as well be in this run.
    for _ in 0..2 {
        assert_eq!(followers(&*two, "hub").await, 1);
        sleep(Duration::from_millis(300)).await;
        redis.tell("FLUSHALL");
        until("the cache is closed", async || !one.health.snapshot().is_open).await;
        one.is_open().await;
        two.is_open().await;
    }
    assert_eq!(followers(&*two, "hub").await, 1);
    assert_eq!(followers(&*one, "hub").await, 1);
    // The write is done at last, beside the cache: for once more than was asked.
    far.0.near().add_follow(&user("ben"), &user("hub"), now()).await.unwrap();
    assert_eq!(followers(&*two, "hub").await, 2);
    assert_eq!(followers(&*one, "hub").await, 2);
}

#[tokio::test]
async fn keys_that_are_evicted_cost_a_question_and_no_more() {
    let redis = PrivateRedis::start().await;
    let far = Far::open(Duration::ZERO);
    let config = shared_config(&redis.url(), "t");
    let [one, two] = open(&far, [&config, &config]).await;
    for round in 1..=20 {
        let fan = format!("fan-{round}");
        for id in ["hub", &fan] {
            followers(&*one, id).await;
            followers(&*two, id).await;
        }
        follow(&*one, &fan, "hub").await;
        // All but the epoch and the nodes, as memory that runs out may do; then those as well.
        let keys = redis.ask("KEYS *");
        // Not the answers, whose names do not fit into a line; they are of no use without the others.
        let is_one = |key: &&str| key.starts_with("t:") && !key.contains('\0');
        let keys: Vec<_> = keys.split_whitespace().filter(is_one).collect();
        let keys: Vec<_> = keys
            .into_iter()
            .filter(|it| round > 15 || !(it.ends_with(":e") || it.ends_with(":n")))
            .collect();
        assert!(!keys.is_empty());
        redis.ask(&format!("DEL {}", keys.join(" ")));
        assert_eq!(followers(&*two, "hub").await, round);
        assert_eq!(followers(&*one, "hub").await, round);
    }
}

#[tokio::test]
async fn without_redis_from_the_start_everything_works() {
    let far = Far::open(Duration::ZERO);
    // Nothing listens there.
    let config = shared_config("redis://127.0.0.1:1/", "t");
    let node = Node::start(Arc::clone(&far) as _, &config);
    follow(&*node, "ann", "hub").await;
    assert_eq!(followers(&*node, "hub").await, 1);
    assert!(!node.health.snapshot().is_open);
    until("why is known", async || node.health.snapshot().last_error.is_some()).await;
}

#[tokio::test]
async fn a_node_that_dies_closes_the_cache_for_a_while_and_one_that_signs_off_does_not() {
    let redis = PrivateRedis::start().await;
    let far = Far::open(Duration::ZERO);
    let config = patient_config(&redis.url(), "t");
    let [one, two] = open(&far, [&config, &config]).await;
    two.kill();
    until("the cache is closed", async || !one.health.snapshot().is_open).await;
    assert_eq!(followers(&*one, "hub").await, 0);
    one.is_open().await;
    let two = Node::open(Arc::clone(&far) as _, &config).await;
    two.stop().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert!(one.health.snapshot().is_open);
        sleep(Duration::from_millis(5)).await;
    }
}

/// A way to Redis that can be cut.
struct Way {
    port: u16,
    is_cut: watch::Sender<bool>,
    _running: JoinSet<()>,
}

impl Way {
    async fn to(url: &str) -> Self {
        let to: u16 = url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_cut = watch::Sender::new(false);
        let cut = is_cut.subscribe();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (from, _) = listener.accept().await.unwrap();
                connections.spawn(carry(from, to, cut.clone()));
            }
        });
        Self { port, is_cut, _running: running }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

/// Carries what one connection says, and what is answered, until it is cut.
async fn carry(mut from: TcpStream, to: u16, mut is_cut: watch::Receiver<bool>) {
    let Ok(mut to) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    tokio::select! {
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
        _ = copy_bidirectional(&mut from, &mut to) => {}
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_from_redis_writes_and_the_others_see_it() {
    let redis = PrivateRedis::start().await;
    let way = Way::to(&redis.url()).await;
    let far = Far::open(Duration::ZERO);
    let mut config = shared_config(&redis.url(), "t");
    let mut cut_off = shared_config(&way.url(), "t");
    for config in [&mut config, &mut cut_off] {
        config.redis.as_mut().unwrap().hold = Duration::from_secs(5);
    }
    let [one, two] = open(&far, [&config, &cut_off]).await;
    for round in 0..3 {
        let before = round * 10;
        assert_eq!(followers(&*one, "hub").await, before);
        way.cut(true);
        for fan in 1..=10 {
            let began = Instant::now();
            follow(&*two, &format!("fan-{round}-{fan}"), "hub").await;
            assert!(began.elapsed() < LAPSE, "{:?}", began.elapsed());
            assert_eq!(followers(&*one, "hub").await, before + fan);
        }
        // The other knows that somebody is missing, and waits.
        assert!(!one.health.snapshot().is_open);
        way.cut(false);
        one.is_open().await;
        two.is_open().await;
    }
}

#[tokio::test]
async fn what_a_node_wrote_while_it_was_held_for_dead_is_seen_when_it_is_back() {
    let redis = PrivateRedis::start().await;
    let way = Way::to(&redis.url()).await;
    let far = Far::open(Duration::ZERO);
    let config = shared_config(&redis.url(), "t");
    let [one, two] = open(&far, [&config, &shared_config(&way.url(), "t")]).await;
    way.cut(true);
    until("it is missed", async || !one.health.snapshot().is_open).await;
    one.is_open().await;
    assert_eq!(followers(&*one, "hub").await, 0);
    follow(&*two, "ann", "hub").await;
    way.cut(false);
    two.is_open().await;
    assert_eq!(followers(&*one, "hub").await, 1);
    assert_eq!(followers(&*two, "hub").await, 1);
}

#[test]
fn what_cannot_work_is_refused() {
    let far = Far::open(Duration::ZERO);
    let refused = |redis: RedisCacheConfig| {
        let mut config = GraphCacheConfig::default();
        config.redis = Some(redis);
        GraphCache::new(Arc::clone(&far) as _, &config).err().unwrap().to_string()
    };
    let error = refused(RedisCacheConfig::new("http://user:secret@nowhere/"));
    assert_eq!(error, "the URL is not one of redis:// or rediss://");
    let mut short = RedisCacheConfig::new("redis://127.0.0.1/");
    short.hold = short.lease * 3;
    assert!(refused(short).contains("three times"));
}
