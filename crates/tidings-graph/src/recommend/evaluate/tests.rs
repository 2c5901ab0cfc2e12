//! Agreement with the reference implementation of the protocol, which is in Python, on graphs that ship in
//! `data`. All figures here are the reference's.

use std::{
    fs::File,
    io::BufReader,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use flate2::read::GzDecoder;
use tidings_core::{ids::UserId, ports::SocialGraphStore};

use super::{
    split::{Split, pair_hash, sample_users},
    *,
};
use crate::{
    EmbeddedGraphConfig, EmbeddedGraphStore, RecommendationEngine, RecommendedGraph, edge_list,
};

/// In the order of [`Measure::ALL`].
type Reference = [f64; 7];

const WIKI_VOTE: [(&str, Reference); 12] = [
    ("pop", [0.07103, 0.04779, 0.27333, 0.03667, 0.18435, 0.91586, 0.52503]),
    ("recip", [0.06321, 0.04099, 0.26000, 0.03733, 0.17613, 0.91570, 0.53607]),
    ("fof_aa", [0.10046, 0.05985, 0.36667, 0.06667, 0.23873, 0.94303, 0.69541]),
    ("cofollow_jac", [0.04212, 0.02327, 0.19333, 0.02333, 0.09363, 0.88332, 0.62679]),
    ("cofollower_aa", [0.09805, 0.06641, 0.33333, 0.05467, 0.22190, 0.93176, 0.63223]),
    ("U_cos", [0.03757, 0.02383, 0.18667, 0.02667, 0.11357, 0.92046, 0.76351]),
    ("userknn_100", [0.19811, 0.13015, 0.56000, 0.11600, 0.39747, 0.96678, 0.82310]),
    ("gf_lin", [0.18614, 0.12044, 0.52000, 0.11867, 0.42854, 0.97360, 0.86420]),
    ("rp3beta", [0.19341, 0.12356, 0.53333, 0.11733, 0.43322, 0.97248, 0.85473]),
    ("ppr_out", [0.08602, 0.05284, 0.36667, 0.05333, 0.25013, 0.95376, 0.73050]),
    ("salsa_cot", [0.12023, 0.07755, 0.39333, 0.07000, 0.31792, 0.95750, 0.74154]),
    ("pixie_20k", [0.13900, 0.09580, 0.42667, 0.07067, 0.29949, 0.95835, 0.74786]),
];

const FACEBOOK: [(&str, Reference); 5] = [
    ("pop", [0.06135, 0.03798, 0.30000, 0.03467, 0.08766, 0.67823, 0.40201]),
    ("U_ra", [0.61003, 0.51858, 0.93333, 0.40067, 0.84316, 0.98808, 0.98153]),
    ("U_L3", [0.49571, 0.41061, 0.86000, 0.33467, 0.73807, 0.98958, 0.97913]),
    ("gf_lin", [0.54821, 0.45456, 0.90667, 0.37133, 0.83011, 0.99303, 0.98940]),
    ("ppr_U", [0.51258, 0.42139, 0.90000, 0.33733, 0.77437, 0.99163, 0.98321]),
];

/// What differs in the order of sums may order equals otherwise.
const TOLERANCE: f64 = 0.002;

pub(super) fn shipped(name: &str, direction: Direction) -> Follows {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name);
    let text = BufReader::new(GzDecoder::new(File::open(path).unwrap()));
    let mut builder = FollowsBuilder::new(direction);
    for edge in edge_list::read(text) {
        let (a, b) = edge.unwrap();
        builder.add(UserId::new(&a).unwrap(), UserId::new(&b).unwrap(), None).unwrap();
    }
    builder.finish()
}

pub(super) fn wiki_vote() -> Follows {
    shipped("wiki-vote.txt.gz", Direction::Directed)
}

pub(super) fn facebook() -> Follows {
    shipped("facebook-combined.txt.gz", Direction::Undirected)
}

/// The same for the same pairs in any order.
fn digest(seed: u64, pairs: impl Iterator<Item = (u64, u64)>) -> u64 {
    pairs.fold(0, |digest, (a, b)| digest ^ pair_hash(seed, a, b))
}

fn assert_divides(follows: &Follows, train: (usize, u64), hidden: (usize, u64), sample: [u32; 8]) {
    let split = Split::new(follows, 42, HoldOut::Random);
    for (edges, (count, expected)) in [(&split.train, train), (&split.hidden, hidden)] {
        let pairs = edges.iter().map(|(a, b)| (u64::from(*a), u64::from(*b)));
        assert_eq!((edges.len(), digest(1, pairs)), (count, expected));
    }
    assert_eq!(sample_users(&split.hidden, 8), sample);
}

#[test]
fn a_graph_is_divided_as_by_the_reference() {
    assert_divides(
        &wiki_vote(),
        (85_045, 9_587_286_996_801_832_881),
        (18_644, 6_774_240_382_434_689_143),
        [6_422, 3_191, 1_670, 5_013, 2_283, 4_870, 979, 2_952],
    );
    assert_divides(
        &facebook(),
        (141_272, 17_699_170_761_491_210_363),
        (35_196, 8_492_799_533_120_390_094),
        [3_513, 3_204, 456, 3_345, 2_352, 3_191, 712, 1_702],
    );
}

fn assert_draws(follows: &Follows, first: [[u32; 6]; 2], expected: u64) {
    let protocol = Protocol { seed: 42, users: 50, hold_out: HoldOut::Random };
    let experiment = Experiment::prepare(follows, protocol).unwrap();
    let mut all = 0;
    for (place, user) in experiment.test_users.iter().enumerate() {
        let negatives = experiment.negatives(*user);
        if place == 0 {
            let six = [&negatives.uniform[..6], &negatives.popular[..6]];
            assert_eq!(six, [&first[0][..], &first[1][..]]);
        }
        for (seed, drawn) in [(2, &negatives.uniform), (3, &negatives.popular)] {
            all ^= digest(seed, (0..).zip(drawn.iter().map(|user| u64::from(*user))));
        }
    }
    assert_eq!(all, expected);
}

#[test]
fn negatives_are_those_of_the_reference() {
    assert_draws(
        &wiki_vote(),
        [[4_307, 6_201, 5_344, 3_773, 6_919, 696], [1_300, 3_028, 3_153, 4_613, 2_546, 2_410]],
        13_945_774_998_100_308_541,
    );
    assert_draws(
        &facebook(),
        [[2_943, 2_515, 2_489, 3_035, 2_113, 3_312], [2_059, 2_506, 1_977, 3_891, 1_979, 1_168]],
        4_111_375_101_691_036_812,
    );
}

fn assert_agrees(follows: &Follows, expected: &[(&str, Reference)]) {
    let protocol = Protocol { seed: 42, users: 150, hold_out: HoldOut::Random };
    let experiment = Experiment::prepare(follows, protocol).unwrap();
    let methods: Vec<Method> = expected.iter().map(|(name, _)| name.parse().unwrap()).collect();
    let summaries = experiment.run(&methods, None, &|| (), &AtomicBool::new(false)).unwrap();
    for ((method, summary), (name, expected)) in summaries.iter().zip(expected) {
        assert_eq!(method.name(), *name);
        for (measure, expected) in Measure::ALL.into_iter().zip(expected) {
            let got = summary.of(measure).mean;
            let key = measure.key();
            assert!((got - expected).abs() < TOLERANCE, "{name}: {key} {got}, not {expected}");
        }
    }
}

#[test]
fn methods_reach_what_they_reach_by_the_reference_where_follows_have_a_direction() {
    assert_agrees(&wiki_vote(), &WIKI_VOTE);
}

#[test]
fn methods_reach_what_they_reach_by_the_reference_where_friends_are_mutual() {
    assert_agrees(&facebook(), &FACEBOOK);
}

/// Twenty groups of ten, in each of which all follow each other.
fn groups() -> Follows {
    let mut builder = FollowsBuilder::new(Direction::Directed);
    for (a, b) in (0..200).flat_map(|a| (0..10).map(move |b| (a, a - a % 10 + b))) {
        let [a, b] = [a, b].map(|user| UserId::new(&format!("u{user}")).unwrap());
        builder.add(a, b, None).unwrap();
    }
    builder.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_asked_of_the_engine_over_the_training_graph() {
    let follows = groups();
    let protocol = Protocol { seed: 1, users: 60, hold_out: HoldOut::Random };
    let experiment = Experiment::prepare(&follows, protocol).unwrap();
    let facts = experiment.facts();
    assert_eq!((facts.users, facts.follows, facts.hidden, facts.test_users), (200, 1_800, 200, 60));
    assert!((facts.reciprocity - 1.0).abs() < 1e-12);

    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedGraphStore::open(EmbeddedGraphConfig::new(dir.path())).unwrap());
    experiment.load(&*store).await.unwrap();
    assert_eq!(store.stats().await.unwrap().follows, 1_600);
    let engine = RecommendationEngine::new(RecommendedGraph::Embedded(Arc::clone(&store)));
    let served = ServedEngine::new(engine, tokio::runtime::Handle::current(), &follows);
    let done = AtomicU32::new(0);
    let run = || {
        let methods = [Method::Tidings, Method::FriendsOfFriends];
        let on_user = || _ = done.fetch_add(1, Ordering::Relaxed);
        experiment.run(&methods, Some(&served), &on_user, &AtomicBool::new(false)).unwrap()
    };
    let (first, second) = tokio::task::block_in_place(|| (run(), run()));
    assert_eq!(done.into_inner(), 120);
    for ((method, summary), (_, again)) in first.iter().zip(&second) {
        // The one hidden follow is the only one of the group that is left.
        assert!(summary.of(Measure::Ndcg).mean > 0.9, "{method}");
        assert!(summary.of(Measure::AucPopularity).mean > 0.9, "{method}");
        assert!(summary.coverage > 0.2, "{method}");
        for measure in Measure::ALL {
            assert_eq!(summary.of(measure), again.of(measure), "{method}");
        }
    }
    store.close().await;
}

#[test]
fn what_cannot_be_measured_is_said() {
    let prepared = |follows: &Follows, hold_out| {
        let protocol = Protocol { seed: 1, users: 60, hold_out };
        Experiment::prepare(follows, protocol).map(|it| it.facts())
    };
    let nothing = FollowsBuilder::new(Direction::Directed).finish();
    let error = prepared(&nothing, HoldOut::Random).unwrap_err();
    assert!(matches!(error, EvaluateError::NoFollows));
    let error = prepared(&groups(), HoldOut::Newest).unwrap_err();
    assert!(matches!(error, EvaluateError::NoTimes));
    let mut builder = FollowsBuilder::new(Direction::Directed);
    builder.add(UserId::new("a").unwrap(), UserId::new("b").unwrap(), None).unwrap();
    let error = prepared(&builder.finish(), HoldOut::Random).unwrap_err();
    assert!(matches!(error, EvaluateError::NothingToHide));
}

#[test]
fn a_run_that_is_stopped_says_so() {
    let follows = groups();
    let protocol = Protocol { seed: 1, users: 60, hold_out: HoldOut::Random };
    let experiment = Experiment::prepare(&follows, protocol).unwrap();
    let stopped = experiment.run(&[Method::Popularity], None, &|| (), &AtomicBool::new(true));
    assert!(matches!(stopped, Err(EvaluateError::Stopped)));
}
