//! Readers and writers at once on two nodes: no answer is older than the writes that were answered
//! before it was asked for, nor than any answer that was given before it was asked for.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tidings_core::{ids::UserId, ports::SocialGraphStore};
use tidings_testkit::services::{redis_url, unique_name};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    redis::PrivateRedis,
    scene::{Far, now, patient_config, shared_config, two_nodes, user},
};

const EDGES: [(&str, &str); 7] = [
    ("ann", "ben"),
    ("ann", "cem"),
    ("ben", "ann"),
    ("cem", "dot"),
    ("dot", "ann"),
    ("dot", "ben"),
    ("ben", "cem"),
];
const USERS: [&str; 4] = ["ann", "ben", "cem", "dot"];
const READERS: usize = 12;
/// From one write of an edge to the next, at most.
const PAUSE: Duration = Duration::from_millis(200);

/// An edge that one writer puts and takes away: after `n` writes it is there if `n` is odd.
struct Edge {
    follower: UserId,
    followee: UserId,
    begun: AtomicU64,
    answered: AtomicU64,
}

/// What a read may say of an edge.
#[derive(Clone, Copy)]
struct Allowed {
    absent: bool,
    present: bool,
}

impl Edge {
    async fn write(&self, graph: &dyn SocialGraphStore) {
        let n = self.begun.fetch_add(1, SeqCst) + 1;
        let (follower, followee) = (&self.follower, &self.followee);
        let changed = if n % 2 == 1 {
            graph.add_follow(follower, followee, now()).await
        } else {
            graph.remove_follow(follower, followee).await
        };
        assert!(changed.unwrap(), "this writer alone changes the edge");
        self.answered.store(n, SeqCst);
    }

    /// What a read may say that is over now, and began when `answered` was the last answered write.
    fn allowed(&self, answered: u64) -> Allowed {
        let is_changing = self.begun.load(SeqCst) > answered;
        let was_there = answered % 2 == 1;
        Allowed { absent: is_changing || !was_there, present: is_changing || was_there }
    }
}

struct Scene {
    graph: Arc<dyn SocialGraphStore>,
    edges: Vec<Edge>,
    /// Followers of the hub, of whom one comes after the other.
    fans_begun: AtomicU64,
    fans_answered: AtomicU64,
    /// The most that anybody has been answered.
    fans_seen: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    is_over: AtomicBool,
}

impl Scene {
    async fn write_edge(&self, place: usize) {
        while !self.is_over.load(SeqCst) {
            self.edges[place].write(&*self.graph).await;
            self.writes.fetch_add(1, SeqCst);
            sleep(PAUSE.mul_f64(rand::random())).await;
        }
    }

    async fn write_fans(&self) {
        while !self.is_over.load(SeqCst) {
            let n = self.fans_begun.fetch_add(1, SeqCst) + 1;
            let fan = user(&format!("fan-{n}"));
            self.graph.add_follow(&fan, &user("hub"), now()).await.unwrap();
            self.fans_answered.store(n, SeqCst);
            self.writes.fetch_add(1, SeqCst);
            sleep(PAUSE.mul_f64(rand::random())).await;
        }
    }

    async fn read(&self) {
        while !self.is_over.load(SeqCst) {
            match rand::random_range(0..5) {
                0 => self.read_edge().await,
                1 => self.read_counts().await,
                2 => self.read_followers().await,
                3 => self.read_friends().await,
                _ => self.read_fans().await,
            }
            self.reads.fetch_add(1, SeqCst);
            // What comes from this process never waits.
            tokio::task::yield_now().await;
        }
    }

    fn answered(&self) -> Vec<u64> {
        self.edges.iter().map(|edge| edge.answered.load(SeqCst)).collect()
    }

    async fn read_edge(&self) {
        let place = rand::random_range(0..self.edges.len());
        let edge = &self.edges[place];
        let answered = edge.answered.load(SeqCst);
        let is_there = self.graph.is_following(&edge.follower, &edge.followee).await.unwrap();
        let allowed = edge.allowed(answered);
        let is_right = if is_there { allowed.present } else { allowed.absent };
        assert!(is_right, "edge {place}: {is_there} after write {answered}");
    }

    async fn read_counts(&self) {
        let of = user(USERS[rand::random_range(0..USERS.len())]);
        let answered = self.answered();
        let counts = self.graph.counts(&of).await.unwrap();
        let range = |is_of: &dyn Fn(&Edge) -> bool| {
            let edges = self.edges.iter().zip(&answered).filter(|(edge, _)| is_of(edge));
            let allowed = edges.map(|(edge, answered)| edge.allowed(*answered));
            allowed.fold((0, 0), |(least, most), it| {
                (least + u64::from(!it.absent), most + u64::from(it.present))
            })
        };
        let (least, most) = range(&|edge| edge.follower == of);
        assert!((least..=most).contains(&counts.following), "{of}: {counts:?} {least} {most}");
        let (least, most) = range(&|edge| edge.followee == of);
        assert!((least..=most).contains(&counts.followers), "{of}: {counts:?} {least} {most}");
    }

    async fn read_followers(&self) {
        let of = user(USERS[rand::random_range(0..USERS.len())]);
        let answered = self.answered();
        let page = self.graph.get_followers(&of, None, 50).await.unwrap();
        let listed: HashSet<_> = page.items.into_iter().map(|it| it.follower).collect();
        for (edge, answered) in self.edges.iter().zip(answered).filter(|it| it.0.followee == of) {
            let allowed = edge.allowed(answered);
            let is_listed = listed.contains(&edge.follower);
            let is_right = if is_listed { allowed.present } else { allowed.absent };
            assert!(is_right, "{} of {of}: {is_listed} after write {answered}", edge.follower);
        }
    }

    async fn read_friends(&self) {
        let answered = self.answered();
        let page = self.graph.get_mutual_follows(&user("ann"), None, 50).await.unwrap();
        // Of these edges, ann's and ben's alone can make friends.
        let [there, back] = [0, 2].map(|place: usize| self.edges[place].allowed(answered[place]));
        let is_right = match &page.items[..] {
            [] => there.absent || back.absent,
            [ben] => ben == &user("ben") && there.present && back.present,
            _ => false,
        };
        assert!(is_right, "{page:?} after {answered:?}");
    }

    async fn read_fans(&self) {
        let least = self.fans_answered.load(SeqCst).max(self.fans_seen.load(SeqCst));
        let fans = self.graph.counts(&user("hub")).await.unwrap().followers;
        let most = self.fans_begun.load(SeqCst);
        assert!((least..=most).contains(&fans), "{fans} fans, and not {least} to {most}");
        self.fans_seen.fetch_max(fans, SeqCst);
    }
}

/// Reads and writes until `during` is over; gives how many reads there were, and how many writes.
async fn run(graph: Arc<dyn SocialGraphStore>, during: impl Future<Output = ()>) -> (u64, u64) {
    let edge = |(follower, followee): (&str, &str)| Edge {
        follower: user(follower),
        followee: user(followee),
        begun: AtomicU64::new(0),
        answered: AtomicU64::new(0),
    };
    let scene = Arc::new(Scene {
        graph,
        edges: EDGES.map(edge).into(),
        fans_begun: AtomicU64::new(0),
        fans_answered: AtomicU64::new(0),
        fans_seen: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let mut running = JoinSet::new();
    for place in 0..EDGES.len() {
        let scene = Arc::clone(&scene);
        running.spawn(async move { scene.write_edge(place).await });
    }
    let writer = Arc::clone(&scene);
    running.spawn(async move { writer.write_fans().await });
    for _ in 0..READERS {
        let scene = Arc::clone(&scene);
        running.spawn(async move { scene.read().await });
    }
    during.await;
    scene.is_over.store(true, SeqCst);
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    (scene.reads.load(SeqCst), scene.writes.load(SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_answer_as_one_store_would() {
    let far = Far::open(Duration::from_millis(3));
    let config = patient_config(&redis_url(), &unique_name("cache"));
    let graph = Arc::new(two_nodes(Arc::clone(&far) as _, &config).await);
    let (reads, writes) = run(graph, sleep(Duration::from_secs(4))).await;
    let asked = far.0.take_reads();
    // Otherwise nothing was seen of the cache.
    assert!(asked < reads / 2, "{asked} of {reads} reads went to the store, with {writes} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_answers_as_its_store_would() {
    let far = Far::open(Duration::from_millis(3));
    let node = crate::scene::Node::open(Arc::clone(&far) as _, &crate::scene::config()).await;
    let (reads, writes) = run(Arc::clone(&node.cache) as _, sleep(Duration::from_secs(3))).await;
    let asked = far.0.take_reads();
    assert!(asked < reads / 2, "{asked} of {reads} reads went to the store, with {writes} writes");
}

/// Breaks Redis again and again, each time when both nodes have the cache open.
async fn break_redis(
    redis: &mut PrivateRedis,
    mut breaks: impl AsyncFnMut(&mut PrivateRedis),
) -> (u64, u64) {
    let far = Far::open(Duration::from_millis(2));
    let config = shared_config(&redis.url(), "t");
    let graph = Arc::new(two_nodes(Arc::clone(&far) as _, &config).await);
    let nodes = Arc::clone(&graph);
    run(graph, async {
        for _ in 0..3 {
            nodes.0.are_open().await;
            sleep(Duration::from_millis(300)).await;
            breaks(redis).await;
        }
        nodes.0.are_open().await;
        sleep(Duration::from_millis(500)).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_do_while_redis_is_killed_and_started_with_old_data() {
    // What it says it has written it may lose up to a second of, and does.
    let mut redis =
        PrivateRedis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let (reads, writes) = break_redis(&mut redis, async |redis| {
        redis.kill();
        sleep(Duration::from_millis(700)).await;
        redis.start_again().await;
    })
    .await;
    assert!(reads > 1_000 && writes > 50, "{reads} reads, {writes} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_do_while_redis_is_paused() {
    let mut redis = PrivateRedis::start().await;
    // From a pause that nobody notices to one in which writes go on without Redis.
    let mut pauses = [100, 500, 1_800].into_iter();
    let (reads, writes) = break_redis(&mut redis, async |redis| {
        redis.freeze();
        sleep(Duration::from_millis(pauses.next().unwrap())).await;
        redis.thaw();
        sleep(Duration::from_millis(300)).await;
    })
    .await;
    assert!(reads > 1_000 && writes > 50, "{reads} reads, {writes} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_do_while_redis_is_emptied() {
    let mut redis = PrivateRedis::start().await;
    let (reads, writes) = break_redis(&mut redis, async |redis| {
        redis.tell("FLUSHALL");
        sleep(Duration::from_millis(300)).await;
    })
    .await;
    assert!(reads > 1_000 && writes > 50, "{reads} reads, {writes} writes");
}
