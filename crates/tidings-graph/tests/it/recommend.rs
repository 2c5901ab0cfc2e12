//! Whom to follow.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use proptest::{prelude::*, test_runner::TestRunner};
use rpds::HashTrieSetSync;
use tidings_core::{
    clock::Timestamp,
    follow::{Edge, EdgeKind},
    ids::UserId,
    ports::SocialGraphStore,
    recommendation::{Reason, Recommendation},
};
use tidings_graph::{
    EmbeddedGraphConfig, EmbeddedGraphStore, RecommendRequest, RecommendationEngine,
    RecommendedGraph, recommend::Model,
};
use tokio::runtime::Runtime;

fn user(name: impl AsRef<str>) -> UserId {
    UserId::new(name.as_ref()).unwrap()
}

fn edge(kind: EdgeKind, source: impl AsRef<str>, target: impl AsRef<str>) -> Edge {
    Edge { kind, source: user(source), target: user(target), at: Timestamp::from_millis(1) }
}

fn follow(follower: impl AsRef<str>, followee: impl AsRef<str>) -> Edge {
    edge(EdgeKind::Follow, follower, followee)
}

/// A graph in a directory of its own, and the engine over it.
struct World {
    store: Arc<EmbeddedGraphStore>,
    engine: RecommendationEngine,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new(edges: Vec<Edge>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = EmbeddedGraphConfig::new(directory.path());
        let store = Arc::new(EmbeddedGraphStore::open(config).unwrap());
        store.import_edges(edges).await.unwrap();
        let graph = RecommendedGraph::Embedded(Arc::clone(&store));
        Self { store, engine: RecommendationEngine::new(graph), _directory: directory }
    }

    /// An engine that reads the same graph as if it were behind a network.
    fn through_port(&self) -> RecommendationEngine {
        RecommendationEngine::new(RecommendedGraph::Other(Arc::clone(&self.store) as _))
    }

    async fn recommend(&self, name: impl AsRef<str>, limit: usize) -> Vec<Recommendation> {
        self.ask(RecommendRequest { explain: true, ..RecommendRequest::new(user(name), limit) })
            .await
    }

    async fn ask(&self, request: RecommendRequest) -> Vec<Recommendation> {
        self.engine.recommend_users(request).await.unwrap()
    }

    async fn follow(&self, follower: &str, followee: &str) {
        let at = Timestamp::from_millis(2);
        self.store.add_follow(&user(follower), &user(followee), at).await.unwrap();
    }
}

fn names(recommendations: &[Recommendation]) -> Vec<&str> {
    recommendations.iter().map(|it| it.user.as_str()).collect()
}

/// Two circles of twelve who follow most of their own circle, and a star whom everyone follows.
fn circles() -> Vec<Edge> {
    let mut edges = Vec::new();
    for circle in ["a", "b"] {
        for n in 0..12 {
            for step in 1..=6 {
                edges.push(follow(format!("{circle}{n}"), format!("{circle}{}", (n + step) % 12)));
            }
            edges.push(follow(format!("{circle}{n}"), "star"));
        }
    }
    edges
}

/// Who of the user's followees is named as following one who is recommended, and how many others do.
fn followed_by(recommendation: &Recommendation) -> Option<(&[UserId], u64)> {
    recommendation.reasons.iter().find_map(|reason| match reason {
        Reason::FollowedBy { known, others } => Some((&**known, *others)),
        _ => None,
    })
}

#[tokio::test]
async fn reasons_name_nobody_whom_the_user_has_muted() {
    let world = World::new(circles()).await;
    let total = |it: &Recommendation| followed_by(it).map(|it| it.0.len() as u64 + it.1);
    let before = world.recommend("a0", 10).await;
    let muted = ["a2", "a5", "star"].map(user);
    for it in &muted {
        world.store.add_mute(&user("a0"), it, Timestamp::from_millis(1)).await.unwrap();
    }
    // Nor one who has muted them.
    let muter = user("a3");
    world.store.add_mute(&muter, &user("a0"), Timestamp::from_millis(1)).await.unwrap();
    for engine in [&world.engine, &world.through_port()] {
        let request = RecommendRequest { explain: true, ..RecommendRequest::new(user("a0"), 10) };
        let found = engine.recommend_users(request).await.unwrap();
        let named: Vec<_> = found.iter().filter_map(followed_by).flat_map(|it| it.0).collect();
        assert!(named.len() > 5 && named.iter().all(|it| !muted.contains(it)), "{named:?}");
        assert!(!named.contains(&&muter));
        // Whoever is not named counts all the same.
        for it in found.iter().filter(|it| followed_by(it).is_some()) {
            let other = before.iter().find(|other| other.user == it.user).unwrap();
            assert_eq!(total(it), total(other), "{}", it.user);
        }
    }
}

#[tokio::test]
async fn people_of_the_same_circle_are_recommended_first() {
    let world = World::new(circles()).await;
    let found = world.recommend("a0", 5).await;
    assert_eq!(found.len(), 5);
    for it in names(&found) {
        let number: u32 = it.strip_prefix('a').expect("of the same circle").parse().unwrap();
        assert!((7..12).contains(&number), "{it} is followed already");
    }
    assert!(found.windows(2).all(|it| it[0].score >= it[1].score), "the best come first");
    assert!(found.iter().all(|it| (0.0..=1.0).contains(&it.score)));
}

#[tokio::test]
async fn reasons_say_what_the_graph_says() {
    let world = World::new(circles()).await;
    for it in world.recommend("a0", 10).await {
        let name = it.user.as_str();
        let follows_you = world.store.is_following(&it.user, &user("a0")).await.unwrap();
        assert_eq!(it.reasons.contains(&Reason::FollowsYou), follows_you, "{name}");
        let mut known = Vec::new();
        for followee in ["a1", "a2", "a3", "a4", "a5", "a6", "star"] {
            if world.store.is_following(&user(followee), &it.user).await.unwrap() {
                known.push(user(followee));
            }
        }
        let said = followed_by(&it);
        assert_eq!(said.is_some(), !known.is_empty(), "{name}: {said:?}, {known:?}");
        if let Some((named, others)) = said {
            assert_eq!(named.len() as u64 + others, known.len() as u64, "{name}");
            assert!(named.iter().all(|it| known.contains(it)), "{name}");
            // Whom the user followed last comes first, and the star came last.
            let place = |it: &UserId| known.iter().position(|other| other == it);
            assert!(named.windows(2).all(|it| place(&it[0]) > place(&it[1])), "{name}: {named:?}");
        }
        assert!(!it.reasons.is_empty(), "{name} for no reason");
    }
    let request = RecommendRequest::new(user("a0"), 10);
    assert!(world.ask(request).await.iter().all(|it| it.reasons.is_empty()));
}

#[tokio::test]
async fn a_new_user_is_shown_who_is_popular_and_after_the_first_follow_who_is_near() {
    let mut edges = circles();
    edges.extend((0..30).map(|n| follow(format!("fan{n}"), "idol")));
    let world = World::new(edges).await;
    for name in ["nobody_knows_me", "fan_of_nobody"] {
        let found = world.recommend(name, 3).await;
        assert_eq!(names(&found)[..2], ["idol", "star"], "{name}");
        assert_eq!(found[0].reasons, [Reason::Popular { followers: 30 }]);
    }
    world.follow("newcomer", "b3").await;
    let found = world.recommend("newcomer", 5).await;
    let near = names(&found).iter().filter(|it| it.starts_with('b')).count();
    assert!(near >= 4, "{found:?}");
}

#[tokio::test]
async fn a_follow_changes_the_next_answer() {
    let world = World::new(circles()).await;
    let before = world.recommend("a0", 3).await;
    let first = before[0].user.as_str();
    world.follow("a0", first).await;
    let after = world.recommend("a0", 3).await;
    assert!(!names(&after).contains(&first));
    world.store.remove_follow(&user("a0"), &user(first)).await.unwrap();
    assert!(names(&world.recommend("a0", 5).await).contains(&first));
}

#[tokio::test]
async fn the_request_lifts_sinks_and_rules_out() {
    let world = World::new(circles()).await;
    let plain = world.recommend("a0", 20).await;
    let [first, second, .., last] = &names(&plain)[..] else { panic!("{plain:?}") };
    let ask = |change: &dyn Fn(&mut RecommendRequest)| {
        let mut request = RecommendRequest::new(user("a0"), 20);
        change(&mut request);
        world.ask(request)
    };
    let sunk = ask(&|it| _ = it.factors.insert(user(first), 1e-6)).await;
    assert_eq!(names(&sunk).last(), Some(first));
    let lifted = ask(&|it| _ = it.factors.insert(user(last), 1e6)).await;
    assert_eq!(names(&lifted)[..2], [*last, *first]);
    assert!(lifted[0].score <= 1.0);
    let dismissed = ask(&|it| _ = it.excluded.insert(user(first))).await;
    // The others may change places a little: they are weighed against the best one who is left.
    let set = |list: &[Recommendation]| BTreeSet::from_iter(list.iter().map(|it| it.user.clone()));
    assert_eq!(set(&dismissed), set(&plain[1..]));
    let gone = ask(&|it| it.hidden = [user(second)].into_iter().collect()).await;
    assert!(!names(&gone).contains(second));
    let named = ask(&|it| {
        it.among = Some(["b1", "a1", "star", "nobody", "a0", last].map(user).into());
    });
    let named = named.await;
    let named = BTreeSet::from_iter(names(&named));
    assert_eq!(named, BTreeSet::from(["b1", "nobody", last]));
}

#[tokio::test]
async fn a_ring_that_nobody_near_the_user_follows_can_be_shut_out() {
    let mut edges = circles();
    // They follow each other, the user, and whom the user follows.
    for n in 0..40 {
        edges.push(follow(format!("spam{n}"), "a0"));
        edges.extend((1..=6).map(|it| follow(format!("spam{n}"), format!("a{it}"))));
        edges
            .extend((1..40).map(|it| follow(format!("spam{n}"), format!("spam{}", (n + it) % 40))));
        edges.push(follow(format!("spam{n}"), "target"));
    }
    let world = World::new(edges).await;
    let ask = |least_known| {
        let request = RecommendRequest::new(user("a0"), 5);
        world.ask(RecommendRequest { least_known, ..request })
    };
    let found = ask(1).await;
    assert!(!names(&found).contains(&"target"), "{found:?}");
    // Nobody is kept from being recommended to those who know them.
    world.follow("a1", "target").await;
    let everyone = RecommendRequest { least_known: 1, ..RecommendRequest::new(user("a0"), 500) };
    assert!(names(&world.ask(everyone).await).contains(&"target"));
}

#[tokio::test]
async fn what_one_stranger_alone_follows_is_not_recommended() {
    let mut edges = circles();
    edges.push(follow("a11", "hobby"));
    edges.push(follow("stranger", "a1"));
    edges.push(follow("stranger", "a2"));
    edges.push(follow("stranger", "unknown"));
    let world = World::new(edges).await;
    let found = world.recommend("a0", 500).await;
    assert!(!names(&found).contains(&"unknown"), "{found:?}");
    world.follow("a4", "unknown").await;
    assert!(names(&world.recommend("a0", 500).await).contains(&"unknown"));
}

/// Edges of a small graph of all kinds.
fn graph() -> impl Strategy<Value = Vec<Edge>> {
    let kind = prop_oneof![
        20 => Just(EdgeKind::Follow), 1 => Just(EdgeKind::Block), 1 => Just(EdgeKind::Mute)
    ];
    proptest::collection::vec((kind, 0..24u8, 0..24u8), 0..160).prop_map(|edges| {
        edges.into_iter().map(|(kind, a, b)| edge(kind, format!("u{a}"), format!("u{b}"))).collect()
    })
}

/// Checks what one engine recommends to one user against the edges.
async fn check_list(engine: &RecommendationEngine, edges: &[Edge], me: &UserId) {
    let request = RecommendRequest { explain: true, ..RecommendRequest::new(me.clone(), 50) };
    let found = engine.recommend_users(request.clone()).await.unwrap();
    let again = engine.recommend_users(request).await.unwrap();
    assert_eq!(found, again, "the same question, the same answer");
    let has = |kind, a: &UserId, b: &UserId| {
        edges.iter().any(|it| it.kind == kind && it.source == *a && it.target == *b)
    };
    let blocked = |a, b| has(EdgeKind::Block, a, b) || has(EdgeKind::Block, b, a);
    let mut seen = BTreeSet::new();
    for it in &found {
        let other = &it.user;
        assert!(other != me && seen.insert(other.clone()), "{other} for {me}");
        assert!(blocked(me, other) || !has(EdgeKind::Follow, me, other), "{me} follows {other}");
        assert!(!blocked(me, other), "a block between {me} and {other}");
        assert!(!has(EdgeKind::Mute, me, other) && !has(EdgeKind::Mute, other, me));
        assert!((0.0..=1.0).contains(&it.score), "{it:?}");
    }
    assert!(found.windows(2).all(|it| it[0].score >= it[1].score), "the best come first");
}

async fn check(edges: Vec<Edge>) {
    let world = World::new(edges.clone()).await;
    for n in [0, 1, 2, 30] {
        let me = user(format!("u{n}"));
        for engine in [&world.engine, &world.through_port()] {
            check_list(engine, &edges, &me).await;
        }
    }
}

#[tokio::test]
async fn what_is_fetched_through_the_port_is_ranked_alike() {
    let world = World::new(circles()).await;
    for name in ["a0", "b7"] {
        let request = RecommendRequest { explain: true, ..RecommendRequest::new(user(name), 5) };
        let direct = world.ask(request.clone()).await;
        let fetched = world.through_port().recommend_users(request).await.unwrap();
        assert_eq!(names(&fetched), names(&direct), "{name}");
        for (one, other) in fetched.iter().zip(&direct) {
            assert_eq!(one.reasons, other.reasons, "{name}: {}", one.user);
        }
    }
}

#[test]
fn nobody_is_recommended_who_must_not_be() {
    let runtime = Runtime::new().unwrap();
    let config = proptest::test_runner::Config { cases: 24, ..Default::default() };
    TestRunner::new(config)
        .run(&graph(), |edges| {
            runtime.block_on(check(edges));
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn follows_far_away_change_nothing() {
    let world = World::new(circles()).await;
    let before = world.recommend("a0", 20).await;
    let far = (0..200).map(|n| follow(format!("far{n}"), format!("far{}", (n * 7 + 1) % 200)));
    world.store.import_edges(far.collect()).await.unwrap();
    assert_eq!(world.recommend("a0", 20).await, before);
}

#[tokio::test]
async fn factors_of_those_who_are_no_candidates_do_nothing() {
    let world = World::new(circles()).await;
    let plain = world.ask(RecommendRequest::new(user("a0"), 20)).await;
    let factors = HashMap::from([(user("a1"), 9.0), (user("nobody"), 9.0), (user("a0"), 9.0)]);
    let request = RecommendRequest { factors, ..RecommendRequest::new(user("a0"), 20) };
    assert_eq!(world.ask(request).await, plain);
}

/// Four hundred who each follow two hundred of the others, and one who follows the first three hundred.
fn crowd() -> Vec<Edge> {
    let mut edges: Vec<_> =
        (0..400).flat_map(|n| (1..=200).map(move |step| (n, (n + step) % 400))).collect();
    edges.sort_unstable_by_key(|(a, b)| (a * 7 + b * 13) % 401);
    let mut edges: Vec<_> =
        edges.into_iter().map(|(a, b)| follow(format!("c{a}"), format!("c{b}"))).collect();
    edges.extend((0..300).map(|n| follow("me", format!("c{n}"))));
    edges
}

#[tokio::test]
async fn whoever_follows_hundreds_is_recommended_others_through_the_port_as_well() {
    let world = World::new(crowd()).await;
    for engine in [&world.engine, &world.through_port()] {
        let request = RecommendRequest::new(user("me"), 20);
        let found = engine.recommend_users(request).await.unwrap();
        assert_eq!(found.len(), 20);
        for it in names(&found) {
            let number: u32 = it.strip_prefix('c').unwrap().parse().unwrap();
            assert!((300..400).contains(&number), "{it} is followed already");
        }
    }
}

#[tokio::test]
async fn whom_the_user_dismissed_takes_nobodys_place() {
    let world = World::new(crowd()).await;
    let plain = world.ask(RecommendRequest::new(user("me"), 500)).await;
    let excluded = plain.iter().take(90).map(|it| it.user.clone()).collect();
    let request = RecommendRequest { excluded, ..RecommendRequest::new(user("me"), 500) };
    let found = world.ask(request).await;
    assert_eq!(found.len(), plain.len() - 90);
}

/// Three hundred people of thirty places, who follow half of their place and some of everywhere; the
/// follows come in no order.
fn places() -> Vec<Edge> {
    let drawn = |seed: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let mut edges = Vec::new();
    for a in 0..300_u64 {
        let neighbours =
            (0..10).map(|it| a - a % 10 + it).filter(|b| drawn(a * 1_009 + b) % 2 == 0);
        let others = (0..4).map(|it| drawn(a * 7_919 + it) % 300);
        edges.extend(neighbours.chain(others).filter(|b| *b != a).map(|b| (a, b)));
    }
    edges.sort_by_key(|(a, b)| drawn(a * 104_729 + b));
    edges.dedup();
    edges.into_iter().map(|(a, b)| follow(format!("p{a}"), format!("p{b}"))).collect()
}

#[tokio::test]
async fn an_engine_learns_from_its_graph_whatever_its_model_says() {
    let world = World::new(places()).await;
    let graphs = [
        RecommendedGraph::Embedded(Arc::clone(&world.store)),
        RecommendedGraph::Other(Arc::clone(&world.store) as _),
    ];
    // How many of the first four live in the same place.
    let near = async |engine: &RecommendationEngine| {
        let mut near = 0;
        for n in 0..40 {
            let request = RecommendRequest::new(user(format!("p{n}")), 4);
            let found = engine.recommend_users(request).await.unwrap();
            let place = |name: &str| name[1..].parse::<u32>().unwrap() / 10;
            near += names(&found).iter().filter(|it| place(it) == n / 10).count();
        }
        near
    };
    for graph in graphs {
        let engine = RecommendationEngine::with_model(graph, Model::blank());
        let before = near(&engine).await;
        let fit = engine.fit(60, &HashTrieSetSync::default()).await.unwrap();
        assert!((20..=60).contains(&fit.users) && fit.follows >= fit.users, "{fit:?}");
        let [order, _] = fit.learned.unwrap();
        assert!(order.is_taken && order.ndcg[1] > order.ndcg[0], "{fit:?}");
        let after = near(&engine).await;
        assert!(after >= before + 20 && after >= 80, "{before}, then {after} of 160");
        // It begins from the model that it came with each time.
        assert_eq!(engine.fit(60, &HashTrieSetSync::default()).await.unwrap(), fit);
        assert_eq!(near(&engine).await, after);
    }
}

#[tokio::test]
async fn who_is_hidden_or_muted_teaches_nothing() {
    let world = World::new(places()).await;
    let all = world.engine.fit(1_000, &HashTrieSetSync::default()).await.unwrap();
    assert!(all.drawn > 250 && all.users <= all.drawn, "{all:?}");
    let hidden: HashTrieSetSync<_> = (0..280).map(|it| user(format!("p{it}"))).collect();
    for engine in [&world.engine, &world.through_port()] {
        let few = engine.fit(1_000, &hidden).await.unwrap();
        assert!((1..=20).contains(&few.drawn) && few.follows < 60, "{few:?}");
    }
    // Whom they have muted they would never be shown.
    let mutes = places().into_iter().map(|it| Edge { kind: EdgeKind::Mute, ..it });
    world.store.import_edges(mutes.collect()).await.unwrap();
    for engine in [&world.engine, &world.through_port()] {
        let none = engine.fit(30, &HashTrieSetSync::default()).await.unwrap();
        assert_eq!((none.drawn, none.users, none.learned), (30, 0, None));
    }
}

#[tokio::test]
async fn too_few_users_teach_nothing() {
    let world = World::new(circles()).await;
    let before = world.recommend("a0", 9).await;
    let fit = world.engine.fit(10, &HashTrieSetSync::default()).await.unwrap();
    assert!(fit.learned.is_none() && fit.users <= 10, "{fit:?}");
    let nobody = World::new(Vec::new()).await;
    for engine in [&nobody.engine, &nobody.through_port()] {
        assert_eq!(engine.fit(1_000, &HashTrieSetSync::default()).await.unwrap().users, 0);
    }
    assert_eq!(world.recommend("a0", 9).await, before);
}

#[tokio::test]
async fn named_accounts_that_no_graph_knows_come_last_in_any_graph() {
    let strangers = ["never_heard_of", "never_seen"];
    // "far" is known, and nothing speaks for them.
    let mut edges = circles();
    edges.push(follow("far", "farther"));
    let world = World::new(edges).await;
    let among = [strangers[1], strangers[1], "a7", "me_too", "b1", strangers[0], "far"];
    let among = Some(among.map(user).into());
    for engine in [&world.engine, &world.through_port()] {
        let excluded = [user("me_too")].into();
        let request = RecommendRequest {
            among: Clone::clone(&among),
            excluded,
            explain: true,
            ..RecommendRequest::new(user("a0"), 9)
        };
        let found = engine.recommend_users(request.clone()).await.unwrap();
        // Also after one who is known and far away.
        assert_eq!(names(&found), ["a7", "b1", "far", strangers[0], strangers[1]]);
        assert!(found.windows(2).all(|it| it[0].score >= it[1].score), "{found:?}");
        assert!((found[3].score - found[4].score).abs() < f32::EPSILON);
        assert!(!found[0].reasons.is_empty() && found[3].reasons.is_empty());
        // One who is lifted before those who are known takes none of their reasons.
        let mut lifted = request.clone();
        lifted.factors.insert(user(strangers[1]), 1e6);
        let lifted = engine.recommend_users(lifted).await.unwrap();
        assert_eq!(names(&lifted), [strangers[1], "a7", "b1", "far", strangers[0]]);
        assert_eq!(lifted[1].reasons, found[0].reasons);
        assert!(lifted[0].reasons.is_empty() && lifted[4].reasons.is_empty());
        // Nor does it matter who asks.
        let request = RecommendRequest { user: user(strangers[0]), ..request };
        let found = engine.recommend_users(request).await.unwrap();
        assert_eq!(names(&found)[3..], [strangers[1]]);
    }
}
