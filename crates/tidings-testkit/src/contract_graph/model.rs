//! Random operations against a model that is too simple to be wrong.

use std::hash::{BuildHasher, RandomState};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tidings_core::{
    follow::{Edge, EdgeKind, NeighbourSide},
    ports::{GraphError, SocialGraphStore},
};

use super::{
    LISTS,
    aversions::{AVERSIONS, Aversion},
    bulk::{by_source, edge as edge_of_kind, export},
    follow,
    hidden::hidden,
    intersections::{SHARED, Shared},
    naive::Model,
    user, whole,
};

const CASES: usize = 64;
const USERS: u8 = 6;
/// Runs of a failing case in search of a smaller one.
const SHRINK_RUNS: usize = 200;

#[derive(Debug, Clone)]
enum Operation {
    Add(u8, u8, i64),
    Remove(u8, u8),
    Import(Vec<(EdgeKind, u8, u8, i64)>),
    Erase(u8),
    TurnAway(Aversion, u8, u8, i64),
    TurnBack(Aversion, u8, u8),
    Read(u8, usize),
    Intersect(Shared, u8, u8, usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let edge = || (0..USERS, 0..USERS, 0i64..1_000);
    let kind = prop::sample::select(
        &[EdgeKind::Follow, EdgeKind::Follow, EdgeKind::Follow, EdgeKind::Block, EdgeKind::Mute][..],
    );
    let imported =
        (kind, edge()).prop_map(|(kind, (source, target, at))| (kind, source, target, at));
    let aversion = || prop::sample::select(&AVERSIONS[..]);
    prop_oneof![
        6 => edge().prop_map(|(follower, followee, at)| Operation::Add(follower, followee, at)),
        4 => (0..USERS, 0..USERS).prop_map(|(follower, followee)| Operation::Remove(follower, followee)),
        1 => proptest::collection::vec(imported, 0..12).prop_map(Operation::Import),
        1 => (0..USERS).prop_map(Operation::Erase),
        3 => (aversion(), edge()).prop_map(|(kind, (source, target, at))| Operation::TurnAway(kind, source, target, at)),
        3 => (aversion(), 0..USERS, 0..USERS).prop_map(|(kind, source, target)| Operation::TurnBack(kind, source, target)),
        2 => (0..USERS, 1usize..5).prop_map(|(user, limit)| Operation::Read(user, limit)),
        2 => (prop::sample::select(&SHARED[..]), 0..USERS, 0..USERS, 1usize..4).prop_map(|(list, one, other, limit)| Operation::Intersect(list, one, other, limit)),
    ]
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, store: &T, model: &T) -> Result<(), String> {
    if store == model {
        return Ok(());
    }
    Err(format!("{what}: the store says {store:?}, the model {model:?}"))
}

/// Reads all there is to read about a user.
async fn compare_user(
    store: &dyn SocialGraphStore,
    model: &Model,
    of: &str,
    limit: usize,
) -> Result<(), String> {
    for list in LISTS {
        let listed = whole(store, list, of, limit).await;
        differ(&format!("{list:?} of {of} by {limit}"), &listed, &model.list(list, of))?;
    }
    for kind in AVERSIONS {
        let listed = kind.whole(store, of, limit).await;
        differ(&format!("{kind:?} of {of} by {limit}"), &listed, &model.averted(kind, of))?;
    }
    let counts = store.counts(&user(of)).await.map_err(|error| error.to_string())?;
    differ(&format!("counts of {of}"), &counts, &model.counts(of))
}

/// Runs one case on users of its own, named by `case`.
async fn run(
    store: &dyn SocialGraphStore,
    operations: &[Operation],
    case: &str,
) -> Result<(), String> {
    let mut model = Model::default();
    for operation in operations {
        step(store, &mut model, operation, case).await?;
    }
    let names: Vec<_> = (0..USERS).map(|number| name(case, number)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for one in &names {
        compare_user(store, &model, one, 3).await?;
        let kept: Vec<_> = names.iter().map(|user| model.is_hidden(one, user)).collect();
        differ(&format!("hidden from {one}"), &hidden(store, one, &names).await, &kept)?;
        for other in &names {
            let is_following = store.is_following(&user(one), &user(other)).await;
            let is_following = is_following.map_err(|error| error.to_string())?;
            differ("is_following", &is_following, &model.has(one, other))?;
            for list in SHARED {
                let listed = list.whole(store, [one, other], 2).await;
                let what = format!("{list:?} of {one} and {other}");
                differ(&what, &listed, &model.shared(list, one, other))?;
            }
        }
        compare_answers(store, &model, one, &names).await?;
    }
    compare_export(store, &model, case).await
}

/// Asks whom of all `one` follows.
async fn compare_answers(
    store: &dyn SocialGraphStore,
    model: &Model,
    one: &str,
    names: &[&str],
) -> Result<(), String> {
    let followees: Vec<_> = names.iter().map(|other| user(other)).collect();
    let answers = store.are_following(&user(one), &followees).await;
    let answers = answers.map_err(|error| error.to_string())?;
    let expected: Vec<_> = names.iter().map(|other| model.has(one, other)).collect();
    differ(&format!("are_following of {one}"), &answers, &expected)?;
    for side in [NeighbourSide::Following, NeighbourSide::Followers] {
        for most in [0, 2, 1_000] {
            let answers = store.get_neighbours(&followees, side, most).await;
            let answers = answers.map_err(|error| error.to_string())?;
            let expected: Vec<_> =
                names.iter().map(|other| model.neighbours(other, side, most)).collect();
            differ(&format!("{most} neighbours {side:?}"), &answers, &expected)?;
        }
    }
    Ok(())
}

/// Compares what the whole export has of this case.
async fn compare_export(
    store: &dyn SocialGraphStore,
    model: &Model,
    case: &str,
) -> Result<(), String> {
    let prefix = format!("{case}-");
    let mut exported = export(store, 37).await;
    exported.retain(|edge| edge.source.as_str().starts_with(&prefix));
    let mut edges = model.edges();
    edges.sort_by(|a, b| a.source.cmp(&b.source));
    edges.sort_by_key(|edge| edge.kind != EdgeKind::Follow);
    edges.sort_by_key(|edge| edge.kind == EdgeKind::Mute);
    differ("export", &by_source(exported), &by_source(edges))
}

fn name(case: &str, number: u8) -> String {
    format!("{case}-u{number}")
}

/// Does one operation to the store and to the model.
async fn step(
    store: &dyn SocialGraphStore,
    model: &mut Model,
    operation: &Operation,
    case: &str,
) -> Result<(), String> {
    let name = |number: &u8| name(case, *number);
    let edge =
        |(follower, followee, at): &(u8, u8, i64)| follow(&name(follower), &name(followee), *at);
    match operation {
        Operation::Add(follower, followee, at) => {
            let edge = edge(&(*follower, *followee, *at));
            let is_blocked = model.has_block(edge.follower.as_str(), edge.followee.as_str());
            match store.add_follow(&edge.follower, &edge.followee, edge.at).await {
                Err(GraphError::SelfFollow) if follower == followee => Ok(()),
                Err(GraphError::Blocked) if is_blocked => Ok(()),
                Ok(added) if follower != followee && !is_blocked => {
                    differ("add", &added, &model.add(edge))
                }
                other => Err(format!("add gave {other:?}")),
            }
        }
        Operation::Remove(follower, followee) => {
            let (follower, followee) = (name(follower), name(followee));
            let removed = store.remove_follow(&user(&follower), &user(&followee)).await;
            let removed = removed.map_err(|error| error.to_string())?;
            differ("remove", &removed, &model.remove(&follower, &followee))
        }
        Operation::Import(edges) => {
            let named = |(kind, source, target, at): &(EdgeKind, u8, u8, i64)| {
                edge_of_kind(*kind, &name(source), &name(target), *at)
            };
            let edges: Vec<_> = edges.iter().map(named).collect();
            let new = store.import_edges(edges.clone()).await;
            let new = new.map_err(|error| error.to_string())?;
            let mut added = 0;
            for Edge { kind, source, target, at } in edges {
                let is_new = model.import(kind, source.as_str(), target.as_str(), at.as_millis());
                added += u64::from(is_new);
            }
            differ("import", &new, &added)
        }
        Operation::Erase(number) => {
            let gone = store.erase_user(&user(&name(number))).await;
            let gone = gone.map_err(|error| error.to_string())?;
            differ("erase", &gone, &model.erase(&name(number)))
        }
        Operation::TurnAway(kind, source, target, at) => {
            let (from, to) = (name(source), name(target));
            match kind.add(store, &from, &to, *at).await {
                Err(GraphError::SelfBlock | GraphError::SelfMute) if source == target => Ok(()),
                Ok(added) if source != target => {
                    differ("turn away", &added, &model.turn_away(*kind, &from, &to, *at))
                }
                other => Err(format!("{kind:?} gave {other:?}")),
            }
        }
        Operation::TurnBack(kind, source, target) => {
            let (source, target) = (name(source), name(target));
            let removed = kind.remove(store, &source, &target).await;
            let removed = removed.map_err(|error| error.to_string())?;
            differ("turn back", &removed, &model.turn_back(*kind, &source, &target))
        }
        Operation::Read(number, limit) => compare_user(store, model, &name(number), *limit).await,
        Operation::Intersect(list, one, other, limit) => {
            let (one, other) = (name(one), name(other));
            let listed = list.whole(store, [&one, &other], *limit).await;
            let what = format!("{list:?} of {one} and {other} by {limit}");
            differ(&what, &listed, &model.shared(*list, &one, &other))
        }
    }
}

/// 64 random sequences of operations give the answers that a list of edges gives.
///
/// A failure is made smaller and shown with its seed.
pub async fn random_operations_agree_with_a_naive_model(store: &dyn SocialGraphStore) {
    let seed = RandomState::new().hash_one("seed");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let sequences = proptest::collection::vec(operation(), 1..40);
    for case in 0..CASES {
        let mut tree = sequences.new_tree(&mut runner).expect("sequences can be made");
        let Err(mut fault) = run(store, &tree.current(), &format!("c{case}")).await else {
            continue;
        };
        let mut smallest = tree.current();
        let mut is_smaller = tree.simplify();
        for attempt in 0..SHRINK_RUNS {
            if !is_smaller {
                break;
            }
            let operations = tree.current();
            let outcome = run(store, &operations, &format!("c{case}s{attempt}")).await;
            is_smaller = if let Err(smaller) = outcome {
                (fault, smallest) = (smaller, operations);
                tree.simplify()
            } else {
                tree.complicate()
            };
        }
        panic!("{fault}\nseed {seed}, case {case}, operations {smallest:#?}");
    }
}
