//! Random operations against a model that is too simple to be wrong.

use std::hash::{BuildHasher, RandomState};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tidings_core::{
    follow::{Follow, FollowCounts},
    ports::{GraphError, SocialGraphStore},
};

use super::{
    LISTS, List, Listed,
    aversions::{AVERSIONS, Aversion},
    follow,
    hidden::hidden,
    import, user, whole,
};

const CASES: usize = 64;
const USERS: u8 = 6;
/// Runs of a failing case in search of a smaller one.
const SHRINK_RUNS: usize = 200;

#[derive(Debug, Clone)]
enum Operation {
    Add(u8, u8, i64),
    Remove(u8, u8),
    Import(Vec<(u8, u8, i64)>),
    TurnAway(Aversion, u8, u8, i64),
    TurnBack(Aversion, u8, u8),
    Read(u8, usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let edge = || (0..USERS, 0..USERS, 0i64..1_000);
    let aversion = || prop::sample::select(&AVERSIONS[..]);
    prop_oneof![
        6 => edge().prop_map(|(follower, followee, at)| Operation::Add(follower, followee, at)),
        4 => (0..USERS, 0..USERS).prop_map(|(follower, followee)| Operation::Remove(follower, followee)),
        1 => proptest::collection::vec(edge(), 0..12).prop_map(Operation::Import),
        3 => (aversion(), edge()).prop_map(|(kind, (source, target, at))| Operation::TurnAway(kind, source, target, at)),
        3 => (aversion(), 0..USERS, 0..USERS).prop_map(|(kind, source, target)| Operation::TurnBack(kind, source, target)),
        2 => (0..USERS, 1usize..5).prop_map(|(user, limit)| Operation::Read(user, limit)),
    ]
}

/// All edges, the oldest first.
#[derive(Default)]
struct Model {
    follows: Vec<Follow>,
    /// Source, target and time.
    aversions: Vec<(Aversion, String, String, i64)>,
}

impl Model {
    fn has(&self, follower: &str, followee: &str) -> bool {
        let is_it =
            |it: &Follow| it.follower.as_str() == follower && it.followee.as_str() == followee;
        self.follows.iter().any(is_it)
    }

    fn has_aversion(&self, kind: Aversion, source: &str, target: &str) -> bool {
        self.aversions.iter().any(|it| (it.0, &*it.1, &*it.2) == (kind, source, target))
    }

    fn has_block(&self, one: &str, other: &str) -> bool {
        self.has_aversion(Aversion::Block, one, other)
            || self.has_aversion(Aversion::Block, other, one)
    }

    fn is_hidden(&self, actor: &str, user: &str) -> bool {
        self.has_block(actor, user) || self.has_aversion(Aversion::Mute, user, actor)
    }

    /// Adds a follow that no block refuses.
    fn add(&mut self, edge: Follow) -> bool {
        let is_new = !self.has(edge.follower.as_str(), edge.followee.as_str());
        if is_new {
            self.follows.push(edge);
        }
        is_new
    }

    fn remove(&mut self, follower: &str, followee: &str) -> bool {
        let before = self.follows.len();
        let is_it =
            |it: &Follow| it.follower.as_str() == follower && it.followee.as_str() == followee;
        self.follows.retain(|it| !is_it(it));
        self.follows.len() < before
    }

    fn turn_away(&mut self, kind: Aversion, source: &str, target: &str, at: i64) -> bool {
        if self.has_aversion(kind, source, target) {
            return false;
        }
        if kind == Aversion::Block {
            self.remove(source, target);
            self.remove(target, source);
        }
        self.aversions.push((kind, source.to_owned(), target.to_owned(), at));
        true
    }

    fn turn_back(&mut self, kind: Aversion, source: &str, target: &str) -> bool {
        let before = self.aversions.len();
        self.aversions.retain(|it| (it.0, &*it.1, &*it.2) != (kind, source, target));
        self.aversions.len() < before
    }

    fn averted(&self, kind: Aversion, of: &str) -> Vec<Listed> {
        let newest_first = self.aversions.iter().rev();
        let own = newest_first.filter(|it| it.0 == kind && it.1 == of);
        own.map(|it| (it.2.clone(), Some(it.3))).collect()
    }

    fn list(&self, list: List, of: &str) -> Vec<Listed> {
        let newest_first = self.follows.iter().rev();
        let following = newest_first.clone().filter(|it| it.follower.as_str() == of);
        match list {
            List::Followers => newest_first
                .filter(|it| it.followee.as_str() == of)
                .map(|it| (it.follower.to_string(), Some(it.at.as_millis())))
                .collect(),
            List::Following => {
                following.map(|it| (it.followee.to_string(), Some(it.at.as_millis()))).collect()
            }
            List::Friends => following
                .filter(|it| self.has(it.followee.as_str(), of))
                .map(|it| (it.followee.to_string(), None))
                .collect(),
        }
    }

    fn counts(&self, of: &str) -> FollowCounts {
        let count = |list| u64::try_from(self.list(list, of).len()).expect("a count fits");
        FollowCounts { followers: count(List::Followers), following: count(List::Following) }
    }
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
        }
    }
    Ok(())
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
            let edges: Vec<_> = edges.iter().map(edge).collect();
            let new = import(store, edges.clone()).await;
            let new = new.map_err(|error| error.to_string())?;
            let mut added = 0;
            for edge in edges {
                let (follower, followee) = (edge.follower.as_str(), edge.followee.as_str());
                let is_taken = follower != followee && !model.has_block(follower, followee);
                added += u64::from(is_taken && model.add(edge));
            }
            differ("import", &new, &added)
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
