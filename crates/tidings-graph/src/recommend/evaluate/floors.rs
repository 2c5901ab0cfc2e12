//! That what is served does not get worse on the graphs that ship: floors a little below what it reaches with
//! these few users.

use std::sync::{Arc, atomic::AtomicBool};

use rpds::HashTrieSetSync;

use super::{
    tests::{facebook, shipped, wiki_vote},
    *,
};
use crate::{EmbeddedGraphConfig, EmbeddedGraphStore, RecommendationEngine, RecommendedGraph};

/// Users that it learns from, as a node does.
const LEARN_USERS: usize = 1_000;

/// What the engine reaches on a graph that ships, at least.
struct Floor {
    ndcg: f64,
    map: f64,
    auc_uniform: f64,
    auc_popularity: f64,
}

/// Measures what is served, and holds it against a floor and against some simple methods: not all, of which
/// `U_ra` is better where all follows are returned (docs/recommendations.md).
fn assert_served_is_good(follows: &Follows, others: &[&str], floor: &Floor) {
    let protocol = Protocol { seed: 42, users: 120, hold_out: HoldOut::Random };
    let experiment = Experiment::prepare(follows, protocol).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir.path())).unwrap());
    runtime.block_on(experiment.load(&*store)).unwrap();
    let engine = RecommendationEngine::new(RecommendedGraph::Embedded(Arc::clone(&store)));
    let fit = runtime.block_on(engine.fit(LEARN_USERS, &HashTrieSetSync::default())).unwrap();
    assert!(fit.learned.is_some_and(|it| it[0].is_taken), "{fit:?}");
    let served = ServedEngine::new(engine, runtime.handle().clone(), follows);
    let others = others.iter().map(|it| it.parse::<Method>().unwrap());
    let methods: Vec<_> = [Method::Tidings].into_iter().chain(others).collect();
    let found = experiment.run(&methods, Some(&served), &|| {}, &AtomicBool::new(false)).unwrap();
    let ndcg = |summary: &Summary| summary.of(Measure::Ndcg).mean;
    let (_, tidings) = &found[0];
    for (method, other) in &found[1..] {
        assert!(ndcg(tidings) > ndcg(other), "{method}: {} {}", ndcg(tidings), ndcg(other));
    }
    let floors = [
        (Measure::Ndcg, floor.ndcg),
        (Measure::Map, floor.map),
        (Measure::AucUniform, floor.auc_uniform),
        (Measure::AucPopularity, floor.auc_popularity),
    ];
    let reached = floors.map(|(measure, least)| (measure, tidings.of(measure).mean, least));
    assert!(reached.iter().all(|(_, mean, least)| mean >= least), "{reached:?}");
    runtime.block_on(store.close());
}

#[test]
fn what_is_served_is_good_where_few_follows_are_returned() {
    let floor = Floor { ndcg: 0.18, map: 0.122, auc_uniform: 0.965, auc_popularity: 0.87 };
    assert_served_is_good(&wiki_vote(), &["recip", "fof_aa", "gf_lin"], &floor);
}

#[test]
fn what_is_served_is_good_where_many_follows_are_returned() {
    let floor = Floor { ndcg: 0.31, map: 0.242, auc_uniform: 0.9, auc_popularity: 0.815 };
    let epinions = shipped("epinions.txt.gz", Direction::Directed);
    assert_served_is_good(&epinions, &["recip", "fof_aa", "U_aa"], &floor);
}

#[test]
fn what_is_served_is_good_where_all_follows_are_returned() {
    let floor = Floor { ndcg: 0.61, map: 0.52, auc_uniform: 0.99, auc_popularity: 0.99 };
    assert_served_is_good(&facebook(), &["U_cn", "rp3beta"], &floor);
}
